//! What `status` tells about this machine beside the gateway it asked: the configuration that holds here, which gateways
//! run here, and who owns the messenger accounts of this installation. It is read from files and lock files, so it is
//! there whatever a gateway answers.

use crate::accounts::{self, Account};
use crate::config;
use crate::config::settings::{Bind, Setting};
use crate::environment::Environment;
use crate::instances;
use crate::interfaces;
use crate::lock::Owner;
use crate::storage::{RealDisk, Storage};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// What was found.
#[derive(Debug)]
pub struct Here {
    /// The configuration file.
    config: Option<PathBuf>,
    /// What is wrong with it.
    fault: Option<String>,
    /// `gateway.bind`.
    bind: Option<Bind>,
    /// `gateway.customBindHost`.
    custom_host: Option<String>,
    gateways: Vec<Owner>,
    accounts: Vec<(Account, Option<Owner>)>,
}

impl Here {
    /// Looks. What cannot be read is left out: whoever needs it says so.
    pub fn look(environment: &Environment) -> Self {
        let storage = Storage::new(RealDisk, 0);
        let found = config::open::surroundings(&storage, environment).map(|found| found.places.config);
        let opened = config::open(&storage, environment);
        let fault = opened.as_ref().err().cloned();
        let settings = opened.as_ref().ok().map(|opened| opened.settings.clone()).unwrap_or_default();
        let accounts = opened.map(|opened| {
            let root = opened.file.found.as_ref().map(|found| &found.root);
            accounts::configured(root, &opened.places, &opened.environment)
        });
        let with_owner = |account: Account| {
            let owner = account.owner();
            (account, owner)
        };
        Self {
            config: found.ok(),
            fault,
            bind: match settings.bind {
                None => Some(Bind::Loopback),
                Some(Setting::Known(bind)) => Some(bind),
                Some(Setting::Unusable(_)) => None,
            },
            custom_host: settings.custom_bind_host,
            gateways: instances::others(environment),
            accounts: accounts.unwrap_or_default().into_iter().map(with_owner).collect(),
        }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let gateways: Vec<Value> = self.gateways.iter().map(Owner::to_json).collect();
        let account = |(account, owner): &(Account, Option<Owner>)| {
            json!({
                "channel": account.channel,
                "accountId": account.id,
                "linked": account.is_linked(),
                "owner": owner.as_ref().map(Owner::to_json),
            })
        };
        json!({ "gateways": gateways, "accounts": self.accounts.iter().map(account).collect::<Vec<_>>() })
    }

    /// `config` and members of `gateway` as the reference's `gateway status --json` has them, as far as this program
    /// knows of such things: it does not look into other processes.
    pub fn in_reference_shape(&self, url: &str, port: Option<u16>) -> (Value, Vec<(&'static str, Value)>) {
        let mut cli = json!({
            "path": self.config, "exists": self.config.as_ref().is_some_and(|path| path.exists()),
            "valid": self.fault.is_none(),
        });
        if let Some(fault) = &self.fault {
            cli["issues"] = json!([{"path": "", "message": fault}]);
        }
        let host = match self.bind {
            None => None,
            Some(Bind::Loopback) => Some("127.0.0.1".to_owned()),
            Some(Bind::Lan) => Some("0.0.0.0".to_owned()),
            Some(Bind::Tailnet) => interfaces::tailnet_address().map(|address| address.to_string()),
            Some(Bind::Custom) => self.custom_host.clone(),
        };
        let mut gateway = vec![
            ("bindMode", json!(self.bind.map(Bind::as_str))),
            ("bindHost", json!(host)),
            ("port", json!(port)),
            ("portSource", json!("env/config")),
            ("probeUrl", json!(url)),
        ];
        if self.bind == Some(Bind::Custom) {
            gateway.push(("customBindHost", json!(self.custom_host)));
        }
        (json!({ "cli": cli }), gateway)
    }

    /// For people; empty when there is nothing to tell.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for gateway in &self.gateways {
            let config = gateway.config.as_deref().unwrap_or("unknown");
            let _ = writeln!(text, "  gateway: {gateway}, config {config}");
        }
        if self.gateways.len() > 1 {
            let count = self.gateways.len();
            let _ = writeln!(
                text,
                "  note: {count} gateways run on this machine; one for each machine is recommended"
            );
        }
        for (account, owner) in &self.accounts {
            let name = format!("{}/{}", account.channel, account.id);
            let _ = match owner {
                Some(owner) => writeln!(text, "  account: {name}, owned by {owner}"),
                None => writeln!(text, "  account: {name}, owned by nobody"),
            };
        }
        if text.is_empty() { text } else { format!("this machine\n{text}") }
    }
}
