//! What `status` tells about this machine beside the gateway it asked: which gateways run here, and who owns the
//! messenger accounts of this installation. It is read from lock files, so it is there whatever a gateway answers.

use crate::accounts::{self, Account};
use crate::config;
use crate::environment::Environment;
use crate::instances;
use crate::lock::Owner;
use crate::storage::{RealDisk, Storage};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What was found.
#[derive(Debug)]
pub struct Here {
    gateways: Vec<Owner>,
    accounts: Vec<(Account, Option<Owner>)>,
}

impl Here {
    /// Looks. What cannot be read is left out: whoever needs it says so.
    pub fn look(environment: &Environment) -> Self {
        let opened = config::open(&Storage::new(RealDisk, 0), environment);
        let accounts = opened.map(|opened| {
            let root = opened.file.found.as_ref().map(|found| &found.root);
            accounts::configured(root, &opened.places, &opened.environment)
        });
        let with_owner = |account: Account| {
            let owner = account.owner();
            (account, owner)
        };
        Self {
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
