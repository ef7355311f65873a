//! Every bound of the core, by name, with its default and where that number comes from.

/// Bounds on what peers may make us hold, do or wait for. All of them are enforced; each has a test that
/// reaches it. Durations are milliseconds, sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line plus headers of one HTTP request; beyond it 431 (or 414 while still in the target).
    pub head_bytes_max: usize,
    /// Longest request target; beyond it 414.
    pub target_bytes_max: usize,
    /// Header fields in one request; beyond it 431.
    pub header_count_max: usize,
    /// Body of one HTTP request; beyond it 413.
    pub body_bytes_max: usize,
    /// A chunk-size line with its extensions; beyond it 400.
    pub chunk_line_bytes_max: usize,
    /// Time to deliver a complete request head; then 408.
    pub head_timeout_ms: u64,
    /// Time to deliver a request body once its head is complete; then 408.
    pub body_timeout_ms: u64,
    /// How long an HTTP connection may idle between requests.
    pub http_idle_timeout_ms: u64,
    /// How long a peer may take nothing of a body that is sent piece by piece; then it is cut.
    pub body_stall_timeout_ms: u64,
    /// Bytes of a file that are read, and queued, at once. The queue towards one peer holds two such pieces at most.
    pub file_piece_bytes: usize,
    /// Files that are being sent, or looked for, at once; one more is 503.
    pub files_max: usize,
    /// The same for one client; one more is 503.
    pub files_per_address_max: usize,
    /// How long a canvas address works that nobody uses. Each use begins it anew.
    pub capability_ttl_ms: u64,
    /// Pages that wait to be told when to load themselves again, in all; one more is 503.
    pub reload_sockets_max: usize,
    /// Between looks at the files of such pages. A change is told when a look finds nothing newer.
    pub reload_look_ms: u64,
    /// Looks that find something new before pages are told all the same.
    pub reload_looks_max: u32,
    /// One WebSocket message before hello-ok; beyond it 1009.
    pub preauth_message_bytes_max: usize,
    /// One WebSocket message after hello-ok; beyond it 1009. Announced as `policy.maxPayload`.
    pub message_bytes_max: usize,
    /// From the upgrade to a valid `connect`; then 1008 `handshake timeout`.
    pub handshake_timeout_ms: u64,
    /// Frames that may wait behind `connect`; one more is 1008 `too many pending handshake frames`.
    pub handshake_frames_max: usize,
    /// Bytes queued towards one peer; beyond it events are dropped or the peer is closed 1008 `slow consumer`.
    /// Announced as `policy.maxBufferedBytes`.
    pub queued_bytes_max: usize,
    /// Bytes queued towards one peer at which we stop reading its requests.
    pub queued_bytes_high: usize,
    /// Bytes queued towards one peer at which we read again.
    pub queued_bytes_low: usize,
    /// Bytes that inbound messages being assembled, outbound queues and TLS may hold in the whole process.
    pub process_bytes_max: usize,
    /// Requests of one connection that may wait for an answer; reading stops until some are answered.
    pub requests_in_flight_max: usize,
    /// Sockets between upgrade and hello-ok per client address; one more is 503.
    pub preauth_sockets_per_address_max: usize,
    /// Sockets between upgrade and hello-ok in all; one more is 503.
    pub preauth_sockets_max: usize,
    /// Accepted sockets whose request head is not complete, the first or a later one, per address; the oldest of
    /// that address is cut.
    pub headless_sockets_per_address_max: usize,
    /// Accepted sockets whose request head is not complete, in all; the oldest is cut.
    pub headless_sockets_max: usize,
    /// Sockets that end without having been admitted (refused, or given up) and that their peers have not closed yet; the
    /// oldest is cut.
    pub ending_sockets_max: usize,
    /// Open sockets in all; beyond it the driver stops accepting until one closes.
    pub sockets_max: usize,
    /// Resident memory of the process above which no WebSocket is let in any more (503), so that those who are here can
    /// stay; no bound when zero. Above it the host is asked again, at most every `memory_look_ms`.
    pub memory_bytes_max: u64,
    /// See `memory_bytes_max`.
    pub memory_look_ms: u64,
    /// Between keepalive pings on an open WebSocket.
    pub ping_interval_ms: u64,
    /// Silence after a ping that makes a peer dead. Any inbound byte counts as life.
    pub pong_timeout_ms: u64,
    /// From our close frame to cutting the TCP connection.
    pub close_timeout_ms: u64,
    /// Between `tick` events. Announced as `policy.tickIntervalMs`.
    pub tick_interval_ms: u64,
    /// Between `health` refreshes.
    pub health_interval_ms: u64,
    /// Shortest time between two broadcasts of presence, and of health.
    pub coalesce_ms: u64,
    /// Presence entries kept; the oldest go first.
    pub presence_entries_max: usize,
    /// Age at which a presence entry without an open socket is dropped.
    pub presence_ttl_ms: u64,
    /// Difference allowed between a device signature's time and ours.
    pub signature_skew_ms: u64,
    /// Life of a pending pairing request.
    pub pairing_ttl_ms: u64,
    /// Pending pairing requests kept; the oldest go first.
    pub pairing_pending_max: usize,
    /// Scopes that one pending request or one device may gather over several connects. Beyond it a pending request
    /// holds what was asked last, and a device's record stops noting covered scopes.
    pub pairing_scopes_max: usize,
    /// Life of a setup code.
    pub setup_ttl_ms: u64,
    /// Setup codes kept that nobody has used; the oldest go first. As many results are remembered.
    pub setup_codes_max: usize,
    /// Requests for more scopes whose outcome somebody waits for, and outcomes that are remembered.
    pub upgrade_waits_max: usize,
    /// Different requests for more scopes that one device may make in one window; asking again for what waits already is
    /// none. As many windows are remembered as of control-plane writes.
    pub upgrade_requests_max: u32,
    /// How long such a window lasts.
    pub upgrade_requests_window_ms: u64,
    /// Capabilities, commands and permissions of one node, each; further ones are not looked at.
    pub node_declared_max: usize,
    /// Paired devices kept; one more is refused with a hint to remove some.
    pub devices_paired_max: usize,
    /// Operations on the device store that may wait for the disk; one more is `UNAVAILABLE`.
    pub store_queue_max: usize,
    /// Requests for one thing of the host that may wait for its answer; one more is told that the server is busy.
    pub relay_waiting_max: usize,
    /// Between looks at the configuration file; never, when zero. The host may say sooner that it was changed.
    pub config_check_ms: u64,
    /// How long a changed configuration file has to stay as it is before it counts.
    pub config_settle_ms: u64,
    /// How long a set-up that nobody goes on with keeps others out.
    pub wizard_idle_ms: u64,
    /// Operations on the configuration file that may wait for the host; one more is `UNAVAILABLE`.
    pub config_queue_max: usize,
    /// A host request unanswered for this long is given up.
    pub host_timeout_ms: u64,
    /// `connect`s that may wait until the tailnet's daemon has said who they are; one more is not believed.
    pub whois_waiting_max: usize,
    /// Questions to that daemon at once.
    pub whois_in_flight_max: usize,
    /// Answers of that daemon that are remembered.
    pub whois_known_max: usize,
    /// A question to that daemon unanswered for this long is given up.
    pub whois_timeout_ms: u64,
    /// How long an answer of that daemon is good.
    pub whois_life_ms: u64,
    /// How long it is not asked again where it did not tell.
    pub whois_fault_life_ms: u64,
    /// Users that `users.list` names.
    pub users_listed_max: usize,
    /// The longest name of a user that is kept, in bytes; a longer one is let in and has no profile.
    pub user_name_bytes_max: usize,
    /// Control-plane writes that one window takes, by method, device and address.
    pub control_writes_max: u32,
    /// How long such a window lasts.
    pub control_writes_window_ms: u64,
    /// Windows that are remembered; the oldest go first.
    pub control_writes_windows_max: usize,
    /// `logs.tail` requests that may wait for the host; one more is `UNAVAILABLE`.
    pub log_tails_max: usize,
    /// `voicewake.set` and `voicewake.get` requests that may wait for the disk; one more is `UNAVAILABLE`.
    pub voicewake_queue_max: usize,
    /// Reasons for refusals that are counted one by one; further ones are counted together.
    pub counted_reasons_max: usize,
    /// Refusals that `status` tells an admin one by one: the latest.
    pub recent_refusals_max: usize,
    /// Settings waiting for a restart that `status` names, and the bytes of each name that it shows.
    pub restart_paths_max: usize,
    /// See `restart_paths_max`.
    pub restart_path_bytes_max: usize,
    /// Life of a suspension that nobody renews.
    pub suspend_lease_ms: u64,
    /// From the answer to `gateway.restart.request` to the stop.
    pub restart_delay_ms: u64,
    /// Approvals that may wait for a decision, and as many questions for an answer; one more is `UNAVAILABLE`.
    pub approvals_pending_max: usize,
    /// The same of one device, or of one connection without a device.
    pub approvals_pending_per_device_max: usize,
    /// Approvals that are remembered when they have ended, and as many questions; the oldest go first.
    pub approvals_kept_max: usize,
    /// How long they are remembered.
    pub approvals_kept_ms: u64,
    /// Bytes that approvals may hold, and as many that questions may: the oldest that ended go first, and one that does
    /// not fit beside those that wait is `UNAVAILABLE`.
    pub approvals_bytes_max: usize,
    /// How long an approval waits for a decision when its asker does not say.
    pub approval_timeout_ms: u64,
    /// How long a question waits for an answer when its asker does not say.
    pub question_timeout_ms: u64,
    /// The longest that either waits, whatever its asker says.
    pub approval_timeout_max_ms: u64,
    /// From the end of an approval to the last moment at which its command may start.
    pub approval_usable_ms: u64,
    /// Answers to approvals, and as many to questions, that one connection may wait for; one more is `UNAVAILABLE`. Far
    /// fewer than requests in flight, or a connection could wait for what it is about to decide itself.
    pub approval_waits_per_peer_max: usize,
    /// Operations on the file of exec approvals that may wait for the disk; one more is `UNAVAILABLE`.
    pub exec_approvals_queue_max: usize,
    /// Nodes of which is remembered that one connection took the place of another; the oldest go first.
    pub node_rivals_max: usize,
    /// How often in a row that may happen before the one that is here stays for a while.
    pub node_replaced_free_max: u32,
    /// How long it then stays; twice as long each time.
    pub node_replaced_hold_ms: u64,
    /// The longest that it stays.
    pub node_replaced_hold_max_ms: u64,
    /// How long after that it is remembered.
    pub node_replaced_window_ms: u64,
    /// Chats that one node may follow.
    pub node_chats_max: usize,
    /// Between two times that everybody is told how busy a node is.
    pub node_stats_interval_ms: u64,
    /// Nodes for which something may wait until they fetch it; those for which nothing came for the longest time go first.
    pub pending_nodes_max: usize,
    /// Commands that may wait for one of them; the oldest go first.
    pub pending_actions_max: usize,
    /// How long they wait.
    pub pending_action_life_ms: u64,
    /// Bytes that they may hold, for all nodes; one that does not fit is refused as the node refused it.
    pub pending_bytes_max: usize,
    /// How long work waits for a node when nobody says.
    pub pending_work_life_ms: u64,
    /// One message to a node; a command that makes a larger one is refused to its caller and never sent. A node may be a
    /// microcontroller.
    pub node_message_bytes_max: usize,
    /// Bytes queued towards one node at which no further command is sent to it.
    pub node_queued_bytes_max: usize,
    /// Commands in flight to all nodes; one more is `UNAVAILABLE`.
    pub invokes_max: usize,
    /// The same to one node.
    pub invokes_per_node_max: usize,
    /// The same of one device, or of one connection without a device.
    pub invokes_per_caller_max: usize,
    /// Bytes that commands in flight may hold, for the case that a node must be asked again; one that does not fit is
    /// `UNAVAILABLE`.
    pub invokes_bytes_max: usize,
    /// How long a node has for its answer when the caller does not say.
    pub invoke_timeout_ms: u64,
    /// The longest that it has, whatever the caller says.
    pub invoke_timeout_max_ms: u64,
    /// How often a node that says that it is not ready is asked again.
    pub invoke_retries_max: u32,
    /// From such an answer to the next try; twice as long each time.
    pub invoke_retry_delay_ms: u64,
    /// Wrong-role answers in a row; one more closes 1008 `repeated unauthorized calls`.
    pub unauthorized_in_a_row_max: u32,
    /// Entries in the idempotency cache.
    pub replies_entries_max: usize,
    /// Bytes in the idempotency cache.
    pub replies_bytes_max: usize,
    /// Life of an idempotency entry.
    pub replies_ttl_ms: u64,
    /// Longest drain at shutdown before the remaining sockets are cut.
    pub drain_timeout_ms: u64,
    /// Consumed bytes a connection may hold back before it reports them.
    pub drained_report_bytes: usize,
}

/// One configuration file, and the text of `config.set`, `config.patch` and `config.apply`.
pub const CONFIG_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a connection with TLS holds as long as it is there, beside what one in the clear does: keys, the state of its
/// handshake and a buffer of 4 KiB (measured with rustls 0.23). It counts in [`Limits::process_bytes_max`], where no
/// connection is let in that does not fit. What is read beyond that buffer counts there too, for as long as it is held: one
/// record and its plaintext (RFC 8446 section 5.2), about 34 KiB, or a handshake message of 64 KiB.
pub const TLS_CONNECTION_BYTES: usize = 8 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            target_bytes_max: 8 * 1024,
            header_count_max: 64,
            body_bytes_max: 64 * 1024,
            chunk_line_bytes_max: 256,
            head_timeout_ms: 10_000,
            body_timeout_ms: 15_000,
            http_idle_timeout_ms: 5_000,
            body_stall_timeout_ms: 30_000,
            file_piece_bytes: 64 * 1024,
            files_max: 64,
            files_per_address_max: 32,
            capability_ttl_ms: 600_000,
            reload_sockets_max: 1_024,
            reload_look_ms: 150,
            reload_looks_max: 10,
            preauth_message_bytes_max: 64 * 1024,
            message_bytes_max: 25 * 1024 * 1024,
            handshake_timeout_ms: 15_000,
            handshake_frames_max: 15,
            queued_bytes_max: 50 * 1024 * 1024,
            queued_bytes_high: 1024 * 1024,
            queued_bytes_low: 256 * 1024,
            process_bytes_max: 256 * 1024 * 1024,
            requests_in_flight_max: 256,
            preauth_sockets_per_address_max: 32,
            preauth_sockets_max: 2_048,
            headless_sockets_per_address_max: 64,
            headless_sockets_max: 2_048,
            ending_sockets_max: 256,
            sockets_max: 8_192,
            memory_bytes_max: 0,
            memory_look_ms: 250,
            ping_interval_ms: 25_000,
            pong_timeout_ms: 25_000,
            close_timeout_ms: 2_000,
            tick_interval_ms: 30_000,
            health_interval_ms: 60_000,
            coalesce_ms: 50,
            presence_entries_max: 200,
            presence_ttl_ms: 300_000,
            signature_skew_ms: 120_000,
            pairing_ttl_ms: 300_000,
            pairing_pending_max: 256,
            pairing_scopes_max: 64,
            setup_ttl_ms: 600_000,
            setup_codes_max: 64,
            upgrade_waits_max: 256,
            upgrade_requests_max: 5,
            upgrade_requests_window_ms: 300_000,
            node_declared_max: 128,
            devices_paired_max: 4_096,
            store_queue_max: 4_096,
            relay_waiting_max: 4_096,
            config_check_ms: 0,
            config_settle_ms: 200,
            config_queue_max: 16,
            wizard_idle_ms: 600_000,
            host_timeout_ms: 10_000,
            whois_waiting_max: 64,
            whois_in_flight_max: 1,
            whois_known_max: 256,
            whois_timeout_ms: 6_000,
            whois_life_ms: 60_000,
            whois_fault_life_ms: 5_000,
            users_listed_max: 256,
            user_name_bytes_max: 512,
            control_writes_max: 30,
            control_writes_window_ms: 60_000,
            control_writes_windows_max: 1_024,
            log_tails_max: 8,
            voicewake_queue_max: 64,
            counted_reasons_max: 48,
            recent_refusals_max: 50,
            restart_paths_max: 32,
            restart_path_bytes_max: 128,
            suspend_lease_ms: 120_000,
            restart_delay_ms: 500,
            approvals_pending_max: 256,
            approvals_pending_per_device_max: 64,
            approvals_kept_max: 256,
            approvals_kept_ms: 30 * 24 * 60 * 60 * 1_000,
            approvals_bytes_max: 2 * 1024 * 1024,
            approval_timeout_ms: 120_000,
            question_timeout_ms: 600_000,
            approval_timeout_max_ms: 24 * 60 * 60 * 1_000,
            approval_usable_ms: 15_000,
            approval_waits_per_peer_max: 64,
            exec_approvals_queue_max: 16,
            node_rivals_max: 256,
            node_replaced_free_max: 3,
            node_replaced_hold_ms: 30_000,
            node_replaced_hold_max_ms: 600_000,
            node_replaced_window_ms: 60_000,
            node_chats_max: 64,
            node_stats_interval_ms: 1_000,
            pending_nodes_max: 256,
            pending_actions_max: 64,
            pending_action_life_ms: 600_000,
            pending_bytes_max: 4 * 1024 * 1024,
            pending_work_life_ms: 24 * 60 * 60 * 1_000,
            node_message_bytes_max: 1024 * 1024,
            node_queued_bytes_max: 4 * 1024 * 1024,
            invokes_max: 1_024,
            invokes_per_node_max: 64,
            invokes_per_caller_max: 64,
            invokes_bytes_max: 16 * 1024 * 1024,
            invoke_timeout_ms: 30_000,
            invoke_timeout_max_ms: 24 * 60 * 60 * 1_000,
            invoke_retries_max: 4,
            invoke_retry_delay_ms: 250,
            unauthorized_in_a_row_max: 10,
            replies_entries_max: 1_000,
            replies_bytes_max: 4 * 1024 * 1024,
            replies_ttl_ms: 300_000,
            drain_timeout_ms: 4_000,
            drained_report_bytes: 16 * 1024,
        }
    }
}
