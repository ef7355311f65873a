//! One look, as plain text or JSON: the overview for those who have no terminal.

use super::facts::Fact;
use super::model::Model;
use super::overview::{figures, sections};
use super::sheet::when_text;
use crate::cli::args::ClientArgs;
use crate::cli::session::Session;
use crate::cli::{Failure, print, print_json, render};
use crate::environment::Environment;
use crate::log;
use serde_json::json;

/// Prints it.
///
/// # Errors
/// The gateway cannot be asked.
pub(super) fn run(args: &ClientArgs, environment: &Environment) -> Result<(), Failure> {
    let mut session = Session::open(args, environment)?;
    let mut model = Model::new(&session.target.url);
    model.opened(&session.hello.0, &session.hello.scopes(), log::wall_ms());
    let mut facts = json!({});
    for fact in Fact::ALL {
        match session.call(fact.method(), fact.params(None)) {
            Ok(answer) => {
                model.learn(fact, &answer);
                facts[fact.method()] = answer;
            }
            // Not everybody may see everything, and not every gateway has all of it.
            Err(Failure::Answered(error)) => {
                model.failed(fact, &error.to_string());
                facts[fact.method()] = json!({ "error": { "code": error.code, "message": error.message } });
            }
            Err(failure) => return Err(failure),
        }
    }
    let hello = &session.hello.0;
    let gateway = json!({ "url": session.target.url, "version": hello["server"]["version"],
        "protocol": hello["protocol"], "uptimeMs": hello["snapshot"]["uptimeMs"] });
    session.close();
    if args.json {
        return print_json(&json!({ "gateway": gateway, "facts": facts }));
    }
    print(&page(&model, log::wall_ms()))
}

fn page(model: &Model, wall_ms: u64) -> String {
    let mut out = format!("Gateway      {}\n", model.url);
    for figure in figures(model, wall_ms) {
        let more = if figure.more.is_empty() { String::new() } else { format!("  ({})", figure.more) };
        out.push_str(&format!("{:<13}{}{more}\n", figure.label, figure.value));
    }
    for (head, text) in [
        ("Config fault", model.figures.config_fault.clone()),
        ("Restart for", model.figures.restart_needed.join(", ")),
    ] {
        if !text.is_empty() {
            out.push_str(&format!("{head:<13}{text}\n"));
        }
    }
    for section in sections(model) {
        out.push_str(&format!("\n{}\n", section.title));
        if section.items.is_empty() {
            out.push_str(&format!("{}\n", section.empty));
            continue;
        }
        let rows = section.items.iter().map(|item| {
            vec![
                item.name.clone(),
                item.tag.clone(),
                item.grants.1.join(", "),
                when_text(&item.when, wall_ms),
                item.facts.join(", "),
            ]
        });
        let table = render::table(&["NAME", "STATE", "MAY", "WHEN", "FACTS"], rows);
        out.push_str(&table);
        if section.all > section.items.len() {
            out.push_str(&format!("and {} more\n", section.all - section.items.len()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_is_known_and_why_something_is_not() {
        let mut model = Model::new("ws://h/");
        let hello = json!({"protocol": 4, "server": {"version": "9.8.7"}, "snapshot": {"uptimeMs": 720_000}});
        model.opened(&hello, &[], 1_000_000);
        model.learn(
            Fact::Nodes,
            &json!({"nodes": [{"nodeId": "n", "displayName": "Attic\u{1b}", "connected": true,
            "commands": ["system.run"]}]}),
        );
        model.failed(Fact::Devices, "missing scope: operator.pairing");
        let page = page(&model, 1_000_000);
        for want in [
            "Gateway      ws://h/",
            "Uptime       12 min",
            "9.8.7  (protocol 4)",
            "Nodes        1  (of 1 known)",
            "Attic\u{fffd}  connected  system.run",
            "Not shown: missing scope: operator.pairing",
        ] {
            assert!(page.contains(want), "{want} in\n{page}");
        }
        assert!(!page.contains('\u{1b}'));
    }
}
