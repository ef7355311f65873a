//! One cell of the matrix: who connects how, in plain words, and how it is played.

use clawgate_proto::client::{ClientConfig, DeviceKey};
use clawgate_proto::config::{AuthMode, Config, TrustedProxy};
use clawgate_proto::host::Document;
use clawgate_proto::net::Cidr;
use clawgate_proto::secret::Secret;
use clawgate_support::{Actor, Place, Stage, secrets};
use serde_json::json;
use std::net::Ipv4Addr;

/// An axis: its values, each with the word that stands for it in `rows.tsv` and in messages.
macro_rules! axis {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$value_doc])* $value),* }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$value),*];

            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$value => $word),* }
            }

            pub(crate) fn parse(word: &str) -> Self {
                Self::ALL.iter().copied().find(|value| value.word() == word)
                    .unwrap_or_else(|| panic!("{word} is no {}", stringify!($name)))
            }
        }
    };
}

axis! {
    /// `gateway.auth.mode`.
    Mode { None = "none", Token = "token", Password = "password", TrustedProxy = "trusted-proxy" }
}
axis! {
    /// Where the gateway listens, and so where sockets come from.
    Bind { Loopback = "loopback", Lan = "lan" }
}
axis! {
    /// What lies between client and gateway.
    Way {
        Direct = "direct",
        /// A proxy in `gateway.trustedProxies`, for a client elsewhere.
        Trusted = "trusted",
        /// A proxy that nobody named, for a client elsewhere.
        Untrusted = "untrusted",
        /// Tailscale Serve, where it is on this machine: the daemon says of the address what the headers say. Beyond
        /// loopback, somebody who sends what Serve sends.
        Serve = "serve",
        /// The same, and the daemon names somebody else.
        ServeLies = "serve-lies",
        /// The same, and no daemon answers.
        ServeAbsent = "serve-absent",
    }
}

impl Way {
    /// Whether Tailscale Serve's headers are there.
    pub(crate) fn is_serve(self) -> bool {
        match self {
            Self::Direct | Self::Trusted | Self::Untrusted => false,
            Self::Serve | Self::ServeLies | Self::ServeAbsent => true,
        }
    }
}

axis! {
    /// How the proxy proves itself, which is looked at in mode `trusted-proxy` only.
    Proof {
        /// No proof is configured.
        Unset = "-",
        Right = "right",
        Wrong = "wrong",
        Absent = "absent",
    }
}
axis! {
    /// Whether the owner trusts every program of this machine to be the proxy.
    Loopback { Doubted = "-", Trusted = "trusted" }
}
axis! {
    /// The `Origin` header.
    Origin {
        None = "none",
        /// What the gateway's own page has when it is opened under the address that is bound, or the name that is served.
        Own = "own",
        /// One that `gateway.controlUi.allowedOrigins` names.
        Listed = "listed",
        Foreign = "foreign",
    }
}
axis! {
    /// What connects.
    Client { Cli = "cli", Page = "page", Node = "node" }
}
axis! {
    /// Its device.
    Device {
        None = "none",
        New = "new",
        /// Approved for its role and for what it asks.
        Paired = "paired",
        /// The same, and its token was revoked.
        Revoked = "revoked",
    }
}
axis! {
    /// What it shows.
    Shown {
        Nothing = "nothing",
        /// A wrong token, or password where that is the mode.
        Wrong = "wrong",
        /// The configured token, or password where that is the mode.
        Right = "right",
        /// The token of its device; of one that has none, a made-up one.
        DeviceToken = "device-token",
        /// A setup code's token, minted for its role.
        Bootstrap = "bootstrap",
    }
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) mode: Mode,
    pub(crate) bind: Bind,
    pub(crate) way: Way,
    pub(crate) proof: Proof,
    pub(crate) loopback: Loopback,
    pub(crate) origin: Origin,
    pub(crate) client: Client,
    pub(crate) device: Device,
    pub(crate) shown: Shown,
}

impl Cell {
    /// Every cell of a mode.
    pub(crate) fn all(mode: Mode) -> Vec<Self> {
        let first = Self {
            mode,
            bind: Bind::Loopback,
            way: Way::Direct,
            proof: Proof::Unset,
            loopback: Loopback::Doubted,
            origin: Origin::None,
            client: Client::Cli,
            device: Device::None,
            shown: Shown::Nothing,
        };
        let mut cells = vary(vec![first], Bind::ALL, |cell, bind| cell.bind = bind);
        cells = vary(cells, Way::ALL, |cell, way| cell.way = way);
        cells = vary(cells, Proof::ALL, |cell, proof| cell.proof = proof);
        cells = vary(cells, Loopback::ALL, |cell, loopback| cell.loopback = loopback);
        cells.retain(Self::says_something);
        cells = vary(cells, Origin::ALL, |cell, origin| cell.origin = origin);
        cells = vary(cells, Client::ALL, |cell, client| cell.client = client);
        cells = vary(cells, Device::ALL, |cell, device| cell.device = device);
        vary(cells, Shown::ALL, |cell, shown| cell.shown = shown)
    }

    /// Whether the cell is another one than those that differ from it in something that nobody looks at.
    fn says_something(&self) -> bool {
        // Beyond loopback no daemon is asked, whatever it would say.
        let asks_daemon = self.bind == Bind::Loopback;
        if !asks_daemon && matches!(self.way, Way::ServeLies | Way::ServeAbsent) {
            return false;
        }
        match (self.mode, self.way) {
            (Mode::None | Mode::Token | Mode::Password, _) => {
                self.proof == Proof::Unset && self.loopback == Loopback::Doubted
            }
            (Mode::TrustedProxy, Way::Trusted) => true,
            // Where the proxy is not trusted, the most that somebody could show.
            (
                Mode::TrustedProxy,
                Way::Direct | Way::Untrusted | Way::Serve | Way::ServeLies | Way::ServeAbsent,
            ) => matches!(self.proof, Proof::Unset | Proof::Right) && self.loopback == Loopback::Trusted,
        }
    }

    /// The words of a row, in the order of the columns.
    pub(crate) fn words(&self) -> String {
        let Self { mode, bind, way, proof, loopback, origin, client, device, shown } = self;
        [
            mode.word(),
            bind.word(),
            way.word(),
            proof.word(),
            loopback.word(),
            origin.word(),
            client.word(),
            device.word(),
            shown.word(),
        ]
        .join(" ")
    }

    /// Plays the cell on a gateway of its own, and says in one line what came of it.
    pub(crate) fn play(&self, place: Place, protocol: u64) -> String {
        let mut stage = Stage::with(place, |config| self.configure(config));
        let key = (self.device != Device::None).then(|| stage.key());
        if let (Some(key), Device::Paired | Device::Revoked) = (&key, self.device) {
            let record = self.record(key);
            stage.host().edit(Document::DevicesPaired, record.to_string());
        }
        self.mint(&stage);
        match self.way {
            Way::Serve => stage.host().set_whois(TAILNET_CLIENT, "Ada@Example"),
            Way::ServeLies => stage.host().set_whois(TAILNET_CLIENT, "eve@example"),
            Way::Direct | Way::Trusted | Way::Untrusted | Way::ServeAbsent => {}
        }
        let config = self.dress(&stage, key, protocol);
        let actor = stage.open_from(self.socket(), config);
        self.outcome(&mut stage, actor)
    }

    fn configure(&self, config: &mut Config) {
        let secret = Secret::new(&right());
        let auth = &mut config.auth;
        (auth.token, auth.password) = (None, None);
        match self.mode {
            Mode::None => auth.mode = AuthMode::None,
            Mode::Token => {
                auth.mode = AuthMode::Token;
                auth.token = secret;
            }
            Mode::Password => {
                auth.mode = AuthMode::Password;
                auth.password = secret;
            }
            Mode::TrustedProxy => {
                auth.mode = AuthMode::TrustedProxy;
                auth.trusted_proxy = Some(TrustedProxy {
                    user_header: "x-forwarded-user".to_owned(),
                    required_headers: Vec::new(),
                    allow_users: Vec::new(),
                    proof: match self.proof {
                        Proof::Unset => None,
                        Proof::Right | Proof::Wrong | Proof::Absent => {
                            Secret::new(&proof()).map(|proof| ("x-proof".to_owned(), proof))
                        }
                    },
                    trusts_loopback: self.loopback == Loopback::Trusted,
                });
            }
        }
        let trusted = match self.way {
            Way::Trusted => self.socket().to_string(),
            // Somebody else's proxy is trusted; this one is not.
            Way::Direct | Way::Untrusted | Way::Serve | Way::ServeLies | Way::ServeAbsent => {
                "10.99.99.99".to_owned()
            }
        };
        auth.allow_tailscale = self.way.is_serve();
        if self.way.is_serve() {
            auth.pages.own_origins.push(format!("https://{SERVED}"));
        } else if self.bind == Bind::Lan {
            auth.pages.own_origins.push(format!("http://{LAN}:{}", config.port));
        }
        config.allowed_origins = vec![LISTED.to_owned()];
        config.trusted_proxies = Cidr::parse(&trusted).into_iter().collect();
    }

    /// Where the socket comes from: the client, or the proxy before it.
    fn socket(&self) -> Ipv4Addr {
        match (self.bind, self.way) {
            (Bind::Loopback, _) => Ipv4Addr::LOCALHOST,
            (Bind::Lan, Way::Direct) => Ipv4Addr::new(192, 168, 1, 50),
            (Bind::Lan, Way::Trusted | Way::Untrusted | Way::Serve | Way::ServeLies | Way::ServeAbsent) => {
                Ipv4Addr::new(192, 168, 1, 2)
            }
        }
    }

    /// What the store holds about a device that was approved.
    fn record(&self, key: &DeviceKey) -> serde_json::Value {
        let (role, scopes) = self.asks();
        let mut token = json!({"token": device_token(), "role": role, "scopes": scopes, "createdAtMs": 1});
        if self.device == Device::Revoked {
            token["revokedAtMs"] = 2.into();
        }
        json!({key.device_id(): {
            "deviceId": key.device_id(), "publicKey": key.public_key_base64url(), "platform": "linux",
            "role": role, "roles": [role], "scopes": scopes, "approvedScopes": scopes,
            "tokens": {role: token}, "createdAtMs": 1, "approvedAtMs": 1,
        }})
    }

    /// Role and scopes that the client asks for.
    fn asks(&self) -> (&'static str, &'static [&'static str]) {
        match self.client {
            Client::Cli | Client::Page => ("operator", &["operator.admin"]),
            Client::Node => ("node", &[]),
        }
    }

    fn dress(&self, stage: &Stage, key: Option<DeviceKey>, protocol: u64) -> ClientConfig {
        let (id, client_mode) = match self.client {
            Client::Cli => ("cli", "cli"),
            Client::Page => ("openclaw-control-ui", "webchat"),
            Client::Node => ("node-host", "node"),
        };
        let port = stage.config().port;
        let (scheme, host) = match (self.way.is_serve(), self.bind) {
            (true, _) => ("https", SERVED.to_owned()),
            (false, Bind::Loopback) => ("http", format!("{}:{port}", Ipv4Addr::LOCALHOST)),
            (false, Bind::Lan) => ("http", format!("{LAN}:{port}")),
        };
        let mut config = stage.client_as(id, client_mode, key);
        (config.min_protocol, config.max_protocol) = (protocol, protocol);
        let (role, scopes) = self.asks();
        config.role = role.to_owned();
        config.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        config.origin = match self.origin {
            Origin::None => None,
            Origin::Own => Some(format!("{scheme}://{host}")),
            Origin::Listed => Some(LISTED.to_owned()),
            Origin::Foreign => Some("https://elsewhere.example".to_owned()),
        };
        config.host = host;
        config.headers = self.headers();
        config.auth.token = None;
        let secret = match self.shown {
            Shown::Nothing => return config,
            Shown::Right => right(),
            Shown::Wrong => "not-the-secret".to_owned(),
            Shown::DeviceToken => {
                config.auth.device_token = Some(device_token());
                return config;
            }
            Shown::Bootstrap => {
                config.auth.bootstrap_token = Some(bootstrap_token());
                return config;
            }
        };
        match self.mode {
            Mode::Password => config.auth.password = Some(secret),
            Mode::None | Mode::Token | Mode::TrustedProxy => config.auth.token = Some(secret),
        }
        config
    }

    /// What lies between writes into the request. Whoever goes around the proxy knows its headers.
    fn headers(&self) -> Vec<(String, String)> {
        let proof = match self.proof {
            Proof::Right => Some(proof()),
            Proof::Wrong => Some("not-the-proof".to_owned()),
            Proof::Unset | Proof::Absent => None,
        };
        let mut headers = match self.way {
            Way::Direct => Vec::new(),
            Way::Trusted | Way::Untrusted => {
                vec![("X-Forwarded-For", "203.0.113.7".to_owned()), ("X-Forwarded-User", "alice".to_owned())]
            }
            Way::Serve | Way::ServeLies | Way::ServeAbsent => vec![
                ("X-Forwarded-For", TAILNET_CLIENT.map(|part| part.to_string()).join(".")),
                ("X-Forwarded-Proto", "https".to_owned()),
                ("X-Forwarded-Host", SERVED.to_owned()),
                ("Tailscale-User-Login", "ada@example".to_owned()),
            ],
        };
        headers.extend(proof.map(|proof| ("X-Proof", proof)));
        headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A setup code that is out: for nodes, or for a phone with everything, which is one operator too.
    fn mint(&self, stage: &Stage) {
        let (access, roles) = match self.client {
            Client::Node => ("node", &["node"][..]),
            Client::Cli | Client::Page => ("full", &["node", "operator"][..]),
        };
        let (token, made) = (bootstrap_token(), stage.now().wall.0);
        let row = json!({token.as_str(): {
            "token": token, "ts": made, "issuedAtMs": made, "setupId": "s", "access": access, "roles": roles,
            "scopes": ["operator.admin"],
        }});
        stage.host().edit(Document::DevicesSetup, row.to_string());
    }

    fn outcome(&self, stage: &mut Stage, actor: Actor) -> String {
        let hello = match stage.admission(actor) {
            Ok(hello) => hello,
            Err(refusal) => {
                let Some(error) = &refusal.error else { return format!("{refusal:?}") };
                assert_eq!(refusal.close().map(|(code, _)| code), Some(1008), "{}: {error:?}", self.words());
                let reason =
                    error.detail("reason").filter(|_| error.detail("code") == Some("PAIRING_REQUIRED"));
                let code = error.detail("code").unwrap_or("no code");
                return reason.map_or_else(|| code.to_owned(), |reason| format!("{code} {reason}"));
            }
        };
        let token = if hello.device_token().is_some() { "token" } else { "no-token" };
        // What it may do is seen, not what hello-ok says.
        let may = match stage.call(actor, "set-heartbeats", json!({"enabled": true})) {
            Ok(_) => "all",
            Err(error) if error.message.contains("role") => "node",
            Err(error) if error.message.contains("scope") => "nothing",
            Err(error) => return format!("in, {error:?}"),
        };
        format!("in {may} {token}")
    }
}

/// Each cell once with each value.
fn vary<T: Copy>(cells: Vec<Cell>, values: &[T], set: impl Fn(&mut Cell, T)) -> Vec<Cell> {
    let mut varied = Vec::new();
    for cell in cells {
        for &value in values {
            let mut cell = cell;
            set(&mut cell, value);
            varied.push(cell);
        }
    }
    varied
}

/// The configured secret.
fn right() -> String {
    secrets::chosen("matrix")
}

/// The token of a paired device.
fn device_token() -> String {
    secrets::chosen("matrix-device-token-of-43-characters")
}

fn bootstrap_token() -> String {
    secrets::chosen("matrix-bootstrap-token")
}

fn proof() -> String {
    secrets::chosen("matrix-proof")
}

/// What `gateway.controlUi.allowedOrigins` names.
const LISTED: &str = "https://desk.example";

/// What Tailscale Serve calls this machine, and whom it serves.
const SERVED: &str = "gw.tail1.ts.net";
const TAILNET_CLIENT: [u8; 4] = [100, 64, 0, 7];

/// The address of this host that is bound, where one beyond loopback is.
pub(crate) const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
