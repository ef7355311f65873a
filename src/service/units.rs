//! systemd units, as texts: one for the gateway, one for the sockets that outlive it.

use super::UNIT_VARIABLE;
use super::recipe::Recipe;
use std::fmt::Write as _;

/// `NAME.service`.
pub fn service(recipe: &Recipe) -> String {
    let Recipe { name, .. } = recipe;
    let is_of_the_machine = recipe.user.is_some();
    let mut text = format!("[Unit]\nDescription={}\n", value(&recipe.description()));
    if is_of_the_machine {
        text.push_str("After=network-online.target\nWants=network-online.target\n");
    }
    if !recipe.listen.is_empty() {
        // The sockets are there before the gateway, and stay when it is gone.
        let _ = write!(text, "Requires={name}.socket\nAfter={name}.socket\n");
    }
    // One that cannot start is tried again for as long as it takes, once a second.
    text.push_str("StartLimitIntervalSec=0\n\n[Service]\nType=notify\nNotifyAccess=main\n");
    let program = recipe.program.to_string_lossy();
    let words = core::iter::once(program.as_ref()).chain(recipe.args.iter().map(String::as_str));
    let _ = writeln!(text, "ExecStart={}", words.map(command_word).collect::<Vec<_>>().join(" "));
    for (name, value) in recipe.variables() {
        let _ = writeln!(text, "Environment={}", word(&format!("{name}={value}")));
    }
    let _ = writeln!(text, "Environment={}", word(&format!("{UNIT_VARIABLE}={name}.service")));
    if let Some(user) = &recipe.user {
        let _ = writeln!(text, "User={}", word(user));
    }
    text.push_str(
        "# Whatever ends it starts it again; a restart that the gateway was asked for ends it, too.\n\
         Restart=always\nRestartSec=1\nTimeoutStartSec=30\nTimeoutStopSec=30\n\
         # Told twice in that time by the gateway itself, or it is killed and started again.\n\
         WatchdogSec=30\n\
         # A ceiling for memory: see docs/guides/service.md for the number that fits.\n#MemoryMax=64M\n\
         LimitNOFILE=16384\nUMask=0077\n\n\
         # What it may not do.\n",
    );
    text.push_str(EVERYWHERE);
    if is_of_the_machine {
        text.push_str(OF_THE_MACHINE);
        let folders: Vec<String> =
            recipe.writes_in().iter().map(|folder| word(&folder.to_string_lossy())).collect();
        let _ = writeln!(text, "ReadWritePaths={}", folders.join(" "));
    }
    let target = if is_of_the_machine { "multi-user.target" } else { "default.target" };
    let _ = write!(text, "\n[Install]\nWantedBy={target}\n");
    if !recipe.listen.is_empty() {
        let _ = writeln!(text, "Also={name}.socket");
    }
    text
}

/// `NAME.socket`; `None` where only the gateway knows the address.
pub fn socket(recipe: &Recipe) -> Option<String> {
    if recipe.listen.is_empty() {
        return None;
    }
    let mut text = format!("[Unit]\nDescription={}, its sockets\n\n[Socket]\n", value(&recipe.description()));
    for address in &recipe.listen {
        let _ = writeln!(text, "ListenStream={address}");
    }
    if recipe.listen.iter().any(|address| !address.ip().is_loopback() && !address.ip().is_unspecified()) {
        // The network may come later than this.
        text.push_str("FreeBind=yes\n");
    }
    text.push_str("BindIPv6Only=ipv6-only\nBacklog=4096\n\n[Install]\nWantedBy=sockets.target\n");
    Some(text)
}

/// A value that is one text to the end of the line.
fn value(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word of a list, as systemd.syntax(7) quotes it; `%` begins a specifier (systemd.unit(5)).
fn word(text: &str) -> String {
    let is_plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | ',' | ':' | '=' | '@' | '+')
    };
    let text = value(text);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One word of a command line, in which `$` begins a variable (systemd.service(5)).
fn command_word(text: &str) -> String {
    word(&text.replace('$', "$$"))
}

/// What works for services of users as well: nothing here needs a file system of its own.
const EVERYWHERE: &str = "\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
";
/// What only the service manager of the machine can do. No `PrivateTmp`: the locks that keep a second gateway, of this
/// program or the reference, off the same configuration are in the temporary folder of all.
const OF_THE_MACHINE: &str = "\
CapabilityBoundingSet=
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::recipe::sample;
    use super::*;

    #[test]
    fn a_user_s_unit_says_what_it_must_and_asks_for_nothing_users_cannot_have() {
        let text = service(&sample());
        for line in [
            "Type=notify",
            "WatchdogSec=30",
            "Restart=always",
            "ExecStart=/usr/bin/clawgate gateway run",
            "Requires=clawgate-gateway.socket",
            "After=clawgate-gateway.socket",
            "Environment=OPENCLAW_STATE_DIR=/home/a/.openclaw",
            "Environment=OPENCLAW_SYSTEMD_UNIT=clawgate-gateway.service",
            "NoNewPrivileges=yes",
            "#MemoryMax=64M",
            "WantedBy=default.target",
            "Also=clawgate-gateway.socket",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        for name in
            ["User=", "ProtectSystem=", "ReadWritePaths=", "PrivateTmp=", "Capability", "network-online"]
        {
            assert!(!text.contains(name), "{name}");
        }
    }

    #[test]
    fn a_unit_of_the_machine_is_somebody_s_and_writes_in_named_folders_only() {
        let text = service(&Recipe { user: Some("claw".to_owned()), ..sample() });
        for line in [
            "User=claw",
            "ProtectSystem=strict",
            "ReadWritePaths=/home/a/.openclaw /tmp",
            "CapabilityBoundingSet=",
            "WantedBy=multi-user.target",
            "After=network-online.target",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn sockets_are_where_the_gateway_would_listen() {
        let text = socket(&sample()).unwrap();
        assert!(
            text.contains("ListenStream=127.0.0.1:18789\nListenStream=[::1]:18789\nBindIPv6Only="),
            "{text}"
        );
        let apart = Recipe { listen: vec!["192.0.2.7:5".parse().unwrap()], ..sample() };
        assert!(socket(&apart).unwrap().contains("ListenStream=192.0.2.7:5\nFreeBind=yes\n"));
        let alone = Recipe { listen: Vec::new(), ..sample() };
        assert_eq!(socket(&alone), None);
        assert!(!service(&alone).contains(".socket"));
    }

    #[test]
    fn what_means_something_to_systemd_is_quoted() {
        let odd = Recipe {
            program: "/opt/a b/$HOME/100%/claw\"gate".into(),
            state_dir: "/home/a b/100%/$x".into(),
            ..sample()
        };
        let text = service(&odd);
        assert!(
            text.contains("ExecStart=\"/opt/a b/$$HOME/100%%/claw\\\"gate\" gateway run\n")
                && text.contains("Environment=\"OPENCLAW_STATE_DIR=/home/a b/100%%/$x\"\n"),
            "{text}"
        );
    }

    /// `docs/packaging`: what a distribution installs for a user of its own. CLAWGATE_BLESS=1 writes it anew.
    #[test]
    fn the_files_for_packagers_are_what_this_renders() {
        let recipe = Recipe {
            state_dir: "/var/lib/clawgate".into(),
            config: "/var/lib/clawgate/openclaw.json".into(),
            user: Some("clawgate".to_owned()),
            home: Some("/var/lib/clawgate".into()),
            ..sample()
        };
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/packaging");
        for (name, text) in [
            ("clawgate-gateway.service", service(&recipe)),
            ("clawgate-gateway.socket", socket(&recipe).unwrap()),
            ("clawgate-gateway.init", super::super::scripts::procd(&Recipe { user: None, ..recipe.clone() })),
            ("clawgate-gateway.openrc", super::super::scripts::openrc(&recipe)),
        ] {
            let path = folder.join(name);
            if std::env::var_os("CLAWGATE_BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name}");
        }
    }
}
