//! `clawgate config validate`: whether a gateway could use the file, by the judge that a start asks.

use super::super::{Failure, print, render};
use super::{File, clean_lines};
use crate::config::own;
use clawgate_config::Node;
use clawgate_proto::host::config::Issue;
use serde_json::json;

impl File<'_> {
    /// Says what is wrong with the file, and what its person should know.
    ///
    /// # Errors
    /// A gateway could not use it.
    pub(super) fn validate(&self, json: bool) -> Result<(), Failure> {
        let path = self.path.display().to_string();
        if !self.loaded.exists {
            return Err(Failure::Failed(format!(
                "Config file not found: {path}\n`clawgate gateway` writes one at its first start."
            )));
        }
        let mut issues = self.loaded.issues.clone();
        let mut warnings: Vec<Issue> =
            self.loaded.warnings.iter().chain(&self.loaded.legacy).cloned().collect();
        if issues.is_empty() {
            match self.judged() {
                Ok(more) => {
                    // What is told of a variable or of an old setting is told already.
                    let is_new = |issue: &Issue| {
                        !warnings
                            .iter()
                            .any(|known| known.message == issue.message || known.path == issue.path)
                    };
                    let more: Vec<Issue> = more.into_iter().filter(is_new).collect();
                    warnings.extend(more);
                }
                Err(why) => issues.push(why),
            }
        }
        if json {
            let shown = |issue: &Issue| json!({"path": issue.path, "message": issue.message});
            let mut answer = json!({"valid": issues.is_empty(), "path": path});
            if !issues.is_empty() {
                answer["issues"] = issues.iter().map(shown).collect();
            }
            if !warnings.is_empty() {
                answer["warnings"] = warnings.iter().map(shown).collect();
            }
            print(&format!("{answer}\n"))?;
        } else {
            let mut text = String::new();
            if issues.is_empty() {
                text.push_str(&format!("Config valid: {path}\n"));
            }
            for warning in warnings {
                text.push_str(&format!("- warning: {}\n", clean_lines(&warning.to_string())));
            }
            print(&text)?;
        }
        match (issues.is_empty(), json) {
            (true, _) => Ok(()),
            // One document for programs: it has said all.
            (false, true) => Err(Failure::Reported(1)),
            (false, false) => Err(self.invalid_with(&issues)),
        }
    }

    /// What a start would warn of.
    ///
    /// # Errors
    /// It would be refused: what the document may say and this machine or program cannot do counts too.
    fn judged(&self) -> Result<Vec<Issue>, Issue> {
        if self.loaded.resolved.at(&["gateway", "mode"]).and_then(Node::as_text) == Some("remote") {
            return Err(issue(
                "gateway.mode: it is \"remote\", so this is the file of a client of a gateway elsewhere, and no gateway \
                 starts with it; the commands of this program use gateway.remote",
            ));
        }
        let mut environment = self.environment.clone();
        environment.complete(clawgate_config::service::variables_of(&self.loaded.source));
        own::read(self.storage, &self.own, &environment).map_err(|why| Issue {
            path: String::new(),
            message: why,
            allowed: Vec::new(),
        })?;
        let startable = self.startable(&self.loaded, true).map_err(|why| issue(&why))?;
        let decided = &startable.decided;
        let warnings = decided.exposure.warnings(&decided.auth, &startable.settings);
        let port = self.note_of_a_port(&startable);
        Ok(startable.settings.warnings.iter().chain(&warnings).chain(&port).map(|what| issue(what)).collect())
    }
}

/// A sentence of a start that may begin with the path of a setting.
fn issue(what: &str) -> Issue {
    let is_path = |path: &str| {
        path.contains('.')
            && path
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'[' | b']'))
    };
    let (path, message) = what.split_once(": ").filter(|(path, _)| is_path(path)).unwrap_or(("", what));
    Issue { path: path.to_owned(), message: render::clean(&message.replace('\n', " ")), allowed: Vec::new() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::{ConfigCommand, run};
    use super::*;
    use crate::environment::Environment;
    use crate::scratch::Folder;
    use std::fs;

    fn validate(folder: &Folder, text: &str) -> Result<(), Failure> {
        fs::write(folder.path().join("openclaw.json"), text).unwrap();
        let environment = Environment::new([("OPENCLAW_STATE_DIR", folder.path().to_str().unwrap())]);
        run(&ConfigCommand::Validate { json: false }, &environment)
    }

    #[test]
    fn what_no_gateway_starts_with_is_not_valid() {
        let folder = Folder::new();
        let gateway = |more: &str| format!("{{gateway: {{mode: 'local', {more}}}}}");
        for (text, want) in [
            ("{}".to_owned(), "Gateway start blocked: set gateway.mode=local"),
            ("{gateway: {}}".to_owned(), "Gateway start blocked: set gateway.mode=local"),
            (
                "{gateway: {mode: 'remote', remote: {url: 'ws://127.0.0.1:5'}}}".to_owned(),
                "a client of a gateway elsewhere",
            ),
            (gateway("bind: 'lan', auth: {mode: 'none'}"), "Refusing to bind gateway to lan without auth"),
            (gateway("auth: {mode: 'password'}"), "but no password is configured"),
            (gateway("bind: 'lan', auth: {token: 'changeme'}"), "with a secret that anybody would try"),
            (gateway("auth: {token: 'a', password: 'b'}"), "are both configured"),
            (gateway("bind: 'custom'"), "requires gateway.customBindHost"),
            (gateway("bind: 'custom', customBindHost: '203.0.113.7'"), "No interface of this machine"),
            (gateway("tailscale: {mode: 'funnel'}"), "funnel requires gateway auth mode=password"),
            (gateway("auth: {mode: 'trusted-proxy'}"), "no trustedProxy config was provided"),
            (
                gateway("auth: {token: {source: 'env', provider: 'default', id: 'NOT_SET'}}"),
                "gateway.auth.token.id names (7 characters): it is not set",
            ),
            (gateway("auth: {token: '${NOT_SET}'}"), "environment variable NOT_SET, which is not set"),
            (
                "{gateway: {mode: 'local', auth: {token: 'one'}}, hooks: {enabled: true, token: 'one'}}"
                    .to_owned(),
                "hooks.token must not match",
            ),
            (
                "{gateway: {mode: 'local'}, env: {vars: {OPENCLAW_GATEWAY_PORT: 'abc'}}}".to_owned(),
                "Invalid port: OPENCLAW_GATEWAY_PORT",
            ),
        ] {
            let fault = validate(&folder, &text).unwrap_err();
            assert!(
                fault.message().starts_with("Config invalid: ") && fault.message().contains(want),
                "{text}: {}",
                fault.message()
            );
            assert_eq!(fault.exit_code(), 1);
        }
        validate(&folder, &gateway("trustedProxies: ['foo']")).unwrap();
        fs::write(folder.path().join("clawgate.json"), "{limit: 1}").unwrap();
        assert!(validate(&folder, &gateway("port: 5")).unwrap_err().message().contains("limit: unknown"));
    }

    #[test]
    fn a_sentence_is_no_path() {
        assert_eq!(issue("gateway.trustedProxies: \"foo\" is none").path, "gateway.trustedProxies");
        assert_eq!(issue("Gateway start blocked: set it").path, "");
        assert_eq!(issue("Invalid config: a\nb").message, "Invalid config: a b");
    }
}
