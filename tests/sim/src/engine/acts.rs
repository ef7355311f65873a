//! The acts of a plan, carried out.

use super::{Cargo, Engine, Event, PORT, STALLED_WINDOW_BYTES, address, shared_secret};
use crate::peer::{self, Peer, Secrets};
use crate::plan::{Act, Kind, Opening, Who};
use clawgate_proto::Wall;
use clawgate_proto::config::AuthMode;
use std::net::{Ipv4Addr, SocketAddr};

impl Engine<'_> {
    pub(super) fn act(&mut self, act: Act) {
        let now = self.world.now();
        match act {
            Act::Open(opening) => self.open(opening),
            Act::Call(at, call) => {
                let (pending, nodes) = (self.model.borrow().pending(), self.model.borrow().node_requests());
                let (method, params) = peer::request(call, &self.keys, &pending, &nodes, self.made);
                let Some(peer) = self.alive(at) else { return };
                let conn = peer.conn;
                if let Some(said) = peer.call(method, params) {
                    self.model.borrow_mut().transcript.line(now, conn, '>', &said);
                    self.flush(at);
                }
            }
            Act::Raw(at, raw) => {
                let limits = &self.plan.setup.limits;
                let Some(peer) = self.alive(at) else { return };
                let conn = peer.conn;
                if let Some(said) = peer.say_raw(raw, limits) {
                    self.model.borrow_mut().transcript.line(now, conn, '>', &said);
                    self.flush(at);
                }
            }
            Act::Close(at) => {
                let Some(peer) = self.alive(at) else { return };
                let conn = peer.conn;
                let Some(client) = &mut peer.client else { return self.shut(at) };
                client.close(now, 1000, "");
                let events = std::iter::from_fn(|| client.next_event()).collect();
                self.model.borrow_mut().transcript.line(now, conn, '>', "close 1000");
                self.hear(at, events);
            }
            Act::Reset(at) => self.reset(at),
            Act::HalfClose(at) => {
                let Some(peer) = self.alive(at) else { return };
                peer.has_ended = true;
                let (conn, when) = (peer.conn, peer.arrives_at.max(now.mono));
                self.model.borrow_mut().transcript.line(now, conn, '>', "end");
                self.at(when, Event::Arrive(at, Cargo::End));
            }
            Act::Stall(at) => {
                let Some(peer) = self.alive(at) else { return };
                peer.is_stalled = true;
                let conn = peer.conn;
                self.world.set_window(conn, STALLED_WINDOW_BYTES);
                self.model.borrow_mut().transcript.line(now, conn, '>', "stops reading");
            }
            Act::Resume(at) => self.resume(at),
            Act::Mute(at) => {
                let Some(peer) = self.alive(at) else { return };
                peer.is_mute = true;
                let conn = peer.conn;
                self.model.borrow_mut().transcript.line(now, conn, '>', "loses its power");
            }
            Act::Disk(disk) => {
                self.say(&format!("disk: {disk:?}"));
                self.disk(disk);
            }
            Act::Host(manner, count) => {
                self.say(&format!("host: {manner:?} x {count}"));
                self.manner = (manner, count);
            }
            Act::Edit(edit) => self.edit(edit),
            Act::Wall(by_ms) => {
                if by_ms != 0 {
                    self.say(&format!("the clock on the wall moves by {by_ms} ms"));
                    self.world.set_wall(Wall(now.wall.0.saturating_add_signed(by_ms)));
                }
            }
            Act::Stop => self.stop(),
            Act::Clear(first) => self.clear(first),
            Act::Look => self.look(),
        }
    }

    pub(super) fn open(&mut self, opening: Opening) {
        let now = self.world.now();
        self.last_port += 1;
        let remote = SocketAddr::new(address(opening.from), self.last_port);
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let Some(conn) = self.world.accept(clawgate_proto::Peer { remote, local }) else {
            return self.say("a socket is not accepted");
        };
        let (at, window_bytes) = (opening.peer, opening.window_bytes);
        let role = match &opening.kind {
            Kind::Client(spec) if spec.who == Who::Node => "node",
            Kind::Client(_) | Kind::Silent | Kind::Bytes(_) | Kind::Upgraded => "operator",
        };
        let token = match &opening.kind {
            Kind::Client(spec) => spec.device.and_then(|device| {
                let key = &self.keys[usize::from(device) % self.keys.len()];
                self.tokens.get(&(key.device_id().to_owned(), role.to_owned())).cloned()
            }),
            Kind::Silent | Kind::Bytes(_) | Kind::Upgraded => None,
        };
        let mode = self.plan.setup.mode;
        let secrets = Secrets {
            shared: &shared_secret(),
            has_password: mode == AuthMode::Password,
            keys: &self.keys,
            token,
        };
        let peer = Peer::new(opening, conn, self.plan.seed, &secrets, now);
        let mut model = self.model.borrow_mut();
        model.transcript.line(now, conn, '+', &format!("from {}: {}", remote.ip(), peer.describe()));
        if let Some(why) = peer.ban(mode != AuthMode::None) {
            model.ban(conn, why);
        }
        drop(model);
        self.world.set_window(conn, window_bytes);
        self.by_conn.insert(conn, at);
        self.peers.insert(at, peer);
        self.turn_soon(conn);
        self.flush(at);
    }

    pub(super) fn reset(&mut self, at: usize) {
        let now = self.world.now();
        let delay_us = self.dice.below(20_000);
        let Some(peer) = self.peers.get_mut(&at).filter(|peer| !peer.is_gone) else { return };
        peer.is_gone = true;
        peer.is_cut = true;
        let conn = peer.conn;
        self.model.borrow_mut().transcript.line(now, conn, '>', "reset");
        // It may overtake what is on its way, which is lost then.
        self.after(delay_us, Event::Arrive(at, Cargo::Reset));
    }

    pub(super) fn resume(&mut self, at: usize) {
        let now = self.world.now();
        let Some(peer) = self.alive(at).filter(|peer| peer.is_stalled) else { return };
        peer.is_stalled = false;
        let (conn, window_bytes) = (peer.conn, peer.opening.window_bytes);
        self.world.set_window(conn, window_bytes);
        self.model.borrow_mut().transcript.line(now, conn, '>', "reads again");
        self.pull(conn);
    }

    pub(super) fn stop(&mut self) {
        if !self.has_stopped {
            self.has_stopped = true;
            self.say("stop");
            self.world.stop();
        }
    }

    pub(super) fn alive(&mut self, at: usize) -> Option<&mut Peer> {
        self.peers.get_mut(&at).filter(|peer| !peer.is_gone && !peer.is_mute)
    }

    pub(super) fn say(&mut self, what: &str) {
        let now = self.world.now();
        self.model.borrow_mut().transcript.line(now, "--", '-', what);
    }

    pub(super) fn accuse(&mut self, what: &str) {
        let now = self.world.now();
        self.model.borrow_mut().accuse(now, what);
    }
}
