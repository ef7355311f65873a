//! Webhooks, as far as a start looks at them: this program serves none, and does not start with settings of theirs with
//! which the reference would not, so that one file is good for both (spec: auth section 2, row 8).

use super::read::{Reader, expand};
use super::secrets::Resolved;
use super::value::Node;
use crate::environment::Environment;
use clawgate_proto::config::AuthMode;
use clawgate_proto::secret::Secret;

/// What `hooks` says, when they are enabled.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// `hooks.token`.
    pub token: Option<Secret>,
    /// `hooks.path`, trimmed.
    path: String,
    /// `hooks.defaultSessionKey`, as it is compared; empty when there is none.
    default_session: String,
    /// `hooks.allowedSessionKeyPrefixes`, as they are compared.
    prefixes: Vec<String>,
}

impl Hooks {
    /// Reads the settings; `None` when hooks are off.
    pub fn read(reader: &mut Reader<'_>, environment: &Environment) -> Option<Self> {
        if reader.node("hooks.enabled") != Some(&Node::Bool(true)) {
            return None;
        }
        let token = reader.node("hooks.token").and_then(Node::as_text);
        let token = token.and_then(|text| Secret::new(&expand(text, environment).text));
        let mut text = |path| reader.text(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let (path, default_session) = (text("hooks.path"), text("hooks.defaultSessionKey"));
        let prefixes = reader.texts("hooks.allowedSessionKeyPrefixes").into_iter();
        let prefixes =
            prefixes.map(|prefix| prefix.trim().to_lowercase()).filter(|prefix| !prefix.is_empty());
        Some(Self {
            token,
            path,
            default_session: default_session.to_lowercase(),
            prefixes: prefixes.collect(),
        })
    }

    /// Whether they have a token of their own. The gateway's counts where it lets somebody in.
    ///
    /// # Errors
    /// The reference's sentence.
    pub fn check_token(&self, auth: &Resolved) -> Result<(), String> {
        match (&self.token, &auth.token) {
            (Some(hooks), Some(token))
                if auth.mode == AuthMode::Token && token.secret.matches(hooks.expose()) =>
            {
                Err("Invalid config: hooks.token must not match gateway auth token. Set a distinct hooks.token for hook \
                     ingress."
                    .to_owned())
            }
            (_, _) => Ok(()),
        }
    }

    /// Whether the rest would do.
    ///
    /// # Errors
    /// The reference's sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.token.is_none() {
            return Err("hooks.enabled requires hooks.token".to_owned());
        }
        if !self.path.is_empty() && self.path.trim_matches('/').is_empty() {
            return Err("hooks.path may not be '/'".to_owned());
        }
        let covers = |session: &str| {
            self.prefixes.is_empty()
                || self.prefixes.iter().any(|prefix| session.starts_with(prefix.as_str()))
        };
        if self.default_session.is_empty() {
            return if covers(OWN_SESSION) {
                Ok(())
            } else {
                Err("hooks.allowedSessionKeyPrefixes must include 'hook:' when hooks.defaultSessionKey is unset".to_owned())
            };
        }
        if covers(&self.default_session) {
            Ok(())
        } else {
            Err("hooks.defaultSessionKey must match hooks.allowedSessionKeyPrefixes".to_owned())
        }
    }
}

/// How sessions begin that a hook makes when nobody names one.
const OWN_SESSION: &str = "hook:";
