//! Several at once change the configuration file: commands beside each other, and beside a gateway. What was acknowledged
//! is in the file, and the text before it is kept.

use crate::RUNTIMES;
use crate::shell::{config_text, configured, run, start, stop};
use clawgate_support::Settings;
use serde_json::{Value, json};
use std::fs;

const ROUNDS: usize = 30;

fn channels(settings: &Settings) -> Value {
    let document: Value = serde_json::from_str(&config_text(settings)).unwrap();
    document["channels"]["x"].clone()
}

#[test]
fn of_two_commands_at_once_none_undoes_the_other() {
    let settings = configured(RUNTIMES[0]);
    let folder = settings.config_path().parent().unwrap().to_owned();
    run(&settings, "config set gateway.port 18790").done();
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            for writer in ["a", "b"] {
                let settings = &settings;
                // They wait for each other, and neither is refused.
                scope.spawn(move || {
                    run(settings, &format!("config set channels.x.{writer}{round} 1")).done().len()
                });
            }
        });
        let channels = channels(&settings);
        for writer in ["a", "b"] {
            assert_eq!(channels[format!("{writer}{round}")], 1, "round {round}, writer {writer}");
        }
        let kept = if round < 2 { &[".bak"][..] } else { &[".bak", ".bak.1", ".bak.2", ".bak.3", ".bak.4"] };
        for name in kept {
            let text = fs::read_to_string(folder.join(format!("openclaw.json{name}"))).unwrap();
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{name} in round {round}: {text:?}");
        }
    }
}

#[test]
fn a_command_beside_a_gateway_undoes_nothing() {
    for runtime in RUNTIMES {
        let settings = configured(runtime);
        let gateway = start(&settings);
        let mut promised = Vec::new();
        for round in 0..ROUNDS {
            let hash = run(&settings, "call config.get").json()["hash"].clone();
            let raw = format!("{{channels:{{x:{{wire{round}:1}}}}}}");
            let params = json!({"raw": raw, "baseHash": hash}).to_string();
            let (command, call) = std::thread::scope(|scope| {
                let settings = &settings;
                let command =
                    scope.spawn(move || run(settings, &format!("config set channels.x.command{round} 1")));
                let call =
                    scope.spawn(move || run(settings, &format!("call config.patch --params {params}")));
                (command.join().unwrap(), call.join().unwrap())
            });
            command.done();
            promised.push(format!("command{round}"));
            // It was made for the text before the command's: then it is refused, and says so.
            match call.code {
                0 => promised.push(format!("wire{round}")),
                _ => assert!(call.err.contains("re-run config.get"), "{call:?}"),
            }
            let channels = channels(&settings);
            for name in &promised {
                assert_eq!(channels[name.as_str()], 1, "{name}, round {round}");
            }
        }
        stop(gateway);
    }
}
