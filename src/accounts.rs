//! The sole owner of each messenger account on a machine. A messenger's session breaks when two processes use its
//! credentials, so the folder that holds them has a lock of the operating system's in it, which the gateway that is
//! configured for the account takes, and which no other gateway, profile or tool gets while that one lives.
//!
//! The messengers themselves come later; what they will need before they touch a folder is [`Standing::Ours`].

pub mod claim;
mod keeper;

pub use claim::Standing;
pub use keeper::Keeper;

use crate::config::{Node, Places};
use crate::environment::Environment;
use crate::lock;
use std::path::{Path, PathBuf};

/// An account that this installation is configured for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its channel.
    pub channel: &'static str,
    /// Its id.
    pub id: String,
    /// Where its credentials lie; the folder need not exist.
    pub folder: PathBuf,
}

impl Account {
    /// The lock of its folder.
    pub fn lock(&self) -> PathBuf {
        self.folder.join(LOCK)
    }

    /// Whether a session's credentials are there.
    pub fn is_linked(&self) -> bool {
        std::fs::metadata(self.folder.join("creds.json")).is_ok_and(|file| file.len() > 0)
    }

    /// Who owns it now, by what stands in the lock; this looks and does not lock.
    pub fn owner(&self) -> Option<lock::Owner> {
        lock::owner_at(&self.lock())
    }
}

/// The accounts that a configuration names: `channels.whatsapp`, when it is there and not `enabled: false`, with
/// those of its `accounts` that are not, or else with the one named `default`.
pub fn configured(root: Option<&Node>, places: &Places, environment: &Environment) -> Vec<Account> {
    let channel = root.and_then(|root| root.get("channels")?.get(WHATSAPP));
    let Some(channel @ Node::Object(_)) = channel else { return Vec::new() };
    if is_off(channel)
        || environment.is_on("OPENCLAW_SKIP_CHANNELS")
        || environment.is_on("OPENCLAW_SKIP_PROVIDERS")
    {
        return Vec::new();
    }
    let credentials = match environment.get("OPENCLAW_OAUTH_DIR") {
        Some(folder) => environment.path(folder),
        None => places.state_dir.join("credentials"),
    };
    let folder = |id: &str| credentials.join(WHATSAPP).join(id);
    let mut found: Vec<Account> = Vec::new();
    let mut add = |id: String, folder: PathBuf| {
        if found.len() < ACCOUNTS_MAX && !found.iter().any(|known| known.id == id) {
            found.push(Account { channel: WHATSAPP, id, folder });
        }
    };
    match channel.get("accounts") {
        Some(Node::Object(accounts)) if !accounts.is_empty() => {
            for (name, account) in accounts.iter().filter(|(_, account)| !is_off(account)) {
                let id = account_id(name);
                let own = account.get("authDir").and_then(Node::as_text).map(str::trim);
                let folder = match own.filter(|own| !own.is_empty()) {
                    Some(own) => absolute(environment.path(own), &places.state_dir),
                    None => folder(&id),
                };
                add(id, folder);
            }
        }
        Some(_) | None => add(DEFAULT.to_owned(), folder(DEFAULT)),
    }
    found
}

fn is_off(node: &Node) -> bool {
    node.get("enabled") == Some(&Node::Bool(false))
}

fn absolute(path: PathBuf, base: &Path) -> PathBuf {
    std::path::absolute(&path).unwrap_or_else(|_| base.join(path))
}

/// An account's id as the reference makes folders of it: nothing that leads out of them.
fn account_id(name: &str) -> String {
    let mut id = String::new();
    for c in name.trim().to_lowercase().chars() {
        let fits = c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if fits {
            id.push(c);
        } else if !id.ends_with('-') {
            id.push('-');
        }
    }
    let id: String = id.trim_matches('-').chars().take(ID_CHARS_MAX).collect();
    if id.is_empty() { DEFAULT.to_owned() } else { id }
}

const WHATSAPP: &str = "whatsapp";
const DEFAULT: &str = "default";
/// In each account's folder, beside what the reference keeps there.
const LOCK: &str = "clawgate.lock";
/// Accounts of one installation; each costs a descriptor.
const ACCOUNTS_MAX: usize = 64;
const ID_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn find(config: &str, variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let places = Places { state_dir: "/s".into(), config: "/s/openclaw.json".into() };
        let variables = [("HOME", "/h")].into_iter().chain(variables.iter().copied());
        let root = Node::parse(config).unwrap();
        let accounts = configured(Some(&root), &places, &Environment::new(variables));
        accounts.into_iter().map(|account| (account.id, account.folder.display().to_string())).collect()
    }

    fn one(id: &str, folder: &str) -> Vec<(String, String)> {
        vec![(id.to_owned(), folder.to_owned())]
    }

    #[test]
    fn a_channel_that_is_there_and_not_off_has_accounts() {
        let usual = one("default", "/s/credentials/whatsapp/default");
        assert_eq!(find("{channels: {whatsapp: {}}}", &[]), usual);
        assert_eq!(find("{channels: {whatsapp: {enabled: true, accounts: {}}}}", &[]), usual);
        for none in [
            "{}",
            "{channels: 5}",
            "{channels: {whatsapp: null, telegram: {}}}",
            "{channels: {whatsapp: {enabled: false}}}",
            "{channels: {whatsapp: {accounts: {a: {enabled: false}}}}}",
        ] {
            assert_eq!(find(none, &[]), [], "{none}");
        }
        assert_eq!(find("{channels: {whatsapp: {}}}", &[("OPENCLAW_SKIP_CHANNELS", "1")]), []);
        let elsewhere = [("OPENCLAW_OAUTH_DIR", "~/c")];
        assert_eq!(find("{channels: {whatsapp: {}}}", &elsewhere), one("default", "/h/c/whatsapp/default"));
    }

    #[test]
    fn accounts_have_folders_of_their_own() {
        let config = "{channels: {whatsapp: {accounts: {Biz: {}, b: {authDir: '~/x'}, off: {enabled: false}, biz: {}}}}}";
        let want = [one("biz", "/s/credentials/whatsapp/biz"), one("b", "/h/x")].concat();
        assert_eq!(find(config, &[]), want);
    }

    #[test]
    fn no_account_leads_out_of_the_folder() {
        for (name, id) in [
            ("../../etc", "etc"),
            ("a/b", "a-b"),
            ("..", "default"),
            ("", "default"),
            ("A b_C-", "a-b_c"),
            ("é", "default"),
        ] {
            assert_eq!(account_id(name), id, "{name:?}");
        }
        assert_eq!(account_id(&"x".repeat(100)).len(), 64);
    }
}
