//! The published attacks on gateways of this kind, played against this one: each is an ordinary scenario, on the wire,
//! in memory, in crumbs and on both drivers, and each has an honest twin that must succeed, so that a gateway which
//! refuses everything does not pass. `advisories.tsv` is the list; `mutations/` takes each guard out again, and
//! `.ci/mutate` shows that the test then fails.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod addresses;
mod authority;
mod canvas;
mod codes;
mod command_line;
mod credentials;
mod door;
mod pages;
mod proxies;
mod secrets;
mod table;

use clawgate_proto::client::{ClientConfig, ClientEvent, Hello};
use clawgate_support::client::Refusal;
use clawgate_support::stage::ANSWER_MS;
use clawgate_support::{Actor, Stage};
use serde_json::json;
use std::net::Ipv4Addr;

/// One test in each place for each scenario of a module, and the list of their names.
macro_rules! play {
    ($($module:ident: $($scenario:ident)*;)*) => {
        mod in_memory {
            $(mod $module { $(#[test] fn $scenario() {
                crate::$module::$scenario(clawgate_support::Place::Simulated);
            })* })*
        }
        mod in_crumbs {
            $(mod $module { $(#[test] fn $scenario() {
                crate::$module::$scenario(clawgate_support::Place::Crumbled);
            })* })*
        }
        mod on_std {
            $(mod $module { $(#[test] fn $scenario() {
                crate::$module::$scenario(clawgate_support::Place::Std);
            })* })*
        }
        mod on_smol {
            $(mod $module { $(#[test] fn $scenario() {
                crate::$module::$scenario(clawgate_support::Place::Smol);
            })* })*
        }
        /// Every scenario, as `module::name`.
        const PLAYED: &[&str] = &[$($(concat!(stringify!($module), "::", stringify!($scenario)),)*)*];
    };
}

play! {
    door:
        nothing_is_done_before_hello
        sockets_before_hello_are_counted
        who_never_says_hello_is_sent_away
        a_head_of_many_fields_is_refused
        a_body_is_bounded_before_anything_is_known
        a_path_has_one_spelling
        what_no_table_names_is_an_admins_business;
    canvas:
        nobody_from_elsewhere_sees_it
        an_address_shared_with_a_node_opens_nothing
        an_address_ends_with_its_connection
        a_path_leads_to_one_file;
    credentials:
        a_secret_that_is_only_present_replaces_no_device
        the_shared_secret_grants_no_scope_that_is_only_asked_for
        what_a_client_says_it_is_proves_nothing
        a_bogus_device_token_does_not_hide_a_wrong_password
        a_rotated_secret_counts_from_the_next_request
        a_rotated_token_is_shown_to_its_own_device_only;
    pages:
        a_page_cannot_guess_the_password_from_loopback
        only_our_own_page_is_paired_silently
        the_control_page_reaches_its_own_gateway_only
        a_foreign_page_comes_in_in_no_mode;
    proxies:
        a_program_of_this_host_is_not_the_proxy
        a_header_gives_nobody_scopes;
    addresses:
        one_address_has_one_counter_however_it_is_spelt
        hops_that_a_client_invented_make_it_neither_local_nor_new
        an_address_shared_with_somebody_who_is_in_opens_nothing
        a_trusted_hop_that_names_nobody_is_not_the_client
        a_name_that_begins_like_loopback_is_not_loopback;
    codes:
        a_setup_code_holds_nothing_that_lasts
        a_setup_code_is_for_the_first_device_that_shows_it
        a_setup_code_opens_what_it_was_made_for;
    authority:
        who_rotates_a_token_gives_no_more_than_they_have
        who_approves_a_device_gives_no_more_than_they_have
        who_is_revoked_is_gone_at_once;
}

/// Both protocols.
const PROTOCOLS: [u64; 2] = [3, 4];

const ADMIN: &str = "operator.admin";

/// Where a trusted proxy sits: another address of loopback than that of those who come directly.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Speaks this protocol only.
fn speaking(protocol: u64, config: ClientConfig) -> ClientConfig {
    ClientConfig { min_protocol: protocol, max_protocol: protocol, ..config }
}

/// Asks for these scopes.
fn asking(scopes: &[&str], config: ClientConfig) -> ClientConfig {
    ClientConfig { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(), ..config }
}

/// Shows this as the shared token.
fn with_shared(token: &str, mut config: ClientConfig) -> ClientConfig {
    config.auth.token = Some(token.to_owned());
    config
}

/// Shows this as the shared password, and no token.
fn with_password(password: &str, mut config: ClientConfig) -> ClientConfig {
    config.auth.token = None;
    config.auth.password = Some(password.to_owned());
    config
}

/// Shows its device token instead of the shared one.
fn with_device_token(token: &str, mut config: ClientConfig) -> ClientConfig {
    config.auth.token = None;
    config.auth.device_token = Some(token.to_owned());
    config
}

/// Carries this chain of hops.
fn forwarded(chain: &str, mut config: ClientConfig) -> ClientConfig {
    config.headers.push(("X-Forwarded-For".to_owned(), chain.to_owned()));
    config
}

/// An operator with these scopes, on a new device of this host.
fn operator(stage: &mut Stage, protocol: u64, scopes: &[&str]) -> Actor {
    let key = stage.key();
    let config = speaking(protocol, stage.client(Some(key)));
    stage.admit(asking(scopes, config)).0
}

/// Connects from this address.
fn knock(stage: &mut Stage, from: Ipv4Addr, config: ClientConfig) -> Result<(Actor, Hello), Box<Refusal>> {
    let actor = stage.open_from(from, config);
    stage.admission(actor).map(|hello| (actor, hello))
}

/// Must not be let in from there.
fn turned_away(stage: &mut Stage, from: Ipv4Addr, config: ClientConfig) -> Refusal {
    match knock(stage, from, config) {
        Ok(_) => panic!("admitted"),
        Err(refusal) => *refusal,
    }
}

/// Must not be let in.
fn refused(stage: &mut Stage, config: ClientConfig) -> Refusal {
    turned_away(stage, Ipv4Addr::LOCALHOST, config)
}

/// `details.requestId` of a refusal.
fn request_id(refusal: &Refusal) -> String {
    refusal.error.as_ref().unwrap().detail("requestId").unwrap().to_owned()
}

/// Upgraded from there, and silent from then on; or the status that it got instead.
fn silent(stage: &mut Stage, from: Ipv4Addr) -> Result<Actor, u16> {
    let config = ClientConfig { answers_challenge: false, ..stage.client(None) };
    let actor = stage.open_from(from, config);
    match stage.next(actor, ANSWER_MS) {
        Some(ClientEvent::Challenge { .. }) => Ok(actor),
        Some(ClientEvent::HttpRefused { status, .. }) => Err(status),
        other => panic!("neither challenge nor refusal: {other:?}"),
    }
}

/// Asserts that a session may do nothing that needs a scope.
fn assert_powerless(stage: &mut Stage, actor: Actor) {
    for (method, missing) in [("status", "operator.read"), ("device.pair.list", "operator.pairing")] {
        let error = stage.call(actor, method, json!({})).unwrap_err();
        assert_eq!(error.message, format!("missing scope: {missing}"));
    }
    assert!(stage.call(actor, "health", json!({})).is_ok());
}

/// A plain request over a socket of its own: the status and everything that came.
fn http(stage: &mut Stage, from: Ipv4Addr, request: &str) -> (u16, String) {
    let answer = String::from_utf8(stage.exchange_from(from, request.as_bytes(), ANSWER_MS)).unwrap();
    let status = answer.get(9..12).and_then(|text| text.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer but {answer:?}")), answer)
}

/// `GET path` with these further fields, as the last request of its socket.
fn get(path: &str, fields: &str) -> String {
    let host = if fields.contains("Host: ") { "" } else { "Host: 127.0.0.1\r\n" };
    format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n{fields}\r\n")
}
