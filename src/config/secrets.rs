//! Which authentication mode is in force and which secrets, from the command line, the file and the environment,
//! in this order (spec: auth 1.1 and 1.2), and the refusals that belong to it (auth 2). What is only pointed to is fetched
//! here, and only when the mode in force compares with it.

use super::secret_refs::SecretRef;
use super::settings::{Bind, SecretAt, Setting, Settings};
use crate::environment::Environment;
use clawgate_proto::config::AuthMode;
use clawgate_proto::secret::Secret;
use core::fmt;
use std::path::{Path, PathBuf};

/// What the command line says about authentication.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--auth`.
    pub mode: Option<AuthMode>,
    /// `--token`.
    pub token: Option<Secret>,
    /// `--password`, or the content of `--password-file`, with that file's path.
    pub password: Option<(Secret, Option<PathBuf>)>,
}

/// A secret and where it came from.
#[derive(Clone, Debug)]
pub struct Sourced {
    /// The secret.
    pub secret: Secret,
    /// Its origin.
    pub source: Source,
}

/// Where a secret came from, for the person who has to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag(&'static str),
    /// A file named on the command line.
    File(PathBuf),
    /// The configuration file.
    Config {
        /// The file.
        file: PathBuf,
        /// The setting in it.
        setting: &'static str,
    },
    /// An environment variable.
    Variable(&'static str),
    /// Where the configuration file points to.
    Fetched {
        /// The setting in it.
        setting: &'static str,
        /// Where that is, for a person.
        place: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "the flag {flag}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Config { file, setting } => write!(f, "{setting} in {}", file.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Fetched { setting, place } => write!(f, "{place}, as {setting} says"),
        }
    }
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The mode.
    pub mode: AuthMode,
    /// The token, if one is known, whatever the mode; one that would have to be fetched only in its own mode.
    pub token: Option<Sourced>,
    /// The password, likewise.
    pub password: Option<Sourced>,
    /// Whether the configuration file has a password of its own.
    pub password_in_config: bool,
}

impl Resolved {
    /// Works out mode and secrets.
    ///
    /// # Errors
    /// A setting that would have to be used cannot be; a sentence for a person.
    pub fn new(
        overrides: &Overrides,
        settings: &Settings,
        config: &Path,
        environment: &Environment,
    ) -> Result<Self, String> {
        let token = match &overrides.token {
            Some(token) => {
                Some(Found::Sourced(Sourced { secret: token.clone(), source: Source::Flag("--token") }))
            }
            None => below(settings.token.as_ref(), config, TOKEN, environment)?,
        };
        let password = match &overrides.password {
            Some((secret, None)) => {
                Some(Found::Sourced(Sourced { secret: secret.clone(), source: Source::Flag("--password") }))
            }
            Some((secret, Some(path))) => {
                Some(Found::Sourced(Sourced { secret: secret.clone(), source: Source::File(path.clone()) }))
            }
            None => below(settings.password.as_ref(), config, PASSWORD, environment)?,
        };
        let mode = match (overrides.mode, &settings.auth_mode) {
            (Some(mode), _) => mode,
            (None, Some(Setting::Known(mode))) => *mode,
            (None, Some(Setting::Unusable(why))) => return Err(why.clone()),
            (None, None) if password.is_some() => AuthMode::Password,
            (None, None) => AuthMode::Token,
        };
        let fetched = |found: Option<Found<'_>>, is_in_force| match found {
            Some(Found::Sourced(sourced)) => Ok(Some(sourced)),
            Some(Found::Elsewhere(reference)) if is_in_force => {
                let source =
                    Source::Fetched { setting: reference.setting, place: reference.place(environment) };
                reference.fetch(environment).map(|secret| Some(Sourced { secret, source }))
            }
            Some(Found::Unset { setting, variables }) if is_in_force => Err(unset(setting, variables)),
            Some(Found::Elsewhere(_) | Found::Unset { .. }) | None => Ok(None),
        };
        let token = fetched(token, mode == AuthMode::Token)?;
        let password = fetched(password, mode == AuthMode::Password)?;
        Ok(Self { mode, token, password, password_in_config: settings.password.is_some() })
    }

    /// The secret that the mode in force compares with.
    pub fn in_force(&self) -> Option<&Sourced> {
        match self.mode {
            AuthMode::None | AuthMode::TrustedProxy => None,
            AuthMode::Token => self.token.as_ref(),
            AuthMode::Password => self.password.as_ref(),
        }
    }

    /// Whether a gateway may start like this; a missing token is no reason against it, one can be made.
    ///
    /// # Errors
    /// The reference's sentence, and what to do.
    pub fn check(&self, overrides: &Overrides, settings: &Settings, bind: Bind) -> Result<(), String> {
        if self.mode == AuthMode::Password && self.password.is_none() {
            return Err("Gateway auth is set to password, but no password is configured.\n\
                        Set gateway.auth.password (or OPENCLAW_GATEWAY_PASSWORD), or pass --password."
                .to_owned());
        }
        if self.mode == AuthMode::None && bind != Bind::Loopback {
            return Err(format!(
                "Refusing to bind gateway to {} without auth.\nSet gateway.auth.token/password (or \
                 OPENCLAW_GATEWAY_TOKEN/OPENCLAW_GATEWAY_PASSWORD) or pass --token/--password.",
                bind.as_str()
            ));
        }
        let undecided = overrides.mode.is_none() && settings.auth_mode.is_none();
        if undecided && settings.token.is_some() && settings.password.is_some() {
            return Err(
                "Invalid config: gateway.auth.token and gateway.auth.password are both configured, but \
                        gateway.auth.mode is unset. Set gateway.auth.mode to token or password."
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The last guard before sockets are bound to addresses that others can reach.
///
/// # Errors
/// There would be no shared secret; the reference's sentence.
pub fn refuse_open_bind(resolved: &Resolved, bind: Bind, host: &str, port: u16) -> Result<(), String> {
    // A proxy that names its users is no shared secret, and keeps strangers out all the same.
    if bind == Bind::Loopback || resolved.in_force().is_some() || resolved.mode == AuthMode::TrustedProxy {
        return Ok(());
    }
    Err(format!(
        "refusing to bind gateway to {host}:{port} without auth (set gateway.auth.token/password, or set \
         OPENCLAW_GATEWAY_TOKEN/OPENCLAW_GATEWAY_PASSWORD)"
    ))
}

/// A secret, or where one is.
enum Found<'a> {
    Sourced(Sourced),
    Elsewhere(&'a SecretRef),
    Unset { setting: &'static str, variables: &'a [String] },
}

/// What is said when the secret in force cannot be known.
fn unset(setting: &str, variables: &[String]) -> String {
    let (names, is) = match variables {
        [name] => (name.clone(), "variable"),
        names => (names.join(", "), "variables"),
    };
    format!(
        "{setting} is to come from the environment {is} {names}, which is not set or is empty here.\nSet it where the gateway \
         is started, or in the .env file of the state folder, or give {setting} another value. No secret is made in its \
         place, and the setting stays as it is."
    )
}

/// The file, else the environment.
fn below<'a>(
    setting: Option<&'a Setting<SecretAt>>,
    config: &Path,
    (name, variable): (&'static str, &'static str),
    environment: &Environment,
) -> Result<Option<Found<'a>>, String> {
    let of_environment = || {
        let secret = environment.get(variable).and_then(Secret::new);
        secret.map(|secret| Found::Sourced(Sourced { secret, source: Source::Variable(variable) }))
    };
    match setting {
        Some(Setting::Known(SecretAt::Here(secret))) => {
            let source = Source::Config { file: config.to_owned(), setting: name };
            Ok(Some(Found::Sourced(Sourced { secret: secret.clone(), source })))
        }
        Some(Setting::Known(SecretAt::Elsewhere(reference))) => Ok(Some(Found::Elsewhere(reference))),
        Some(Setting::Unusable(why)) => Err(why.clone()),
        Some(Setting::Known(SecretAt::Unset { setting, variables })) => {
            Ok(of_environment().or(Some(Found::Unset { setting, variables })))
        }
        None => Ok(of_environment()),
    }
}

const TOKEN: (&str, &str) = ("gateway.auth.token", "OPENCLAW_GATEWAY_TOKEN");
const PASSWORD: (&str, &str) = ("gateway.auth.password", "OPENCLAW_GATEWAY_PASSWORD");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::value::Node;
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::read(&Node::parse(text).unwrap(), &Environment::default()).unwrap()
    }

    fn resolve(overrides: &Overrides, text: &str, variables: &[(&str, &str)]) -> Resolved {
        let environment = Environment::new(variables.iter().copied());
        Resolved::new(overrides, &settings(text), Path::new("/c"), &environment).unwrap()
    }

    fn flags(mode: Option<AuthMode>, token: Option<&str>, password: Option<&str>) -> Overrides {
        Overrides {
            mode,
            token: token.and_then(Secret::new),
            password: password.and_then(Secret::new).map(|secret| (secret, None)),
        }
    }

    #[test]
    fn flags_beat_the_file_and_the_file_beats_the_environment() {
        let env = [("OPENCLAW_GATEWAY_TOKEN", "env"), ("CLAWDBOT_GATEWAY_TOKEN", "legacy")];
        let file = "{gateway: {auth: {mode: 'token', token: 'file'}}}";
        let token = |resolved: &Resolved| {
            let token = resolved.token.as_ref().unwrap();
            (token.secret.expose().to_owned(), token.source.to_string())
        };
        let flag = flags(None, Some("flag"), None);
        assert_eq!(token(&resolve(&flag, file, &env)), ("flag".into(), "the flag --token".into()));
        let none = Overrides::default();
        assert_eq!(token(&resolve(&none, file, &env)), ("file".into(), "gateway.auth.token in /c".into()));
        assert_eq!(
            token(&resolve(&none, "{}", &env)),
            ("env".into(), "the environment variable OPENCLAW_GATEWAY_TOKEN".into())
        );
        assert!(resolve(&none, "{}", &env[1..]).token.is_none(), "the gateway does not read legacy names");
    }

    #[test]
    fn the_mode_follows_the_table() {
        let none = Overrides::default();
        let both = [("OPENCLAW_GATEWAY_TOKEN", "t"), ("OPENCLAW_GATEWAY_PASSWORD", "p")];
        let file = "{gateway: {auth: {mode: 'token'}}}";
        for (overrides, text, variables, want) in [
            (&flags(Some(AuthMode::None), Some("t"), Some("p")), file, &both[..], AuthMode::None),
            (&none, file, &both[..], AuthMode::Token),
            (&none, "{}", &both[..], AuthMode::Password),
            (&none, "{}", &both[..1], AuthMode::Token),
            (&none, "{}", &[], AuthMode::Token),
            (&flags(None, None, Some("p")), "{gateway: {auth: {token: 't'}}}", &[], AuthMode::Password),
        ] {
            assert_eq!(resolve(overrides, text, variables).mode, want, "{overrides:?} {text} {variables:?}");
        }
    }

    #[test]
    fn refusals_of_the_start() {
        let check = |overrides: &Overrides, text: &str, bind| {
            resolve(overrides, text, &[]).check(overrides, &settings(text), bind)
        };
        let none = Overrides::default();
        let both = "{gateway: {auth: {token: 't', password: 'p'}}}";
        let fault = check(&none, both, Bind::Loopback).unwrap_err();
        assert!(
            fault.starts_with("Invalid config: gateway.auth.token and gateway.auth.password are both"),
            "{fault}"
        );
        assert_eq!(check(&flags(Some(AuthMode::Token), None, None), both, Bind::Loopback), Ok(()));
        let open = flags(Some(AuthMode::None), None, None);
        let fault = check(&open, "{}", Bind::Lan).unwrap_err();
        assert!(
            fault.starts_with("Refusing to bind gateway to lan without auth.\nSet gateway.auth"),
            "{fault}"
        );
        assert_eq!(check(&open, "{}", Bind::Loopback), Ok(()));
        let fault = check(&flags(Some(AuthMode::Password), None, None), "{}", Bind::Loopback).unwrap_err();
        assert!(
            fault.starts_with("Gateway auth is set to password, but no password is configured.\nSet "),
            "{fault}"
        );
        assert_eq!(check(&none, "{}", Bind::Lan), Ok(()), "a token will be made");
    }

    #[test]
    fn an_open_bind_is_refused_even_if_everything_before_failed() {
        let resolved = resolve(&Overrides::default(), "{}", &[]);
        assert!(refuse_open_bind(&resolved, Bind::Lan, "0.0.0.0", 1).unwrap_err().contains("0.0.0.0:1"));
        assert_eq!(refuse_open_bind(&resolved, Bind::Loopback, "127.0.0.1", 1), Ok(()));
        let resolved = resolve(&flags(None, Some("t"), None), "{}", &[]);
        assert_eq!(refuse_open_bind(&resolved, Bind::Lan, "0.0.0.0", 1), Ok(()));
    }

    #[test]
    fn a_setting_that_cannot_be_used_matters_only_when_nothing_overrides_it() {
        let text = "{gateway: {auth: {mode: 'token', token: {source: 'exec', id: 'x'}}}}";
        let settings = settings(text);
        let environment = Environment::default();
        let with = |overrides: &Overrides| {
            Resolved::new(overrides, &settings, Path::new("/c"), &environment).map(|resolved| resolved.mode)
        };
        assert!(with(&Overrides::default()).is_err());
        assert_eq!(with(&flags(Some(AuthMode::Token), Some("t"), None)), Ok(AuthMode::Token));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named_and_only_where_its_secret_is_in_force() {
        // Compatibility row secret-variable-unset.
        let with = |auth: &str, variables: &[(&str, &str)]| {
            let settings = settings(&format!("{{gateway: {{auth: {auth}}}}}"));
            let environment = Environment::new(variables.iter().copied());
            Resolved::new(&Overrides::default(), &settings, Path::new("/c"), &environment)
        };
        for (auth, want) in [
            (
                "{token: '${TOK}'}",
                "gateway.auth.token is to come from the environment variable TOK, which is not set",
            ),
            (
                "{mode: 'token', token: 'a${TOK}${X}'}",
                "gateway.auth.token is to come from the environment variables TOK, X,",
            ),
            ("{password: '${PW}'}", "gateway.auth.password is to come from the environment variable PW,"),
        ] {
            let fault = with(auth, &[]).unwrap_err();
            assert!(fault.starts_with(want), "{auth}: {fault}");
        }
        assert!(with("{mode: 'token', token: 't', password: '${PW}'}", &[]).unwrap().password.is_none());
        let found = with("{mode: 'token', token: '${TOK}'}", &[("OPENCLAW_GATEWAY_TOKEN", "env")]).unwrap();
        assert_eq!(found.token.unwrap().source, Source::Variable("OPENCLAW_GATEWAY_TOKEN"));
    }

    #[test]
    fn a_secret_elsewhere_is_fetched_only_for_the_mode_in_force() {
        let text = |mode: &str| {
            format!(
                "{{gateway: {{auth: {{mode: '{mode}', token: {{source: 'env', id: 'THERE'}}, \
                 password: {{source: 'env', id: 'MISSING'}}}}}}}}"
            )
        };
        let environment = Environment::new([("THERE", "fetched")]);
        let with = |mode: &str| {
            let settings = settings(&text(mode));
            Resolved::new(&Overrides::default(), &settings, Path::new("/c"), &environment)
        };
        let resolved = with("token").unwrap();
        let token = resolved.token.unwrap();
        assert_eq!(token.secret.expose(), "fetched");
        let source = "the environment variable THERE, as gateway.auth.token says";
        assert_eq!((token.source.to_string().as_str(), resolved.password.is_none()), (source, true));
        let want = "gateway.auth.password: the secret cannot be fetched from the environment variable that \
                    gateway.auth.password.id names (7 characters): it is not set";
        assert_eq!(with("password").unwrap_err(), want);
        assert!(with("none").unwrap().token.is_none());
    }
}
