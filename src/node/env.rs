//! Which variables a command gets: those of the node host without the ones that would make programs load or run
//! something else and without its own secrets, and what the caller sets, as far as that is harmless. A caller's
//! variable that is not is refused, not dropped: an approval was given for the command as it was shown.

use super::VARIABLES_MAX;
use std::collections::BTreeMap;

/// The variables of a command.
///
/// # Errors
/// The caller wants to set what must not be set; the names, sorted.
pub fn of_command(
    own: impl IntoIterator<Item = (String, String)>,
    set: &BTreeMap<String, String>,
    is_shell: bool,
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let may = |(name, value): (&String, &String)| {
        is_name(name) && !value.contains('\0') && may_set(name) && (!is_shell || may_set_for_shell(name))
    };
    let refused: Vec<String> = set.iter().filter(|pair| !may(*pair)).map(|(name, _)| name.clone()).collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    if set.len() > VARIABLES_MAX {
        return Err(set.keys().skip(VARIABLES_MAX).cloned().collect());
    }
    let inherited = own.into_iter().filter(|(name, _)| is_inherited(name));
    Ok(inherited.chain(set.iter().map(|(name, value)| (name.clone(), value.clone()))).collect())
}

/// Whether a command inherits a variable of the node host.
fn is_inherited(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let is_ours = OUR_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    let is_secret = SECRET_WORDS.iter().any(|word| upper.contains(word));
    !(is_steering(&upper) || is_ours && is_secret)
}

/// Whether a caller may set a variable.
fn may_set(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let is_ours = OUR_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    let is_git = upper.starts_with("GIT_CONFIG");
    !is_steering(&upper) && !is_ours && !is_git && !NEVER_SET.contains(&upper.as_str())
}

/// A shell reads many variables as commands: only looks may be chosen for it.
fn may_set_for_shell(name: &str) -> bool {
    matches!(name, "TERM" | "LANG" | "COLORTERM" | "NO_COLOR" | "FORCE_COLOR") || name.starts_with("LC_")
}

/// Whether it makes a program load or run something that its command line does not name.
fn is_steering(upper: &str) -> bool {
    STEERING_PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) || STEERING.contains(&upper)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

const OUR_PREFIXES: &[&str] = &["OPENCLAW_", "CLAWDBOT_", "CLAWGATE_"];
const SECRET_WORDS: &[&str] = &["TOKEN", "PASSWORD", "SECRET", "KEY", "CREDENTIAL"];
const STEERING_PREFIXES: &[&str] = &["LD_", "DYLD_", "BASH_FUNC_"];
const STEERING: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PS4",
    "IFS",
    "PROMPT_COMMAND",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONBREAKPOINT",
    "PERL5LIB",
    "PERL5OPT",
    "PERL5DB",
    "PERLLIB",
    "RUBYLIB",
    "RUBYOPT",
    "LUA_INIT",
    "LUA_PATH",
    "LUA_CPATH",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "GCONV_PATH",
    "NLSPATH",
    "GLIBC_TUNABLES",
    "MALLOC_CHECK_",
    "HOSTALIASES",
    "RESOLV_HOST_CONF",
    "LOCALDOMAIN",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_TEMPLATE_DIR",
    "SSLKEYLOGFILE",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "OPENSSL_ENGINES",
    "DOTNET_STARTUP_HOOKS",
    "R_PROFILE",
    "R_ENVIRON",
];
/// Their own values are fine; a caller's are not.
const NEVER_SET: &[&str] = &[
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "ZDOTDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_DIRS",
    "XDG_RUNTIME_DIR",
    "CDPATH",
    "FPATH",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "MANPAGER",
    "BROWSER",
    "LESSOPEN",
    "LESSCLOSE",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EDITOR",
    "GIT_PAGER",
    "GIT_SEQUENCE_EDITOR",
    "GIT_ASKPASS",
    "GIT_PROXY_COMMAND",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS",
    "MAKEFLAGS",
    "MAKEFILES",
    "RUSTC_WRAPPER",
    "RUSTC",
    "CC",
    "CXX",
    "NPM_CONFIG_SCRIPT_SHELL",
    "TERMINFO",
    "TERMCAP",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "DOCKER_HOST",
    "KUBECONFIG",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Compatibility row node-secrets.
    #[test]
    fn what_steers_programs_and_our_secrets_are_not_inherited() {
        let own = map(&[
            ("PATH", "/bin"),
            ("HOME", "/h"),
            ("LD_PRELOAD", "x"),
            ("ld_library_path", "x"),
            ("NODE_OPTIONS", "x"),
            ("BASH_ENV", "x"),
            ("BASH_FUNC_ls%%", "x"),
            ("DYLD_INSERT_LIBRARIES", "x"),
            ("PYTHONPATH", "x"),
            ("OPENCLAW_GATEWAY_TOKEN", "x"),
            ("CLAWDBOT_GATEWAY_PASSWORD", "x"),
            ("OPENCLAW_STATE_DIR", "/s"),
            ("GITHUB_TOKEN", "theirs"),
        ]);
        let got = of_command(own, &BTreeMap::new(), false).unwrap();
        let want = map(&[
            ("PATH", "/bin"),
            ("HOME", "/h"),
            ("OPENCLAW_STATE_DIR", "/s"),
            ("GITHUB_TOKEN", "theirs"),
        ]);
        assert_eq!(got, want);
    }

    #[test]
    fn a_caller_sets_what_is_harmless() {
        let got =
            of_command(map(&[("LANG", "C"), ("A", "1")]), &map(&[("LANG", "de"), ("MY_VAR", "2")]), false);
        assert_eq!(got.unwrap(), map(&[("LANG", "de"), ("A", "1"), ("MY_VAR", "2")]));
    }

    /// Compatibility row node-env.
    #[test]
    fn a_caller_that_sets_what_steers_is_refused_with_the_names() {
        for name in [
            "PATH",
            "path",
            "LD_PRELOAD",
            "LD_AUDIT",
            "NODE_OPTIONS",
            "BASH_ENV",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_0",
            "OPENCLAW_STATE_DIR",
            "HOME",
            "IFS",
            "A B",
            "",
            "1X",
            "X=Y",
            "BASH_FUNC_ls%%",
            "HTTPS_PROXY",
        ] {
            let got = of_command(BTreeMap::new(), &map(&[(name, "x"), ("FINE", "y")]), false);
            assert_eq!(got, Err(vec![name.to_owned()]), "{name}");
        }
        assert!(of_command(BTreeMap::new(), &map(&[("FINE", "a\0b")]), false).is_err());
    }

    #[test]
    fn a_shell_is_told_only_how_to_look() {
        let set = map(&[("LC_ALL", "C"), ("TERM", "dumb")]);
        assert_eq!(of_command(BTreeMap::new(), &set, true), Ok(set));
        let got = of_command(BTreeMap::new(), &map(&[("FINE", "y")]), true);
        assert_eq!(got, Err(vec!["FINE".to_owned()]));
    }

    #[test]
    fn a_caller_sets_so_many_variables_and_no_more() {
        let many = |n: usize| (0..n).map(|n| (format!("V{n:03}"), String::new())).collect();
        assert!(of_command(BTreeMap::new(), &many(VARIABLES_MAX), false).is_ok());
        assert_eq!(
            of_command(BTreeMap::new(), &many(VARIABLES_MAX + 1), false),
            Err(vec![format!("V{VARIABLES_MAX:03}")])
        );
    }
}
