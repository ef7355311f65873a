//! `channels.status`: which messenger accounts this gateway is configured for, and who on this machine owns each
//! one's session (spec: methods section 5). No messenger runs in the core: the host says what it holds.

use super::relay::Relayed;
use super::{Call, Gateway};
use crate::host::{AccountOwner, ChannelAccount};
use crate::methods::Params;
use crate::output::Output;
use crate::time::Now;
use serde_json::{Map, Value, json};

/// Asks the host.
pub(crate) fn status(gateway: &mut Gateway, call: Call, out: &mut Vec<Output>) {
    let Params::Object(params) = &call.params else { return };
    let channel = params.get("channel").and_then(Value::as_str).map(str::to_owned);
    gateway.relay(Relayed::Channels, call, channel, out);
}

/// The shape of both protocols; `ChannelsStatusResult` of the published schema.
pub(super) fn render(now: Now, accounts: &[ChannelAccount], only: Option<&str>) -> Value {
    let mut status = json!({
        "ts": now.wall.0,
        "channelOrder": [],
        "channelLabels": {},
        "channelDetailLabels": {},
        "channelSystemImages": {},
        "channelMeta": [],
        "channels": {},
        "channelAccounts": {},
        "channelDefaultAccountId": {},
    });
    for channel in CHANNELS.iter().filter(|channel| only.is_none_or(|only| only == channel.id)) {
        let mine: Vec<Value> =
            accounts.iter().filter(|account| account.channel == channel.id).map(account_of).collect();
        let Some(first) = mine.first() else { continue };
        let summary: Map<String, Value> =
            SUMMARY.iter().filter_map(|name| Some(((*name).to_owned(), first.get(*name)?.clone()))).collect();
        status["channelMeta"]
            .as_array_mut()
            .expect("it was made above")
            .push(json!({ "id": channel.id, "label": channel.label, "detailLabel": channel.detail_label }));
        status["channelOrder"].as_array_mut().expect("it was made above").push(channel.id.into());
        status["channelLabels"][channel.id] = channel.label.into();
        status["channelDetailLabels"][channel.id] = channel.detail_label.into();
        status["channelDefaultAccountId"][channel.id] = first["accountId"].clone();
        status["channels"][channel.id] = summary.into();
        status["channelAccounts"][channel.id] = mine.into();
    }
    status
}

/// One account. Nothing runs here yet, so it is neither running nor connected; `owner` says who may.
fn account_of(account: &ChannelAccount) -> Value {
    let (owner, trouble) = match &account.owner {
        AccountOwner::Us => (json!({ "state": "this-gateway" }), None),
        AccountOwner::Other { pid, profile, port } => {
            let mut said = format!("its session belongs to another gateway: pid {pid}");
            let mut owner = json!({ "state": "another-gateway", "pid": pid });
            if let Some(profile) = profile {
                said.push_str(&format!(", profile {profile}"));
                owner["profile"] = profile.as_str().into();
            }
            if let Some(port) = port {
                said.push_str(&format!(", port {port}"));
                owner["port"] = (*port).into();
            }
            (owner, Some(said))
        }
        AccountOwner::Nobody { why } => (json!({ "state": "nobody" }), Some(why.clone())),
    };
    json!({
        "accountId": account.account,
        "enabled": true,
        "configured": true,
        "linked": account.linked,
        "running": false,
        "connected": false,
        "lastError": trouble,
        "owner": owner,
    })
}

/// What a channel's summary takes over from its first account.
const SUMMARY: [&str; 6] = ["configured", "linked", "running", "connected", "lastError", "owner"];

struct Channel {
    id: &'static str,
    label: &'static str,
    detail_label: &'static str,
}

/// The channels whose accounts are owned, in the order in which they are shown.
const CHANNELS: &[Channel] = &[Channel { id: "whatsapp", label: "WhatsApp", detail_label: "WhatsApp Web" }];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Mono, Wall};

    fn account(name: &str, owner: AccountOwner) -> ChannelAccount {
        ChannelAccount { channel: "whatsapp", account: name.into(), linked: name == "default", owner }
    }

    fn status(accounts: &[ChannelAccount], only: Option<&str>) -> Value {
        render(Now { mono: Mono(1), wall: Wall(7) }, accounts, only)
    }

    #[test]
    fn without_accounts_every_member_is_there_and_empty() {
        let want = json!({
            "ts": 7, "channelOrder": [], "channelLabels": {}, "channelDetailLabels": {}, "channelSystemImages": {},
            "channelMeta": [], "channels": {}, "channelAccounts": {}, "channelDefaultAccountId": {},
        });
        assert_eq!(status(&[], None), want);
        let accounts = [account("default", AccountOwner::Us)];
        assert_eq!(status(&accounts, Some("telegram")), want);
        assert_eq!(status(&accounts, Some("whatsapp")), status(&accounts, None));
    }

    #[test]
    fn each_account_says_whose_it_is() {
        let other = AccountOwner::Other { pid: 5, profile: Some("rescue".into()), port: Some(19_001) };
        let nobody = AccountOwner::Nobody { why: "cannot lock".into() };
        let accounts = [account("default", other), account("a", AccountOwner::Us), account("b", nobody)];
        let status = status(&accounts, None);
        let shown = &status["channelAccounts"]["whatsapp"];
        assert_eq!(
            shown[0]["lastError"],
            "its session belongs to another gateway: pid 5, profile rescue, port 19001"
        );
        let want = json!({ "state": "another-gateway", "pid": 5, "profile": "rescue", "port": 19_001 });
        assert_eq!((&shown[0]["owner"], &status["channels"]["whatsapp"]["owner"]), (&want, &want));
        assert_eq!((&shown[0]["linked"], &shown[0]["running"]), (&true.into(), &false.into()));
        assert_eq!(
            (&shown[1]["owner"]["state"], &shown[1]["lastError"]),
            (&"this-gateway".into(), &Value::Null)
        );
        assert_eq!(
            (&shown[2]["owner"]["state"], &shown[2]["lastError"]),
            (&"nobody".into(), &"cannot lock".into())
        );
        assert_eq!(status["channelDefaultAccountId"]["whatsapp"], "default");
        assert_eq!(status["channelOrder"], json!(["whatsapp"]));
    }
}
