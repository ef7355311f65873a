//! Secrets out of files and programs: what is taken, and everything that is not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::scratch::Folder;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn reference(node: &str, providers: &str, environment: &Environment) -> Result<SecretRef, String> {
    let root = Node::parse(&format!("{{secrets: {{providers: {providers}, defaults: {{file: 'usual'}}}}}}"));
    SecretRef::read("gateway.auth.token", &Node::parse(node).unwrap(), &root.unwrap(), environment)
}

fn fetch(node: &str, providers: &str) -> Result<String, String> {
    let environment = Environment::new([("THERE", "from-env"), ("PASSED", "p")]);
    let secret = reference(node, providers, &environment)?.fetch(&environment)?;
    Ok(secret.expose().to_owned())
}

fn file_with(folder: &Folder, name: &str, content: &str, mode: u32) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A program that runs these lines of shell.
fn program(folder: &Folder, lines: &str) -> String {
    file_with(folder, "resolver", &format!("#!/bin/sh\n{lines}\n"), 0o700)
}

#[test]
fn a_variable_needs_no_provider_and_one_may_narrow_it() {
    let there = "{source: 'env', provider: 'default', id: 'THERE'}";
    assert_eq!(fetch(there, "{}"), Ok("from-env".to_owned()));
    assert_eq!(fetch(there, "{default: {source: 'env', allowlist: ['THERE']}}"), Ok("from-env".to_owned()));
    let fault = fetch(there, "{default: {source: 'env', allowlist: ['OTHER']}}").unwrap_err();
    assert!(fault.contains("allowlist does not name it"), "{fault}");
    let fault = fetch("{source: 'env', id: 'MISSING'}", "{}").unwrap_err();
    let want = "gateway.auth.token: the secret cannot be fetched from the environment variable that gateway.auth.token.id \
                names (7 characters): it is not set";
    assert_eq!(fault, want);
    let fault = fetch("{source: 'env', id: 'hunter-22'}", "{}").unwrap_err();
    assert!(fault.contains("(9 characters): that is no name of a variable") && !fault.contains("hunter"));
    let fault = fetch("{source: 'env', id: 'hunter22'}", "{default: {source: 'env', allowlist: ['OTHER']}}");
    assert!(!fault.unwrap_err().contains("hunter22"));
}

#[test]
fn what_is_no_reference_is_named() {
    for (node, providers, want) in [
        ("{id: 'x'}", "{}", "gateway.auth.token: a reference needs \"source\""),
        ("{source: 'vault', id: 'x'}", "{}", "gateway.auth.token: a reference needs \"source\""),
        ("{source: 'env'}", "{}", "gateway.auth.token: a reference needs an \"id\""),
        (
            "{source: 'file', id: '/x'}",
            "{}",
            "gateway.auth.token: secrets.providers has none of that name (secrets.defaults.file)",
        ),
        (
            "{source: 'exec', id: 'x'}",
            "{}",
            "gateway.auth.token: secrets.providers has none of that name (the usual one, default)",
        ),
        (
            "{source: 'exec', provider: 'hunter22', id: 'x'}",
            "{}",
            "gateway.auth.token: secrets.providers has none of that name (gateway.auth.token.provider)",
        ),
        (
            "{source: 'exec', provider: 'p', id: 'x'}",
            "{p: {source: 'file', path: '/x'}}",
            "gateway.auth.token: secrets.providers.p is not of source \"exec\"",
        ),
        (
            "{source: 'file', provider: 'p', id: 'x'}",
            "{p: {source: 'file'}}",
            "secrets.providers.p.path is missing",
        ),
        (
            "{source: 'exec', provider: 'p', id: 'x'}",
            "{p: {source: 'exec'}}",
            "secrets.providers.p.command is",
        ),
        (
            "{source: 'file', provider: 'p', id: 'x'}",
            "{p: {source: 'file', path: '/x', maxBytes: 0}}",
            "secrets.providers.p.maxBytes: expected a whole number from 1",
        ),
    ] {
        let fault = fetch(node, providers).unwrap_err();
        assert!(fault.starts_with(want), "{node} {providers}: {fault}");
    }
}

#[test]
fn a_file_holds_one_secret_or_many() {
    let folder = Folder::new();
    let json = file_with(&folder, "s.json", r#"{"gateway": {"a/b": "hidden", "n": 7}}"#, 0o600);
    let whole = file_with(&folder, "s.txt", "hidden too\n", 0o600);
    let providers = format!(
        "{{usual: {{source: 'file', path: '{json}'}}, whole: {{source: 'file', path: '{whole}', mode: 'singleValue'}}}}"
    );
    let with =
        |id: &str, provider: &str| fetch(&format!("{{source: 'file', id: '{id}'{provider}}}"), &providers);
    assert_eq!(with("/gateway/a~1b", ""), Ok("hidden".to_owned()));
    assert_eq!(with("value", ", provider: 'whole'"), Ok("hidden too".to_owned()));
    for (id, provider, want) in [
        ("/gateway/n", "", "what is at /gateway/n is no text"),
        ("/gateway/x", "", "there is nothing at its id"),
        ("gateway", "", "its id must be a path in it, which begins with /"),
        ("/x", ", provider: 'whole'", "its id must be \"value\""),
    ] {
        let fault = with(id, provider).unwrap_err();
        let place = format!("from the file {}", if provider.is_empty() { &json } else { &whole });
        assert!(fault.ends_with(want) && fault.contains(&place) && !fault.contains("hidden"), "{fault}");
    }
}

#[test]
fn a_file_that_others_can_read_is_too_large_or_none_is_refused() {
    let folder = Folder::new();
    let open = file_with(&folder, "open", "hidden", 0o640);
    let large = file_with(&folder, "large", &"x".repeat(101), 0o600);
    let blank = file_with(&folder, "blank", " \n", 0o600);
    let folder_path = folder.path().to_str().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let with = |path: &str, more: &str| {
        let providers = format!(
            "{{usual: {{source: 'file', mode: 'singleValue', maxBytes: 100, path: '{path}'{more}}}}}"
        );
        fetch("{source: 'file', id: 'value'}", &providers)
    };
    for (path, want) in [
        (open.as_str(), "others can read it: chmod 600 it"),
        (&large, "it is longer than 100 bytes"),
        (&blank, "what is there is empty"),
        (folder_path, "it is no ordinary file"),
        (fifo.to_str().unwrap(), "it is no ordinary file"),
        ("/nonexistent/secret", "No such file or directory (os error 2)"),
    ] {
        let fault = with(path, "").unwrap_err();
        assert!(fault.ends_with(want), "{path}: {fault}");
    }
    assert_eq!(with(&open, ", allowInsecurePath: true"), Ok("hidden".to_owned()));
}

#[test]
fn a_program_is_asked_in_json_and_answers_in_it() {
    let folder = Folder::new();
    // It says what it was asked and what it was given: nothing but what is listed.
    let lines = r#"asked=$(cat); case "$asked" in *'"ids":["a/b"]'*) ;; *) exit 3;; esac
printf '{"protocolVersion":1,"values":{"a/b":"%s-%s-%s-%s"}}' "$1" "$PASSED" "$SET" "$THERE""#;
    let path = program(&folder, lines);
    let providers = format!(
        "{{p: {{source: 'exec', command: '{path}', args: ['arg'], passEnv: ['PASSED'], env: {{SET: 'set'}}}}}}"
    );
    assert_eq!(fetch("{source: 'exec', provider: 'p', id: 'a/b'}", &providers), Ok("arg-p-set-".to_owned()));
    let fault = fetch("{source: 'exec', provider: 'p', id: 'other'}", &providers).unwrap_err();
    assert!(
        fault.contains(&format!("the program {path} (provider p)")) && fault.contains("it failed"),
        "{fault}"
    );
}

#[test]
fn an_answer_that_is_none_is_refused() {
    for (lines, more, want) in [
        ("echo hidden", "", "its answer is no JSON object"),
        ("echo '{\"values\":{\"x\":\"hidden\"}}'", "", "its answer is not of protocolVersion 1"),
        ("echo '{\"protocolVersion\":1,\"values\":{\"y\":\"hidden\"}}'", "", "its answer does not hold it"),
        ("echo '{\"protocolVersion\":1,\"errors\":{\"x\":{\"message\":\"not found\"}}}'", "", "not found"),
        ("echo '{\"protocolVersion\":1,\"values\":{\"x\":\"\"}}'", "", "what is there is empty"),
        ("head -c 200 /dev/zero", ", maxOutputBytes: 100", "it is longer than 100 bytes"),
        ("exit 1", "", "it failed (exit status: 1)"),
        ("sleep 30", ", timeoutMs: 200", "it takes more than 200 ms"),
        // It ends, and leaves somebody who holds its output open.
        ("sleep 30 &", ", timeoutMs: 200", "it takes more than 200 ms"),
    ] {
        let folder = Folder::new();
        let path = program(&folder, lines);
        let providers = format!("{{p: {{source: 'exec', command: '{path}'{more}}}}}");
        let fault = fetch("{source: 'exec', provider: 'p', id: 'x'}", &providers).unwrap_err();
        assert!(fault.ends_with(want) && !fault.contains("hidden"), "{lines}: {fault}");
    }
    let folder = Folder::new();
    let path = program(&folder, "echo plain");
    let providers = format!("{{p: {{source: 'exec', command: '{path}', jsonOnly: false}}}}");
    assert_eq!(fetch("{source: 'exec', provider: 'p', id: 'x'}", &providers), Ok("plain".to_owned()));
}

#[test]
fn a_program_that_somebody_else_could_have_written_is_not_run() {
    let folder = Folder::new();
    let path = program(&folder, "echo plain");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let link = link.to_str().unwrap();
    let real_folder = folder.path().to_str().unwrap();
    let with = |command: &str, more: &str| {
        let providers = format!("{{p: {{source: 'exec', jsonOnly: false, command: '{command}'{more}}}}}");
        fetch("{source: 'exec', provider: 'p', id: 'x'}", &providers)
    };
    assert!(with("resolver", "").unwrap_err().ends_with("command must be an absolute path"));
    assert!(with(link, "").unwrap_err().ends_with("allowSymlinkCommand is not set"));
    assert!(with(link, ", allowSymlinkCommand: true").is_ok());
    let elsewhere = ", allowSymlinkCommand: true, trustedDirs: ['/nonexistent']";
    assert!(with(link, elsewhere).unwrap_err().ends_with("it is in none of trustedDirs"));
    assert!(with(&path, &format!(", trustedDirs: ['{real_folder}']")).is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o722)).unwrap();
    assert!(with(&path, "").unwrap_err().ends_with("others can change it: chmod go-w it"));
    assert!(with(&path, ", allowInsecurePath: true").is_ok());
}

#[test]
fn debug_shows_neither_arguments_nor_variables() {
    let provider = "{p: {source: 'exec', command: '/bin/x', args: ['--key', 'hidden'], env: {K: 'hidden'}}}";
    let reference =
        reference("{source: 'exec', provider: 'p', id: 'x'}", provider, &Environment::default()).unwrap();
    assert!(!format!("{reference:?}").contains("hidden"));
}
