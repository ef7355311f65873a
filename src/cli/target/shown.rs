//! What is shown to a gateway: secrets of flags, environment and configuration, in which order, and to which gateway.

use crate::cli::Failure;
use crate::cli::args::ClientArgs;
use crate::config::secrets::{Overrides, Resolved, Sourced};
use crate::config::settings::{SecretAt, Setting};
use crate::config::shape::Shape;
use crate::config::{ConfigFile, Opened, Settings};
use crate::environment::Environment;
use clawgate_proto::config::AuthMode;
use clawgate_proto::connect::Credentials;
use clawgate_proto::secret::Secret;

/// What is shown to a gateway.
#[derive(Debug, Default)]
pub struct Shown {
    /// Shared secrets.
    pub credentials: Credentials,
    /// Where they came from.
    pub from: Option<String>,
    /// What their person should know about them.
    pub notice: Option<String>,
}

/// What a node host shows to its gateway: what the flags say, else what the environment does, and the configuration's
/// secrets only to the gateway that the configuration is of.
///
/// # Errors
/// A secret is of another kind, or cannot be read.
pub fn shown_by_node(args: &ClientArgs, opened: &Opened, whose: Whose) -> Result<Shown, Failure> {
    if let Some(shown) = explicit(args)? {
        return Ok(shown);
    }
    let Opened { file, settings, environment, .. } = opened;
    match whose {
        Whose::Home => configured(settings, file, environment),
        Whose::Remote => remote(settings, environment),
        Whose::Unknown => of_environment(environment),
    }
}

/// Which gateway a node host talks to, as far as the configuration knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one of this configuration, on this machine.
    Home,
    /// The one at `gateway.remote.url`.
    Remote,
    /// Another one.
    Unknown,
}

/// The secrets of the environment alone.
pub(super) fn of_environment(environment: &Environment) -> Result<Shown, Failure> {
    let secret = |names: &[&'static str]| {
        let (name, value) = environment.first(names)?;
        Some((name, Secret::new(value)?.expose().to_owned()))
    };
    let (token, password) = (secret(&TOKEN_VARIABLES), secret(&PASSWORD_VARIABLES));
    let Some((name, _)) = token.as_ref().or(password.as_ref()) else { return Ok(Shown::default()) };
    let from = Some(format!("the environment variable {name}"));
    // One is enough, as in the reference: the token.
    let password = password.filter(|_| token.is_none()).map(|(_, secret)| secret);
    let credentials =
        Credentials { token: token.map(|(_, secret)| secret), password, ..Credentials::default() };
    Shown { credentials, from, notice: None }.check(Failure::Failed)
}

impl Shown {
    /// What was pasted by mistake is not sent: it may be a secret of another kind, and it would only be refused.
    fn check(self, fault: fn(String) -> Failure) -> Result<Self, Failure> {
        let secrets = [&self.credentials.token, &self.credentials.password];
        let shape = secrets.into_iter().flatten().find_map(|secret| Shape::of(secret));
        let (Some(shape), Some(from)) = (shape, &self.from) else { return Ok(self) };
        let said = format!("what {from} says {}", shape.sentence());
        if shape.is_certain() {
            return Err(fault(format!("{said}\nNothing was sent.")));
        }
        Ok(Self { notice: Some(format!("note: {said}")), ..self })
    }
}

pub(super) fn explicit(args: &ClientArgs) -> Result<Option<Shown>, Failure> {
    let text = |flag: &Option<String>| flag.as_deref().and_then(Secret::new).map(|s| s.expose().to_owned());
    let (token, password) = (text(&args.token), text(&args.password));
    let flag = match (&token, &password) {
        (None, None) => return Ok(None),
        (Some(_), None) => "the flag --token",
        (None, Some(_)) => "the flag --password",
        (Some(_), Some(_)) => "the flags --token and --password",
    };
    let credentials = Credentials { token, password, ..Credentials::default() };
    Shown { credentials, from: Some(flag.to_owned()), notice: None }.check(Failure::Usage).map(Some)
}

/// A client's secrets: the environment before the file, unlike the gateway's.
pub(super) fn configured(
    settings: &Settings,
    file: &ConfigFile,
    environment: &Environment,
) -> Result<Shown, Failure> {
    let variable = |names: &[&'static str]| {
        let (name, value) = environment.first(names)?;
        Some((name, Secret::new(value)?))
    };
    let token = variable(&TOKEN_VARIABLES);
    let password = variable(&PASSWORD_VARIABLES);
    let overrides = Overrides {
        mode: None,
        token: token.as_ref().map(|(_, secret)| secret.clone()),
        password: password.as_ref().map(|(_, secret)| (secret.clone(), None)),
    };
    let settings = settings.clone().for_a_client();
    let resolved = Resolved::new(&overrides, &settings, &file.path, environment).map_err(Failure::Failed)?;
    let (shown_token, shown_password) = match resolved.mode {
        AuthMode::None => (None, None),
        AuthMode::Token => (resolved.token.as_ref(), None),
        AuthMode::Password => (None, resolved.password.as_ref()),
        // The gateway may have been started with another mode, to pair this machine before the proxy decides.
        AuthMode::TrustedProxy => (resolved.token.as_ref(), resolved.password.as_ref()),
    };
    let Some(sourced) = shown_token.or(shown_password) else { return Ok(Shown::default()) };
    let variable = if shown_token.is_some() { &token } else { &password };
    let from = match variable {
        Some((name, _)) => format!("the environment variable {name}"),
        None => sourced.source.to_string(),
    };
    let exposed = |sourced: Option<&Sourced>| sourced.map(|sourced| sourced.secret.expose().to_owned());
    let credentials = Credentials {
        token: exposed(shown_token),
        password: exposed(shown_password),
        ..Credentials::default()
    };
    Shown { credentials, from: Some(from), notice: None }.check(Failure::Failed)
}

/// What is shown to the gateway at `gateway.remote.url`: the environment, else `gateway.remote.token` and `.password`, which
/// are shown to nobody else. What `gateway.auth` says is for a gateway here.
///
/// # Errors
/// A secret is of another kind, or cannot be read.
pub fn remote(settings: &Settings, environment: &Environment) -> Result<Shown, Failure> {
    let mut from = None;
    let mut credential = |names: &[&'static str], setting: &Option<Setting<SecretAt>>, path: &str| {
        if let Some((name, value)) = environment.first(names) {
            from.get_or_insert(format!("the environment variable {name}"));
            return Ok(Some(value.to_owned()));
        }
        let secret = match setting {
            None => return Ok(None),
            Some(Setting::Unusable(why)) => return Err(Failure::Failed(why.clone())),
            Some(Setting::Known(SecretAt::Here(secret))) => secret.clone(),
            Some(Setting::Known(SecretAt::Elsewhere(reference))) => {
                reference.fetch(environment).map_err(Failure::Failed)?
            }
            Some(Setting::Known(SecretAt::Unset { variables, .. })) => {
                return Err(Failure::Failed(format!(
                    "{path} is to come from the environment ({}), which is not set here",
                    variables.join(", ")
                )));
            }
        };
        from.get_or_insert(path.to_owned());
        Ok(Some(secret.expose().to_owned()))
    };
    let token = credential(&TOKEN_VARIABLES, &settings.remote_token, "gateway.remote.token")?;
    let password = credential(&PASSWORD_VARIABLES, &settings.remote_password, "gateway.remote.password")?;
    let credentials = Credentials { token, password, ..Credentials::default() };
    Shown { credentials, from, notice: None }.check(Failure::Failed)
}

const TOKEN_VARIABLES: [&str; 2] = ["OPENCLAW_GATEWAY_TOKEN", "CLAWDBOT_GATEWAY_TOKEN"];
const PASSWORD_VARIABLES: [&str; 2] = ["OPENCLAW_GATEWAY_PASSWORD", "CLAWDBOT_GATEWAY_PASSWORD"];
