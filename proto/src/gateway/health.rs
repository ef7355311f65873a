//! The health snapshot: what this gateway is and how late it runs (spec: methods section 3).
//!
//! Everything in it is measured or configured here. What a network gateway does not have is an empty list.

use crate::config::Config;
use crate::dialect::{self, Dialect};
use crate::host::Load;
use crate::scope::{self, Scopes};
use crate::time::{Mono, Now};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// The snapshot and what it is made from.
#[derive(Debug)]
pub(crate) struct Health {
    config: Arc<Config>,
    /// Counts every refresh.
    pub(crate) version: u64,
    /// `set-heartbeats`.
    pub(crate) heartbeats: bool,
    /// Whether a changed configuration file comes into force by itself, as far as it can.
    pub(super) hot_reload: bool,
    /// For everybody, and for who may know where things are on this machine.
    encoded: [[Bytes; 2]; 2],
    refreshed: Mono,
    lateness: VecDeque<u64>,
    load: Option<(Mono, Load)>,
    /// What it told last; the first entry above is only the start.
    latest: Option<Load>,
    event_loop: Option<EventLoop>,
    cpu_ratio: Option<f64>,
}

/// The facts behind one snapshot; `dialect.rs` gives them their shape.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Unix milliseconds.
    pub(crate) ts: u64,
    /// Whether heartbeats are wanted.
    pub(crate) heartbeats: bool,
    /// Whether a changed configuration file comes into force by itself, as far as it can.
    pub(crate) hot_reload: bool,
    /// Where sessions would be; `None` for who may not know where things are on this machine.
    pub(crate) sessions_path: Option<String>,
    /// How late it runs; absent until the host told its load.
    pub(crate) event_loop: Option<EventLoop>,
}

/// How late timers ran, and how busy the process was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventLoop {
    /// Since the previous snapshot.
    pub(crate) interval_ms: u64,
    /// 99th percentile of timer lateness.
    pub(crate) delay_p99_ms: u64,
    /// Worst timer lateness.
    pub(crate) delay_max_ms: u64,
    /// Processor time used per time passed.
    pub(crate) cpu_ratio: f64,
}

impl Health {
    pub(crate) fn new(config: Arc<Config>, now: Now) -> Self {
        let empty = Bytes::from_static(b"{}");
        let mut health = Self {
            config,
            version: 1,
            heartbeats: true,
            hot_reload: false,
            encoded: [[empty.clone(), empty.clone()], [empty.clone(), empty]],
            refreshed: now.mono,
            lateness: VecDeque::new(),
            // The process starts with the driver's clock, having used no time.
            load: Some((Mono::default(), Load::default())),
            latest: None,
            event_loop: None,
            cpu_ratio: None,
        };
        health.encode(now);
        health
    }

    /// A timer ran this late.
    pub(crate) fn late(&mut self, micros: u64) {
        if self.lateness.len() == SAMPLES_MAX {
            self.lateness.pop_front();
        }
        self.lateness.push_back(micros);
    }

    /// The host told its load.
    pub(crate) fn loaded(&mut self, now: Now, load: Load) {
        if let Some((at, before)) = self.load {
            let cpu_ms = load.cpu_ms.saturating_sub(before.cpu_ms);
            self.cpu_ratio = Some(ratio(cpu_ms, now.mono.millis_since(at)));
        }
        self.load = Some((now.mono, load));
        self.latest = Some(load);
    }

    /// The host told it between two snapshots.
    pub(super) fn measured(&mut self, load: Load) {
        self.latest = Some(load);
    }

    /// Makes a new snapshot.
    pub(crate) fn refresh(&mut self, now: Now) {
        self.version += 1;
        self.encode(now);
        self.refreshed = now.mono;
    }

    /// What this process used when the host last told.
    pub(super) fn load(&self) -> Option<&Load> {
        self.latest.as_ref()
    }

    /// How late it runs, as of the latest snapshot.
    pub(super) fn event_loop(&self) -> Option<EventLoop> {
        self.event_loop
    }

    /// Whether who holds these scopes is told in the snapshot where things are on this machine: who may read is, as the
    /// reference's command line asks for no more than that. Nodes and operators without scopes are not.
    pub(crate) fn shows_paths(scopes: &Scopes) -> bool {
        scopes.satisfies(scope::READ)
    }

    /// The latest snapshot, encoded, with or without paths of this machine.
    pub(crate) fn encoded(&self, dialect: Dialect, paths: bool) -> Bytes {
        self.encoded[usize::from(paths)][dialect.index()].clone()
    }

    fn encode(&mut self, now: Now) {
        let mut sorted: Vec<u64> = self.lateness.iter().copied().collect();
        sorted.sort_unstable();
        let p99 = sorted.get(sorted.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0);
        let mut snapshot = Snapshot {
            ts: now.wall.0,
            heartbeats: self.heartbeats,
            hot_reload: self.hot_reload,
            sessions_path: None,
            event_loop: self.cpu_ratio.map(|cpu_ratio| EventLoop {
                interval_ms: now.mono.millis_since(self.refreshed),
                delay_p99_ms: p99 / 1_000,
                delay_max_ms: sorted.last().copied().unwrap_or(0) / 1_000,
                cpu_ratio,
            }),
        };
        self.event_loop = snapshot.event_loop;
        let path = format!("{}/agents/main/sessions/sessions.json", self.config.about.state_dir);
        self.encoded = [None, Some(path)].map(|sessions_path| {
            snapshot.sessions_path = sessions_path;
            [Dialect::V3, Dialect::V4].map(|dialect| dialect::health(dialect, &snapshot))
        });
    }
}

/// Processor time per time passed, with three decimals: as precise as the clocks behind it.
fn ratio(cpu_ms: u64, wall_ms: u64) -> f64 {
    (cpu_ms as f64 * 1_000.0 / wall_ms.max(LOAD_WINDOW_MS_MIN) as f64).round() / 1_000.0
}

/// Timer wake-ups whose lateness is remembered.
const SAMPLES_MAX: usize = 256;
/// A shorter window counts as this: the first load is told within milliseconds of the clock's start, and the time
/// that starting the process took before that would read as many processors at work.
const LOAD_WINDOW_MS_MIN: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_the_time_that_passed_and_starting_is_no_load() {
        assert_eq!(ratio(30_000, 60_000), 0.5);
        assert_eq!(ratio(120_000, 60_000), 2.0);
        assert_eq!(ratio(14, 1), 0.014);
        assert_eq!(ratio(0, 0), 0.0);
    }
}
