//! Scenarios beyond the recorded cases. Each is written once and plays in memory, in memory with every message cut
//! into crumbs, and on both drivers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod admission;
mod approvals;
mod bench;
mod canvas;
mod config;
mod control_ui;
mod devices;
mod ends;
mod events;
mod handshake;
mod invoke;
mod metrics;
mod node_events;
mod pairing;
mod questions;
mod rivals;
mod routes;
mod runs;
mod setup;
mod store;
mod system;
mod tls;
mod tls_budget;
mod wizard;

use clawgate_proto::client::{ClientConfig, ClientEvent, DeviceKey, Hello};
use clawgate_support::client::Refusal;
use clawgate_support::{Actor, Stage};
use serde_json::Value;

/// One test in each place for each scenario of a module.
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
        mod by_tls_in_crumbs {
            $(mod $module { $(#[test] fn $scenario() {
                crate::$module::$scenario(clawgate_support::Place::SealedCrumbled);
            })* })*
        }
    };
}

/// The same by TLS on the drivers, for those that move most bytes, end in most ways, or wait longest: what a message means is
/// the same above it, and all of them play by TLS in memory.
macro_rules! play_by_tls {
    ($($module:ident: $($scenario:ident)*;)*) => {
        mod by_tls_on_std {
            $(mod $module { $(#[test] fn $scenario() {
                crate::$module::$scenario(clawgate_support::Place::SealedStd);
            })* })*
        }
        mod by_tls_on_smol {
            $(mod $module { $(#[test] fn $scenario() {
                crate::$module::$scenario(clawgate_support::Place::SealedSmol);
            })* })*
        }
    };
}

play! {
    pairing:
        a_new_device_is_paired_silently_and_comes_back_with_its_token
        a_changed_platform_asks_again
        who_only_says_that_it_is_an_app_asks_for_another_platform
        an_operator_approves_what_another_asked_for
        an_operator_rejects_what_another_asked_for
        a_command_line_without_a_device_keeps_its_scopes
        new_nodes_of_a_named_network_are_paired_without_a_person
        programs_of_this_machine_wait_where_their_owner_says_so;
    devices:
        a_removed_device_loses_its_sockets_and_its_token
        a_removed_device_asks_for_nothing_any_more
        a_rotated_token_closes_its_sockets
        a_revoked_token_closes_its_sockets;
    access:
        a_node_may_not_call_what_is_for_operators
        an_unknown_method_is_an_admins_business
        wrong_role_calls_are_borne_ten_times
        a_foreign_page_is_refused_in_every_mode
        the_gateways_own_page_pairs_silently_with_the_secret_only
        a_page_of_another_local_server_asks
        a_command_line_with_an_origin_asks;
    approvals:
        a_command_is_approved_in_two_phases
        only_who_may_decide_is_asked_and_finds_anything
        a_reviewer_is_named_by_its_device
        what_reaches_nobody_ends_at_once_at_protocol_4
        nobody_allows_what_it_asked_for_itself
        what_nobody_decides_ends_at_its_deadline
        of_two_who_decide_the_first_counts
        an_asker_that_comes_back_hears_the_decision
        as_much_of_an_id_as_is_needed_is_enough
        what_is_asked_must_say_what_runs
        who_decides_reads_the_program_that_runs
        a_plugin_asks_as_well
        what_was_decided_is_remembered
        only_so_many_ask_and_wait
        the_file_is_changed_on_top_of_what_was_read
        a_failed_write_leaves_the_file_as_it_is
        only_so_many_changes_of_the_file_wait
        a_stop_waits_for_no_decision;
    questions:
        a_question_is_answered_once
        a_question_ends_unanswered_or_cancelled
        secret_answers_are_for_the_asker
        only_who_answers_questions_is_asked
        a_question_that_cannot_be_kept_is_not_taken;
    admission:
        a_proxys_user_is_let_in_and_its_page_keeps_its_scopes
        a_proxy_narrows_what_its_user_may_do
        a_local_program_is_not_the_proxy
        a_tailnet_identity_counts_when_the_daemon_agrees
        who_is_vouched_for_is_somebody_while_here
        guesses_beside_a_tailnet_identity_are_counted
        guesses_while_the_store_fails_are_counted
        a_bearer_that_is_locked_out_is_told_for_how_long
        a_tailnet_identity_is_nothing_where_it_is_not_wanted
        a_daemon_that_is_silent_lets_nobody_in
        only_so_many_wait_for_the_daemon
        a_refused_page_is_told_what_to_list
        what_host_says_makes_no_page_ours_unless_the_owner_says_so
        two_secrets_in_one_connect_are_two_guesses
        behind_an_untrusted_proxy_guesses_are_counted;
    canvas:
        files_are_served_with_their_types_and_in_a_sandbox
        what_is_not_there_is_said_so
        copies_and_parts_are_known
        a_large_file_comes_in_pieces
        a_node_gets_an_address_when_its_canvas_is_approved
        operators_see_the_canvas_in_their_own_protocol
        who_may_have_a_file
        an_address_that_nobody_uses_expires
        an_address_dies_with_the_right_to_it
        guesses_at_the_canvas_are_counted
        without_a_secret_only_this_machine_sees_the_canvas
        a_page_is_told_when_a_file_has_changed
        only_pages_of_the_canvas_listen;
    routes:
        every_route_with_every_credential;
    control_ui:
        a_page_has_many_addresses_and_its_parts_lie_beside_it
        scripts_that_stand_in_the_page_may_run_and_no_others
        a_page_below_a_path_leaves_the_rest_alone
        what_a_page_is_told_first_is_for_who_may_know
        where_no_control_ui_is_installed_there_is_the_control_page;
    config:
        the_configuration_is_shown_without_its_secrets
        a_change_names_what_it_was_made_from_and_is_durable
        a_refused_change_says_why_and_changes_nothing
        the_schema_is_shown_whole_and_by_path
        only_admins_change_and_only_readers_read
        a_changed_secret_closes_who_came_in_with_the_old_one
        a_connect_on_its_way_does_not_outlive_the_secret_it_showed
        secrets_are_fetched_again_on_demand
        a_file_that_somebody_else_changed_is_noticed
        a_touched_file_counts_when_it_has_come_to_rest
        a_file_of_no_use_is_told_in_the_status_until_it_is_mended
        what_needs_a_restart_restarts_the_gateway
        a_restart_that_cannot_be_leaves_everything_as_it_is
        bounds_follow_the_file
        what_waits_for_a_restart_is_in_the_status
        whether_the_file_comes_into_force_by_itself_is_in_the_health_snapshot
        too_many_operations_at_once_are_refused;
    invoke:
        a_command_is_carried_out
        a_node_says_no
        only_what_is_offered_approved_and_allowed_is_asked_for
        what_a_node_offers_later_is_not_asked_for_before_it_is_approved
        the_configuration_allows_and_forbids
        a_node_that_is_away_or_not_approved_is_not_asked
        a_command_has_its_time
        a_node_that_leaves_is_answered_for_at_once
        a_caller_that_leaves_wants_nothing_more
        only_the_node_that_was_asked_answers
        a_node_that_is_not_ready_is_asked_again
        what_is_too_large_for_a_node_is_never_sent
        only_so_many_commands_are_in_flight
        a_node_that_does_not_read_is_sent_no_more
        the_exec_approvals_of_a_node_are_read_and_changed
        a_drain_waits_for_commands;
    node_events:
        what_a_node_tells_is_noted_or_said_not_to_be
        what_a_node_has_is_shown_as_far_as_it_was_approved
        work_waits_for_a_node_until_its_end
        a_phone_in_the_background_fetches_its_commands
        there_is_no_canvas_and_that_is_said;
    rivals:
        the_latest_connection_of_a_node_is_the_node
        two_machines_with_one_identity_do_not_go_on_for_ever
        an_operator_of_the_same_device_is_no_rival;
    runs:
        a_program_that_was_allowed_runs_once
        an_allowance_is_good_for_a_moment
        what_a_caller_says_allows_nothing
        every_fault_of_a_claim_has_its_word
        who_asked_without_a_device_is_its_connection
        what_nobody_decided_never_runs
        the_text_of_a_program_is_its_own
        what_cannot_be_sent_uses_up_nothing;
    handshake:
        an_address_gets_32_sockets_before_hello
        frames_behind_connect_are_answered_after_hello
        sixteen_frames_behind_connect_are_too_many
        a_message_before_hello_may_have_64_kib
        nobody_reads_a_message_of_more_before_hello;
    ends:
        what_was_said_before_the_end_is_done;
    events:
        the_numbers_have_no_gap
        who_may_not_read_hears_nothing_of_presence
        each_protocol_sees_the_other_in_its_own_shape
        status_tells_what_has_changed
        a_stop_is_told_and_closes_everybody;
    setup:
        a_setup_code_lets_one_phone_in_once
        the_owners_link_lets_one_browser_in_once
        a_code_that_a_person_must_confirm_waits_for_its_device
        guesses_at_codes_are_counted_apart
        a_code_is_over_in_ten_minutes
        a_code_ends_with_the_secret_by_which_it_was_made
        only_admins_make_codes_and_only_where_there_is_an_address
        a_device_waits_for_more_scopes
        a_wait_for_more_scopes_ends
        a_device_asks_for_more_only_so_often
        a_minute_of_retries_is_one_request_and_one_event
        a_device_has_the_name_that_a_person_gave_it
        what_a_node_offers_is_approved_before_it_counts
        a_node_of_protocol_3_is_asked_about_once;
    store:
        a_failed_write_keeps_a_new_device_out
        a_failed_write_leaves_a_removal_undone
        a_failed_write_leaves_the_token_in_force
        what_somebody_else_wrote_is_merged;
    system:
        the_end_of_the_log_is_read_on_with_a_cursor
        only_so_many_read_the_log_at_once
        only_so_many_ask_for_wake_words_at_once
        wake_words_are_durable_before_they_are_answered_and_told
        a_failed_write_leaves_the_wake_words_as_they_are
        talk_needs_somebody_to_talk_through
        waking_leaves_a_line_for_the_agent
        refusals_are_counted_by_reason
        a_suspended_gateway_takes_no_work_until_it_is_resumed
        a_suspension_that_nobody_renews_ends
        a_drain_waits_for_work_in_progress
        a_restart_is_told_with_the_time_it_takes
        where_things_are_on_this_machine_is_told_to_readers_only
        an_idle_hour_says_nothing_that_is_kept
        nodes_hear_their_words_right_behind_hello;
    wizard:
        a_set_up_asks_and_writes_once
        a_set_up_that_is_cancelled_or_overtaken_writes_nothing;
    metrics:
        the_numbers_are_those_of_what_has_happened
        nobody_makes_the_page_longer_than_it_may_be
        without_the_setting_there_is_no_such_page
        above_the_memory_ceiling_nobody_new_comes_in_and_who_is_here_stays;
}

play_by_tls! {
    canvas:
        files_are_served_with_their_types_and_in_a_sandbox
        what_is_not_there_is_said_so
        copies_and_parts_are_known
        a_large_file_comes_in_pieces
        a_node_gets_an_address_when_its_canvas_is_approved
        operators_see_the_canvas_in_their_own_protocol
        who_may_have_a_file
        an_address_that_nobody_uses_expires
        an_address_dies_with_the_right_to_it
        guesses_at_the_canvas_are_counted
        without_a_secret_only_this_machine_sees_the_canvas
        a_page_is_told_when_a_file_has_changed
        only_pages_of_the_canvas_listen;
    handshake:
        an_address_gets_32_sockets_before_hello
        frames_behind_connect_are_answered_after_hello
        sixteen_frames_behind_connect_are_too_many
        a_message_before_hello_may_have_64_kib
        nobody_reads_a_message_of_more_before_hello;
    ends:
        what_was_said_before_the_end_is_done;
    events:
        the_numbers_have_no_gap
        who_may_not_read_hears_nothing_of_presence
        each_protocol_sees_the_other_in_its_own_shape
        status_tells_what_has_changed
        a_stop_is_told_and_closes_everybody;
    devices:
        a_removed_device_loses_its_sockets_and_its_token
        a_removed_device_asks_for_nothing_any_more
        a_rotated_token_closes_its_sockets
        a_revoked_token_closes_its_sockets;
    store:
        a_failed_write_keeps_a_new_device_out
        a_failed_write_leaves_a_removal_undone
        a_failed_write_leaves_the_token_in_force
        what_somebody_else_wrote_is_merged;
    rivals:
        the_latest_connection_of_a_node_is_the_node
        two_machines_with_one_identity_do_not_go_on_for_ever
        an_operator_of_the_same_device_is_no_rival;
    invoke:
        a_command_is_carried_out
        a_node_that_leaves_is_answered_for_at_once
        a_node_that_does_not_read_is_sent_no_more
        what_is_too_large_for_a_node_is_never_sent;
}

/// Both protocols.
const PROTOCOLS: [u64; 2] = [3, 4];

const ADMIN: &str = "operator.admin";

/// Speaks this protocol only.
fn speaking(protocol: u64, config: ClientConfig) -> ClientConfig {
    ClientConfig { min_protocol: protocol, max_protocol: protocol, ..config }
}

/// Asks for these scopes.
fn asking(scopes: &[&str], config: ClientConfig) -> ClientConfig {
    ClientConfig { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(), ..config }
}

/// Shows its device token instead of the shared one.
fn with_token(token: &str, mut config: ClientConfig) -> ClientConfig {
    config.auth.token = None;
    config.auth.device_token = Some(token.to_owned());
    config
}

/// Comes through a proxy that nobody trusts: remote, so that pairing needs a person.
fn from_afar(mut config: ClientConfig) -> ClientConfig {
    config.headers.push(("X-Forwarded-For".to_owned(), "203.0.113.7".to_owned()));
    config
}

/// An operator with every scope, on a new device.
fn admin(stage: &mut Stage, protocol: u64) -> Actor {
    let key = stage.key();
    let config = speaking(protocol, stage.client(Some(key)));
    stage.admit(asking(&[ADMIN], config)).0
}

/// A client on this device, admitted with the shared secret.
fn device(stage: &mut Stage, protocol: u64, key: &DeviceKey) -> (Actor, Hello) {
    let config = speaking(protocol, stage.client(Some(key.clone())));
    stage.admit(config)
}

/// Must not be let in.
fn refused(stage: &mut Stage, config: ClientConfig) -> Refusal {
    match stage.try_admit(config) {
        Ok(_) => panic!("admitted"),
        Err(refusal) => *refusal,
    }
}

/// `details.requestId` of a refusal.
fn request_id(refusal: &Refusal) -> String {
    refusal.error.as_ref().unwrap().detail("requestId").unwrap().to_owned()
}

/// Ids in a list of devices.
fn device_ids<'a>(list: &'a Value, part: &str) -> Vec<&'a str> {
    list[part].as_array().unwrap().iter().map(|row| row["deviceId"].as_str().unwrap()).collect()
}

/// Names of the events among these.
fn event_names(events: &[ClientEvent]) -> Vec<&str> {
    let named = events.iter().filter(|event| matches!(event, ClientEvent::Event(_)));
    named.map(|event| if let ClientEvent::Event(event) = event { event.name.as_str() } else { "" }).collect()
}
