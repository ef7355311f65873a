//! The shared secrets: whether somebody could guess them, whether they are what they should be, and who else sees them.

use super::{Facts, Finding, Severity};
use crate::config::secrets::{Resolved, Source, Sourced};
use crate::config::shape::Shape;
use crate::config::weak::Weakness;
use crate::environment::Environment;
use clawgate_proto::secret::Secret;

/// What is known of a secret, without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFact {
    /// Where it comes from, for people.
    pub from: String,
    /// Whether the mode in force compares with it.
    pub in_force: bool,
    /// Why it can be guessed.
    pub weakness: Option<Weakness>,
    /// Why it is probably not what was meant.
    pub shape: Option<Shape>,
}

/// The secret in force, or one that will be when the mode changes, can be guessed.
pub fn weak(facts: &Facts, found: &mut Vec<Finding>) {
    for secret in &facts.secrets {
        let Some(weakness) = secret.weakness else { continue };
        let means = format!("it {weakness}, and can be guessed");
        let severity = match (secret.in_force, facts.exposed) {
            (true, true) => Severity::Critical,
            (true, false) => Severity::Warn,
            (false, _) => Severity::Info,
        };
        let means = if facts.exposed { format!("{means} by anybody on the network") } else { means };
        found.push(Finding::security("secrets.weak", severity, &secret.from, means, MAKE_ANOTHER));
    }
}

/// It is a setup code, has quotes around it, and the like.
pub fn mistaken(facts: &Facts, found: &mut Vec<Finding>) {
    for secret in &facts.secrets {
        let Some(shape) = secret.shape else { continue };
        let severity = if shape.is_certain() && secret.in_force { Severity::Warn } else { Severity::Info };
        found.push(Finding::security(
            "secrets.mistaken",
            severity,
            &secret.from,
            shape.sentence(),
            MAKE_ANOTHER,
        ));
    }
}

/// Webhooks with the gateway's own token, or with none.
pub fn hooks(facts: &Facts, found: &mut Vec<Finding>) {
    if !facts.config.is_on("hooks.enabled") {
        return;
    }
    let Some(token) = facts.config.text("hooks.token").and_then(Secret::new) else {
        found.push(Finding::security(
            "hooks.no-token",
            Severity::Critical,
            "hooks.token",
            "webhooks are enabled without a token of their own",
            "set hooks.token to a long random text, or hooks.enabled to false",
        ));
        return;
    };
    let gateway = facts.config.text("gateway.auth.token");
    if gateway.is_some_and(|gateway| token.matches(gateway)) {
        found.push(Finding::security(
            "hooks.same-token",
            Severity::Critical,
            "hooks.token",
            "it is the gateway's own token: whoever may send a webhook may do everything, and the reference does not start \
             like this",
            "set hooks.token to another long random text",
        ));
    }
    if Weakness::of(token.expose()).is_some() {
        let severity = if facts.exposed { Severity::Critical } else { Severity::Warn };
        found.push(Finding::security(
            "hooks.weak-token",
            severity,
            "hooks.token",
            "it can be guessed",
            "set hooks.token to a long random text, such as `openssl rand -hex 24` prints",
        ));
    }
}

/// A flag with a secret, in the process list.
pub fn on_command_line(facts: &Facts, found: &mut Vec<Finding>) {
    for (pid, flag) in &facts.shown_flags {
        found.push(Finding::security(
            "secrets.command-line",
            Severity::Warn,
            format!("{flag} of process {pid}"),
            "every user of this machine can read it in the process list",
            "put it into gateway.auth, into OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD, or into a file for \
             --password-file; then make another one, since this one was seen",
        ));
    }
}

/// The gateway takes the file's, its clients the environment's.
pub fn two_sources(facts: &Facts, found: &mut Vec<Finding>) {
    for (setting, variable) in &facts.contradictions {
        found.push(Finding::operation(
            "secrets.two-sources",
            Severity::Warn,
            *variable,
            format!(
                "it differs from {setting} in the configuration file: a gateway compares with the file's, and client \
                 commands show the variable's, which is refused"
            ),
            format!("unset {variable}, or set both to the same"),
        ));
    }
}

/// What is to be known of the secrets in force.
pub(super) fn facts_of(resolved: &Resolved) -> Vec<SecretFact> {
    let in_force = resolved.in_force().map(|sourced| sourced.source.clone());
    let fact = |sourced: &Sourced| SecretFact {
        from: sourced.source.to_string(),
        in_force: in_force.as_ref() == Some(&sourced.source),
        weakness: Weakness::of(sourced.secret.expose()),
        shape: Shape::of(sourced.secret.expose()),
    };
    [&resolved.token, &resolved.password].into_iter().flatten().map(fact).collect()
}

/// Settings of the file that a variable contradicts.
pub(super) fn contradictions(
    resolved: &Resolved,
    environment: &Environment,
) -> Vec<(&'static str, &'static str)> {
    let pairs = [
        (&resolved.token, ["OPENCLAW_GATEWAY_TOKEN", "CLAWDBOT_GATEWAY_TOKEN"]),
        (&resolved.password, ["OPENCLAW_GATEWAY_PASSWORD", "CLAWDBOT_GATEWAY_PASSWORD"]),
    ];
    let mut found = Vec::new();
    for (sourced, variables) in pairs {
        let Some(Sourced { secret, source: Source::Config { setting, .. } }) = sourced else { continue };
        if let Some((variable, value)) = environment.first(&variables)
            && !secret.matches(value)
        {
            found.push((*setting, variable));
        }
    }
    found
}

const MAKE_ANOTHER: &str = "set a long random one, such as `openssl rand -hex 24` prints: `clawgate config set \
                            gateway.auth.token` reads it from standard input. A running gateway takes it at once";

#[cfg(test)]
mod tests {
    use super::super::testing::found;
    use super::*;
    use crate::config::secrets::Overrides;
    use Severity::{Critical, Info, Warn};

    #[test]
    fn a_weak_secret_is_worse_where_others_can_try() {
        let mut facts = Facts::clean();
        assert_eq!(found(weak, &facts), []);
        facts.secrets[0].weakness = Some(Weakness::Short(4));
        assert_eq!(found(weak, &facts), [("secrets.weak", Warn)]);
        facts.exposed = true;
        assert_eq!(found(weak, &facts), [("secrets.weak", Critical)]);
        facts.secrets[0].in_force = false;
        assert_eq!(found(weak, &facts), [("secrets.weak", Info)]);
    }

    #[test]
    fn a_secret_that_is_something_else_is_found() {
        let mut facts = Facts::clean();
        assert_eq!(found(mistaken, &facts), []);
        facts.secrets[0].shape = Some(Shape::SetupCode);
        assert_eq!(found(mistaken, &facts), [("secrets.mistaken", Warn)]);
        facts.secrets[0].shape = Some(Shape::Quoted);
        assert_eq!(found(mistaken, &facts), [("secrets.mistaken", Info)]);
    }

    #[test]
    fn webhooks_need_a_token_of_their_own() {
        let with = |hooks: &str| {
            Facts::with_config(&format!(
                "{{gateway: {{auth: {{token: 'shared-with-nobody'}}}}, hooks: {hooks}}}"
            ))
        };
        for (text, want) in [
            ("{}", vec![]),
            ("{enabled: false, token: 'shared-with-nobody'}", vec![]),
            ("{enabled: true}", vec![("hooks.no-token", Critical)]),
            ("{enabled: true, token: 'shared-with-nobody'}", vec![("hooks.same-token", Critical)]),
            ("{enabled: true, token: 'short'}", vec![("hooks.weak-token", Warn)]),
            ("{enabled: true, token: 'quite another one, and long'}", vec![]),
        ] {
            assert_eq!(found(hooks, &with(text)), want, "{text}");
        }
    }

    #[test]
    fn secrets_in_the_process_list_are_found() {
        let mut facts = Facts::clean();
        assert_eq!(found(on_command_line, &facts), []);
        facts.shown_flags = vec![(7, "--token")];
        assert_eq!(found(on_command_line, &facts), [("secrets.command-line", Warn)]);
    }

    #[test]
    fn a_variable_that_contradicts_the_file_is_found() {
        let facts = Facts::with_config("{gateway: {auth: {mode: 'token', token: 'one', password: 'two'}}}");
        let contradict = |variables: &[(&str, &str)]| {
            let environment = Environment::new(variables.iter().copied());
            let path = std::path::Path::new("/c");
            let resolved = Resolved::new(&Overrides::default(), &facts.config.settings, path, &environment);
            resolved.map_or_else(|_| Vec::new(), |resolved| contradictions(&resolved, &environment))
        };
        assert_eq!(contradict(&[("OPENCLAW_GATEWAY_TOKEN", " one ")]), []);
        assert_eq!(
            contradict(&[("CLAWDBOT_GATEWAY_TOKEN", "other"), ("OPENCLAW_GATEWAY_PASSWORD", "two")]),
            [("gateway.auth.token", "CLAWDBOT_GATEWAY_TOKEN")]
        );
        let mut facts = Facts::clean();
        assert_eq!(found(two_sources, &facts), []);
        facts.contradictions = vec![("gateway.auth.token", "OPENCLAW_GATEWAY_TOKEN")];
        assert_eq!(found(two_sources, &facts), [("secrets.two-sources", Warn)]);
    }

    #[test]
    fn what_is_kept_of_a_secret_does_not_show_it() {
        let facts =
            Facts::with_config("{gateway: {auth: {mode: 'token', token: 'hunter22', password: 'hunter23'}}}");
        let path = std::path::Path::new("/c");
        let resolved =
            Resolved::new(&Overrides::default(), &facts.config.settings, path, &Environment::default());
        let known = resolved.as_ref().map_or_else(|_| Vec::new(), facts_of);
        assert!(!format!("{known:?}").contains("hunter"), "{known:?}");
        assert_eq!(
            known.iter().map(|fact| (fact.in_force, fact.weakness)).collect::<Vec<_>>(),
            [(true, Some(Weakness::Short(8))), (false, Some(Weakness::Short(8))),]
        );
    }
}
