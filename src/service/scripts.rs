//! Services for machines without systemd, as texts: a procd script for OpenWrt, and what to write for OpenRC and runit.

use super::recipe::Recipe;
use std::fmt::Write as _;

/// `/etc/init.d/NAME` of OpenWrt.
pub fn procd(recipe: &Recipe) -> String {
    let mut text = format!(
        "#!/bin/sh /etc/rc.common\n# {}. `/etc/init.d/{} enable` starts it at boot.\n\nUSE_PROCD=1\nSTART=95\nSTOP=10\n\n",
        recipe.description(),
        recipe.name
    );
    let _ = write!(
        text,
        "start_service() {{\n\
         \tprocd_open_instance\n\
         \tprocd_set_param command {}\n\
         \tprocd_set_param env {}\n",
        command(recipe),
        assignments(recipe).join(" \\\n\t\t")
    );
    if let Some(user) = &recipe.user {
        let _ = writeln!(text, "\tprocd_set_param user {}", quoted(user));
    }
    text.push_str(
        "\t# Whatever ends it starts it again, a second later, for as long as it takes.\n\
         \tprocd_set_param respawn 3600 1 0\n\
         \tprocd_set_param term_timeout 30\n\
         \tprocd_set_param limits nofile=\"16384 16384\"\n\
         \tprocd_set_param no_new_privs 1\n\
         \tprocd_set_param stderr 1\n\
         \tprocd_close_instance\n\
         }\n\n\
         # A restart in the same process: no connection is refused for longer than that takes.\n\
         reload_service() {\n",
    );
    let _ = write!(text, "\tprocd_send_signal {} '*' USR1\n}}\n", quoted(&recipe.name));
    text
}

/// `/etc/init.d/NAME` of OpenRC.
pub fn openrc(recipe: &Recipe) -> String {
    let mut text = format!("#!/sbin/openrc-run\n\ndescription={}\n", quoted(&recipe.description()));
    let _ = write!(
        text,
        "supervisor=supervise-daemon\nrespawn_delay=1\nrespawn_max=0\ncommand={}\ncommand_args={}\n",
        quoted(&recipe.program.to_string_lossy()),
        quoted(&recipe.args.join(" "))
    );
    if let Some(user) = &recipe.user {
        let _ = writeln!(text, "command_user={}", quoted(user));
    }
    for assignment in assignments(recipe) {
        let _ = writeln!(text, "export {assignment}");
    }
    text.push_str("\ndepend() {\n\tneed net\n}\n");
    text
}

/// `/etc/sv/NAME/run` of runit.
pub fn runit(recipe: &Recipe) -> String {
    let mut text = format!("#!/bin/sh\n# {}\nexec 2>&1\n", recipe.description());
    for assignment in assignments(recipe) {
        let _ = writeln!(text, "export {assignment}");
    }
    let as_user = recipe.user.as_ref().map_or_else(String::new, |user| format!("chpst -u {} ", quoted(user)));
    let _ = writeln!(text, "exec {as_user}{}", command(recipe));
    text
}

fn command(recipe: &Recipe) -> String {
    let program = recipe.program.to_string_lossy();
    let words = core::iter::once(program.as_ref()).chain(recipe.args.iter().map(String::as_str));
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn assignments(recipe: &Recipe) -> Vec<String> {
    let home = recipe.home.iter().map(|home| ("HOME", home.display().to_string()));
    home.chain(recipe.variables()).map(|(name, value)| format!("{name}={}", quoted(&value))).collect()
}

/// One word for a POSIX shell.
fn quoted(text: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | ',' | ':' | '@' | '+');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::recipe::sample;
    use super::*;
    use crate::scratch::Folder;
    use std::process::Command;

    fn odd() -> Recipe {
        Recipe {
            state_dir: "/home/a b/$x/it's".into(),
            user: Some("claw".to_owned()),
            profile: Some("r".to_owned()),
            home: Some("/home/a b".into()),
            ..sample()
        }
    }

    /// What a shell makes of a script: each call of a function that OpenWrt would bring, an argument a line.
    fn played(script: &str, call: &str) -> String {
        const STUBS: &str = "say() { for word in \"$@\"; do echo \"[$word]\"; done; }
            procd_open_instance() { say open \"$@\"; }
            procd_set_param() { say set \"$@\"; }
            procd_send_signal() { say signal \"$@\"; }
            procd_close_instance() { say close \"$@\"; }";
        let folder = Folder::new();
        let path = folder.path().join("script");
        std::fs::write(&path, script).unwrap();
        let code = format!(
            "set -eu\n{STUBS}\n. \"$1\"\necho \"procd $USE_PROCD start $START stop $STOP\"\n{call}\n"
        );
        let output = Command::new("sh").args(["-c", &code, "sh"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_procd_script_says_what_it_must() {
        let said = played(&procd(&odd()), "start_service");
        let state = format!("[OPENCLAW_STATE_DIR={}]", "/home/a b/$x/it's");
        let wanted = [
            "procd 1 start 95 stop 10",
            "[open]",
            "[command]\n[/usr/bin/clawgate]\n[gateway]\n[run]",
            "[HOME=/home/a b]",
            &state,
            "[OPENCLAW_PROFILE=r]",
            "[user]\n[claw]",
            "[respawn]\n[3600]\n[1]\n[0]",
            "[limits]\n[nofile=16384 16384]",
            "[close]",
        ];
        let mut rest = said.as_str();
        for want in wanted {
            let at = rest.find(want).unwrap_or_else(|| panic!("{want} not, or not in this order, in {said}"));
            rest = &rest[at + want.len()..];
        }
        assert!(
            played(&procd(&odd()), "reload_service").contains("[signal]\n[clawgate-gateway]\n[*]\n[USR1]")
        );
    }

    #[test]
    fn the_program_gets_what_the_runit_script_says() {
        let plain = Recipe { program: "/usr/bin/env".into(), args: Vec::new(), user: None, ..odd() };
        let folder = Folder::new();
        let path = folder.path().join("run");
        std::fs::write(&path, runit(&plain)).unwrap();
        let output = Command::new("sh").arg(&path).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.lines().any(|line| line == "OPENCLAW_STATE_DIR=/home/a b/$x/it's"), "{said}");
        assert!(runit(&odd()).ends_with("exec chpst -u claw /usr/bin/clawgate gateway run\n"));
    }

    #[test]
    fn a_shell_understands_the_openrc_script() {
        let folder = Folder::new();
        let path = folder.path().join("script");
        std::fs::write(&path, openrc(&odd())).unwrap();
        let code = ". \"$1\"; echo \"$command $command_args as $command_user in $OPENCLAW_STATE_DIR\"";
        let output = Command::new("sh").args(["-c", code, "sh"]).arg(&path).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "/usr/bin/clawgate gateway run as claw in /home/a b/$x/it's\n");
    }
}
