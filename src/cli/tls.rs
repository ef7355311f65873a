//! `gateway tls`: the certificate of this configuration's gateway. It is made at the first start and kept for ever;
//! only here is another one made in its place.

use super::plan::names_of_this_machine;
use super::{Failure, print, print_json};
use crate::config::{self, Opened, own};
use crate::environment::Environment;
use crate::log::timestamp;
use crate::storage::{RealDisk, Storage};
use crate::tls::files::Files;
use crate::tls::{self, Oldest, Shown};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

/// `clawgate gateway tls`.
#[derive(Clone, Debug, Args)]
pub struct TlsArgs {
    /// Without one: show it.
    #[command(subcommand)]
    pub command: Option<TlsCommand>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// What can be done with it.
#[derive(Clone, Debug, Subcommand)]
pub enum TlsCommand {
    /// Make a new certificate and key; whoever trusts the old one has to be told the new fingerprint
    Renew(RenewArgs),
}

/// `clawgate gateway tls renew`.
#[derive(Clone, Debug, Args)]
pub struct RenewArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

impl TlsArgs {
    pub(super) fn json(&self) -> bool {
        let of_command = |command: &TlsCommand| match command {
            TlsCommand::Renew(args) => args.json,
        };
        self.json || self.command.as_ref().is_some_and(of_command)
    }
}

/// A flag's value as a fingerprint.
pub(super) fn fingerprint(text: &str) -> Result<String, &'static str> {
    tls::fingerprint(text).ok_or(
        "expected a SHA-256 fingerprint, 64 hexadecimal digits, as `clawgate gateway tls` shows on the gateway's machine",
    )
}

/// Shows it, or does what the command says.
///
/// # Errors
/// It cannot be read or made.
pub fn run(args: &TlsArgs, environment: &Environment) -> Result<(), Failure> {
    let storage = Storage::on_disk();
    let Opened { places, settings, environment, .. } =
        config::open(&storage, environment).map_err(Failure::Failed)?;
    let own = own::read(&storage, &places.own_config(), &environment).map_err(Failure::Failed)?;
    let files = Files::of(&settings.tls, &environment, &places.state_dir);
    let enabled = settings.tls.enabled;
    let shown = tls::shown(&files, &storage);
    let shown = match &args.command {
        None => shown.map_err(Failure::Failed)?,
        Some(TlsCommand::Renew(renew)) => Some(renewed(renew, &files, shown, &storage)?),
    };
    if args.json() {
        return print_json(&report(enabled, &files, shown.as_ref(), own.oldest_tls));
    }
    let mut text = text(enabled, &files, shown.as_ref(), own.oldest_tls);
    if args.command.is_some() && enabled {
        text.push_str(TAKEN_UP);
    }
    print(&text)
}

fn renewed(
    args: &RenewArgs,
    files: &Files,
    shown: Result<Option<Shown>, String>,
    storage: &Storage<RealDisk>,
) -> Result<Shown, Failure> {
    if let Ok(Some(shown)) = &shown
        && !shown.signs_itself
    {
        return Err(Failure::Failed(format!(
            "somebody else has signed {}: get a new one from there, and put it in its place; a running gateway takes it up by \
             itself",
            files.certificate.display()
        )));
    }
    match &shown {
        Ok(Some(_)) => {}
        Ok(None) if !files.key.exists() => {}
        Ok(None) => {
            return Err(Failure::Failed(format!(
                "there is a key in {}, and no certificate of it in {}: whose it is cannot be told, and a new one would \
                 replace it; move it away first, or set gateway.tls.certPath to its certificate",
                files.key.display(),
                files.certificate.display()
            )));
        }
        Err(why) => {
            return Err(Failure::Failed(format!(
                "{why}\nWhat cannot be read is not replaced: move it away first"
            )));
        }
    }
    if !files.makes {
        return Err(Failure::Failed(
            "gateway.tls.autoGenerate is false, so no certificate is made here: put a new one in the place of the old one"
                .to_owned(),
        ));
    }
    if !args.yes {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::Usage(
                "renew makes a new key, and every client that has pinned the old fingerprint will refuse to connect: pass \
                 --yes if that is meant"
                    .to_owned(),
            ));
        }
        let _ = write!(
            io::stderr(),
            "Make a new certificate in {}? Every client that has pinned the old fingerprint will refuse to connect until it \
             is told the new one. Type yes: ",
            files.certificate.display()
        );
        let mut said = String::new();
        if io::stdin().read_line(&mut said).is_err() || said.trim() != "yes" {
            return Err(Failure::Failed("nothing was changed".to_owned()));
        }
    }
    tls::renew(files, storage, &names_of_this_machine([].iter())).map_err(Failure::Failed)
}

fn report(enabled: bool, files: &Files, shown: Option<&Shown>, oldest: Oldest) -> Value {
    json!({
        "enabled": enabled,
        "certPath": files.certificate.display().to_string(),
        "keyPath": files.key.display().to_string(),
        "sha256": shown.map(|shown| &shown.fingerprint),
        "notBeforeMs": shown.map(|shown| shown.not_before_ms),
        "notAfterMs": shown.map(|shown| shown.not_after_ms),
        "selfSigned": shown.map(|shown| shown.signs_itself),
        "minVersion": match oldest { Oldest::Tls13 => "1.3", Oldest::Tls12 => "1.2" },
    })
}

fn text(enabled: bool, files: &Files, shown: Option<&Shown>, oldest: Oldest) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13}{value}");
    };
    row(
        "TLS",
        match (enabled, oldest) {
            (false, _) => "off: set gateway.tls.enabled to true, and restart the gateway",
            (true, Oldest::Tls13) => "on, version 1.3",
            (true, Oldest::Tls12) => "on, versions 1.3 and 1.2 (tls.minVersion in clawgate.json)",
        },
    );
    let path = files.certificate.display();
    let Some(shown) = shown else {
        let how = if files.makes {
            "made at the next start with TLS"
        } else {
            "not made (gateway.tls.autoGenerate)"
        };
        row("Certificate", &format!("none yet in {path}; {how}"));
        return text;
    };
    let by = if shown.signs_itself { ", signed by itself" } else { "" };
    row("Certificate", &format!("{path}{by}"));
    row("Key", &files.key.display().to_string());
    row("Valid", &format!("{} to {}", timestamp(shown.not_before_ms), timestamp(shown.not_after_ms)));
    row("SHA-256", &shown.fingerprint);
    if shown.signs_itself {
        let _ = write!(
            text,
            "\nA client elsewhere trusts it by that fingerprint: --tls-fingerprint, or gateway.remote.tlsFingerprint there. Bring \
             it there by a way you trust.\n"
        );
    }
    text
}

/// Below a renewal.
const TAKEN_UP: &str = "
A running gateway takes it up by itself, about a second from now; where the system does not tell of changed files (a network
file system), within five. Until then it shows the old one, and whoever expects the new one is refused.
";

/// Below the help of the command.
pub(super) const HELP: &str = "\
Examples:
  clawgate gateway tls                  the certificate and its fingerprint
  clawgate gateway tls --json
  clawgate gateway tls renew --yes      a new key; a running gateway takes it up about a second later

TLS is on with gateway.tls.enabled in the configuration. A certificate is made at the first start, unless gateway.tls.certPath
and gateway.tls.keyPath name yours.";
