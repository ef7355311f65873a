//! One gateway under soak, and what those who go there need: who they are, how they get in, and what is counted.

use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_support::client::{config_as, fresh_key};
use clawgate_support::siege::connect_from;
use clawgate_support::{Program, TestClient};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an actor comes to: nothing, or what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Devices that come and go, and that come to stay. They are always the same: a store that grows by new ones would be
/// memory that has a reason.
const DEVICES: usize = 24;
/// Nodes that come and go.
pub(crate) const NODES: usize = 3;
/// The one command of all nodes.
pub(crate) const COMMAND: &str = "system.which";

/// The gateway, and its people.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) addr: SocketAddr,
    pub(crate) canvas: PathBuf,
    /// Whether it speaks TLS.
    pub(crate) is_sealed: bool,
    pub(crate) tally: Tally,
    token: String,
    keys: Vec<DeviceKey>,
    node_keys: Vec<DeviceKey>,
}

/// What was done in a round.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) invokes: AtomicU64,
    pub(crate) strangers: AtomicU64,
    pub(crate) requests: AtomicU64,
}

impl Tally {
    /// One more.
    pub(crate) fn add(of: &AtomicU64) {
        of.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells all, and begins anew.
    pub(crate) fn take(&self) -> String {
        let Self { connections, calls, invokes, strangers, requests } = self;
        let taken = |of: &AtomicU64| of.swap(0, Ordering::Relaxed);
        format!(
            "{} connections, {} calls, {} invokes, {} HTTP requests, {} strangers",
            taken(connections),
            taken(calls),
            taken(invokes),
            taken(requests),
            taken(strangers)
        )
    }
}

impl Ground {
    pub(crate) fn new(program: &Program, is_sealed: bool) -> Self {
        let keys = |count| (0..count).map(|_| fresh_key()).collect();
        Self {
            addr: program.addr(),
            canvas: program.settings().state_dir().join("canvas"),
            is_sealed,
            tally: Tally::default(),
            token: program.token(),
            keys: keys(DEVICES),
            node_keys: keys(NODES + 1),
        }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Settings of an operator: the device of this number, or none.
    pub(crate) fn operator(&self, device: Option<usize>) -> ClientConfig {
        let key = device.map(|device| self.keys[device % DEVICES].clone());
        self.by_tls(config_as(self.addr, "cli", "cli", Some(&self.token), key))
    }

    /// Settings of somebody who decides.
    pub(crate) fn approver(&self, device: usize) -> ClientConfig {
        ClientConfig { caps: vec!["approvals".to_owned()], ..self.operator(Some(device)) }
    }

    /// Settings of a node; the last one never leaves.
    pub(crate) fn node(&self, node: usize) -> ClientConfig {
        let key = self.node_keys[node].clone();
        let config = config_as(self.addr, "node-host", "node", Some(&self.token), Some(key));
        self.by_tls(ClientConfig {
            role: "node".to_owned(),
            scopes: Vec::new(),
            caps: vec!["system".to_owned()],
            commands: vec![COMMAND.to_owned()],
            ..config
        })
    }

    /// Its id.
    pub(crate) fn node_id(&self, node: usize) -> &str {
        self.node_keys[node].device_id()
    }

    #[cfg(feature = "tls")]
    fn by_tls(&self, mut config: ClientConfig) -> ClientConfig {
        config.tls = self.is_sealed.then(clawgate_support::sealed::connector);
        config
    }

    #[cfg(not(feature = "tls"))]
    fn by_tls(&self, config: ClientConfig) -> ClientConfig {
        config
    }

    /// Somebody with a good claim comes in.
    pub(crate) fn enter(&self, config: ClientConfig) -> Outcome<TestClient> {
        Tally::add(&self.tally.connections);
        TestClient::connect(self.addr, config).map_err(|why| format!("a good client is refused: {why:?}"))
    }

    /// The same from another loopback address, as far as what comes instead of hello-ok.
    pub(crate) fn enter_from(&self, from: Ipv4Addr, config: ClientConfig) -> Outcome<TestClient> {
        let stream = connect_from(from, self.addr).map_err(|why| format!("cannot connect: {why}"))?;
        TestClient::over(stream, config).admitted().map_err(|why| format!("{why:?}"))
    }

    /// Calls a method that must be answered with ok.
    pub(crate) fn call(&self, client: &mut TestClient, method: &str, params: Value) -> Outcome<Value> {
        Tally::add(&self.tally.calls);
        client.call(method, params).map_err(|why| format!("{method} is refused: {why}"))
    }

    /// Calls a method that must be refused with this code.
    pub(crate) fn refused(
        &self,
        client: &mut TestClient,
        method: &str,
        params: Value,
        code: &str,
    ) -> Outcome {
        Tally::add(&self.tally.calls);
        match client.call(method, params) {
            Err(error) if error["code"] == code => Ok(()),
            other => Err(format!("{method} is answered with {other:?} where {code} was due")),
        }
    }

    /// Lets every device and node in once, and has what nodes offer approved: what happens once is no growth.
    pub(crate) fn settle(&self) -> Outcome {
        for device in 0..DEVICES {
            drop(self.enter(self.operator(Some(device)))?);
        }
        let nodes = (0..=NODES).map(|node| self.enter(self.node(node))).collect::<Outcome<Vec<_>>>()?;
        let mut admin = self.enter(self.operator(Some(0)))?;
        let listed = self.call(&mut admin, "node.pair.list", json!({}))?;
        for request in listed["pending"].as_array().into_iter().flatten() {
            let id = &request["requestId"];
            self.call(&mut admin, "node.pair.approve", json!({ "requestId": id }))?;
        }
        for node in nodes {
            node.close(1000, "done").ok_or("a node is not let go")?;
        }
        admin.close(1000, "done").ok_or("an operator is not let go")?;
        Ok(())
    }
}
