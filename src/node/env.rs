//! Which variables a command gets: those of the node host without the ones that would make programs load or run
//! something else and without its own secrets, and what the caller sets. A caller's variable that steers programs is
//! refused, not dropped: an approval was given for the command as it was shown. No list of those is ever complete, so
//! what an allowlist allows is run with variables that are known to be harmless only.

use super::VARIABLES_MAX;
use std::collections::BTreeMap;
use std::fmt;

/// Why a caller's variables are refused. Names are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// These steer programs, or are no names.
    Steering(Vec<String>),
    /// These are fine for other programs, and a shell may read them as commands.
    Shell(Vec<String>),
    /// There are too many of them.
    Many,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steering(names) => write!(f, "env must not set {} on this node", names.join(", ")),
            Self::Shell(names) => write!(
                f,
                "env must not set {} for a shell on this node, which may run what a variable says: it is given {} and LC_* \
                 only. Say it in the script instead: NAME=value; ...",
                names.join(", "),
                FOR_SHELLS.join(", ")
            ),
            Self::Many => write!(f, "env must not set more than {VARIABLES_MAX} variables on this node"),
        }
    }
}

/// The variables of a command.
///
/// # Errors
/// The caller wants to set what must not be set.
pub fn of_command(
    own: impl IntoIterator<Item = (String, String)>,
    set: &BTreeMap<String, String>,
    is_shell: bool,
) -> Result<BTreeMap<String, String>, Refused> {
    let but = |may: &dyn Fn(&str, &str) -> bool| -> Vec<String> {
        let refused = set.iter().filter(|(name, value)| !may(name, value));
        refused.map(|(name, _)| name.clone()).collect()
    };
    let steering = but(&|name, value| is_name(name) && !value.contains('\0') && may_set(name));
    if !steering.is_empty() {
        return Err(Refused::Steering(steering));
    }
    let for_others = but(&|name, _| !is_shell || may_set_for_shell(name));
    if !for_others.is_empty() {
        return Err(Refused::Shell(for_others));
    }
    if set.len() > VARIABLES_MAX {
        return Err(Refused::Many);
    }
    let inherited = own.into_iter().filter(|(name, _)| is_inherited(name));
    Ok(inherited.chain(set.iter().map(|(name, value)| (name.clone(), value.clone()))).collect())
}

/// Whether a caller's variable only says how a command looks: no approval is needed for it.
pub fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(&name) || name.starts_with("LC_")
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
    let is_tools = TOOLS_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    let is_fine = FINE_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    !is_steering(&upper) && !is_ours && (!is_tools || is_fine) && !NEVER_SET.contains(&upper.as_str())
}

/// A shell reads many variables as commands: only looks may be chosen for it.
fn may_set_for_shell(name: &str) -> bool {
    FOR_SHELLS.contains(&name) || name.starts_with("LC_")
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

const FOR_SHELLS: [&str; 5] = ["TERM", "LANG", "COLORTERM", "NO_COLOR", "FORCE_COLOR"];
const OUR_PREFIXES: &[&str] = &["OPENCLAW_", "CLAWDBOT_", "CLAWGATE_"];
const SECRET_WORDS: &[&str] = &["TOKEN", "PASSWORD", "SECRET", "KEY", "CREDENTIAL"];
const HARMLESS: &[&str] =
    &["LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI"];
const STEERING_PREFIXES: &[&str] = &["LD_", "DYLD_", "BASH_FUNC_", "LUA_INIT", "LUA_PATH", "LUA_CPATH"];
/// Of tools that run other programs when their variables say so.
const TOOLS_PREFIXES: &[&str] =
    &["GIT_", "NPM_CONFIG_", "CARGO_", "BUNDLE_", "MALLOC_", "ANSIBLE_", "UV_", "PIP_"];
/// But these only say who, and whether to ask.
const FINE_PREFIXES: &[&str] = &["GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_TERMINAL_PROMPT"];
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
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS",
    "MAKEFLAGS",
    "MAKEFILES",
    "RUSTC_WRAPPER",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "GOFLAGS",
    "GOENV",
    "GOROOT",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
    "LIBRARY_PATH",
    "PYTHONUSERBASE",
    "PYTHONWARNINGS",
    "PYTHONEXECUTABLE",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
    "PYTHONINSPECT",
    "PERL5SHELL",
    "RUBYSHELL",
    "GEM_HOME",
    "GEM_PATH",
    "TCLLIBPATH",
    "ELECTRON_RUN_AS_NODE",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "TAR_OPTIONS",
    "RSYNC_RSH",
    "RSYNC_PROXY",
    "CURL_HOME",
    "WGETRC",
    "VIMINIT",
    "EXINIT",
    "MYVIMRC",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GTK_MODULES",
    "GTK_PATH",
    "QT_PLUGIN_PATH",
    "LOCPATH",
    "CC",
    "CXX",
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
        for name in ["GIT_AUTHOR_NAME", "GIT_TERMINAL_PROMPT", "PYTHONUNBUFFERED"] {
            assert!(of_command(BTreeMap::new(), &map(&[(name, "0")]), false).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_only_looks_is_known_and_may_be_set() {
        for name in ["LANG", "LC_ALL", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI"] {
            assert!(is_harmless(name) && may_set(name), "{name}");
        }
        for name in ["lang", "MY_VAR", "PATH", "LANGX", "GIT_AUTHOR_NAME", ""] {
            assert!(!is_harmless(name), "{name}");
        }
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
            "GIT_COMMON_DIR",
            "GIT_TRACE",
            "TAR_OPTIONS",
            "PYTHONUSERBASE",
            "LUA_INIT_5_4",
            "CARGO_BUILD_RUSTC_WRAPPER",
            "npm_config_node_options",
            "MALLOC_TRACE",
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
            assert_eq!(got, Err(Refused::Steering(vec![name.to_owned()])), "{name}");
        }
        assert!(of_command(BTreeMap::new(), &map(&[("FINE", "a\0b")]), false).is_err());
    }

    #[test]
    fn a_shell_is_told_only_how_to_look() {
        let set = map(&[("LC_ALL", "C"), ("TERM", "dumb")]);
        assert_eq!(of_command(BTreeMap::new(), &set, true), Ok(set));
        let got = of_command(BTreeMap::new(), &map(&[("FINE", "y")]), true);
        assert_eq!(got, Err(Refused::Shell(vec!["FINE".to_owned()])));
        // What is for nobody is said as such, for a shell too.
        let got = of_command(BTreeMap::new(), &map(&[("FINE", "y"), ("PATH", "/x")]), true);
        assert_eq!(got, Err(Refused::Steering(vec!["PATH".to_owned()])));
    }

    #[test]
    fn a_caller_sets_so_many_variables_and_no_more() {
        let many = |n: usize| (0..n).map(|n| (format!("V{n:03}"), String::new())).collect();
        assert!(of_command(BTreeMap::new(), &many(VARIABLES_MAX), false).is_ok());
        assert_eq!(of_command(BTreeMap::new(), &many(VARIABLES_MAX + 1), false), Err(Refused::Many));
    }
}
