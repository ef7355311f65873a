//! The settings of the reference's file that this program obeys, typed.
//!
//! A setting that would change who may come in, and that this build cannot honour (TLS, in one without it), is a fault
//! and not a warning: silence would serve more openly than its owner asked for.

use super::discovery::DiscoverySettings;
use super::hooks::Hooks;
use super::read::Reader;
use super::secret_refs::SecretRef;
use super::value::Node;
use crate::environment::Environment;
use crate::log::settings::Logging;
use crate::tls;
use crate::tls::files::TlsSettings;
use clawgate_proto::config::{AuthMode, CONFIG_DEBOUNCE_MS, NodeCommands, RateLimit};
use clawgate_proto::net::Cidr;
use clawgate_proto::secret::Secret;
use std::collections::BTreeSet;
use std::path::Path;

/// What the file says. Absent settings are absent here; defaults are applied by whoever uses them.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `gateway.mode`, whatever it is.
    pub mode: Option<String>,
    /// `gateway.port`.
    pub port: Option<u16>,
    /// `gateway.bind`.
    pub bind: Option<Setting<Bind>>,
    /// `gateway.customBindHost`, whatever it is.
    pub custom_bind_host: Option<String>,
    /// `gateway.auth.mode`.
    pub auth_mode: Option<Setting<AuthMode>>,
    /// `gateway.auth.token`.
    pub token: Option<Setting<SecretAt>>,
    /// `gateway.auth.password`.
    pub password: Option<Setting<SecretAt>>,
    /// `gateway.auth.trustedProxy`.
    pub trusted_proxy: Option<ProxySettings>,
    /// `gateway.auth.allowTailscale`.
    pub allow_tailscale: Option<bool>,
    /// `gateway.tailscale.mode`.
    pub tailscale_mode: TailscaleMode,
    /// `gateway.tailscale.resetOnExit`.
    pub tailscale_resets: bool,
    /// `gateway.auth.rateLimit`.
    pub rate_limit: Option<RateLimit>,
    /// `gateway.controlUi.allowedOrigins`.
    pub allowed_origins: Vec<String>,
    /// `gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback`.
    pub origin_by_host: bool,
    /// `gateway.trustedProxies`.
    pub trusted_proxies: Vec<Cidr>,
    /// `gateway.allowRealIpFallback`.
    pub allow_real_ip_fallback: bool,
    /// `gateway.nodes.allowCommands` and `.denyCommands`, and `.commands.allow` and `.deny`, as newer releases write them.
    pub node_commands: NodeCommands,
    /// `gateway.remote.url`: where the commands of this machine connect in mode `remote`, and text for setup codes.
    pub remote_url: Option<String>,
    /// `gateway.remote.token`, for that address only.
    pub remote_token: Option<Setting<SecretAt>>,
    /// `gateway.remote.password`, likewise.
    pub remote_password: Option<Setting<SecretAt>>,
    /// `gateway.remote.tlsFingerprint`: the one certificate that is trusted at `gateway.remote.url`.
    pub remote_fingerprint: Option<Setting<String>>,
    /// `gateway.tls`.
    pub tls: TlsSettings,
    /// `gateway.remote.transport` is `direct`: no SSH server leads to that gateway.
    pub remote_is_direct: bool,
    /// `gateway.remote.sshTarget`: whose SSH server leads to that gateway.
    pub remote_ssh: Option<String>,
    /// `gateway.remote.sshIdentity`: the private key for it.
    pub remote_ssh_identity: Option<String>,
    /// `plugins.entries.device-pair.config.publicUrl`, likewise.
    pub public_url: Option<String>,
    /// `hooks`, when they are enabled.
    pub hooks: Option<Hooks>,
    /// `canvasHost`.
    pub canvas: CanvasSettings,
    /// `gateway.controlUi.enabled`, `.root` and `.basePath`.
    pub control_ui: ControlUiSettings,
    /// `gateway.http.securityHeaders.strictTransportSecurity`, when it is a text.
    pub strict_transport_security: Option<String>,
    /// `logging`.
    pub logging: Logging,
    /// `commands.restart`: whether SIGUSR1 restarts the gateway; it does when nothing is said.
    pub restart_by_signal: Option<bool>,
    /// `discovery`.
    pub discovery: DiscoverySettings,
    /// `gateway.reload.debounceMs`; the usual time when nothing is said.
    pub reload_debounce_ms: u64,
    /// What the person should know, one sentence each.
    pub warnings: Vec<String>,
}

/// A setting that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting<T> {
    /// Usable.
    Known(T),
    /// It is set, but cannot be used; a sentence that says why. Matters only when nothing overrides it.
    Unusable(String),
}

/// A secret, or where it is.
#[derive(Clone, Debug)]
pub enum SecretAt {
    /// Here.
    Here(Secret),
    /// Elsewhere.
    Elsewhere(Box<SecretRef>),
    /// In a variable that is not set here: a text that names one stays what it is, and nothing is made in its place.
    Unset {
        /// The setting.
        setting: &'static str,
        /// The variables that it names and that are not set.
        variables: Vec<String>,
    },
}

/// How a proxy names its users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `userHeader`, trimmed.
    pub user_header: String,
    /// `requiredHeaders`.
    pub required_headers: Vec<String>,
    /// `allowUsers`.
    pub allow_users: Vec<String>,
}

/// The page at the gateway's own address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlUiSettings {
    /// `enabled`; it is when nothing is said.
    pub enabled: Option<bool>,
    /// `root`, as it is written, variables expanded: an installed Control UI. Without one it is the control page.
    pub root: Option<String>,
    /// `basePath`: empty, or a path that begins with `/` and does not end with it.
    pub base_path: String,
}

/// What is served to nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanvasSettings {
    /// `enabled`; it is when nothing is said.
    pub enabled: Option<bool>,
    /// `root`, as it is written, variables expanded.
    pub root: Option<String>,
    /// `liveReload`; it does when nothing is said.
    pub live_reload: Option<bool>,
}

/// What Tailscale on this machine does for the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailscaleMode {
    /// Nothing.
    #[default]
    Off,
    /// It serves the gateway to the tailnet.
    Serve,
    /// It serves the gateway to everybody.
    Funnel,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// 127.0.0.1, and ::1 where there is one.
    Loopback,
    /// Every IPv4 address.
    Lan,
    /// This machine's address in its tailnet.
    Tailnet,
    /// The address that `gateway.customBindHost` names.
    Custom,
}

impl Bind {
    /// The name used in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Lan => "lan",
            Self::Tailnet => "tailnet",
            Self::Custom => "custom",
        }
    }

    /// The one of that name in configuration. `auto` is loopback: the reference goes beyond it where loopback
    /// cannot be bound, and a bind never widens here.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "loopback" | "auto" => Some(Self::Loopback),
            "lan" => Some(Self::Lan),
            "tailnet" => Some(Self::Tailnet),
            "custom" => Some(Self::Custom),
            _ => None,
        }
    }
}

impl Settings {
    /// Reads a document whose included files are in it, and whose references to variables still stand.
    ///
    /// # Errors
    /// Everything that must be mended, one sentence each.
    pub fn read(root: &Node, environment: &Environment) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(root, environment);
        if !matches!(root, Node::Object(_)) {
            return Err(vec![format!("the file holds {}, expected an object", root.kind())]);
        }
        let settings = Self {
            mode: reader.text("gateway.mode"),
            port: reader.integer("gateway.port", 1, 65_535).and_then(|port| u16::try_from(port).ok()),
            bind: bind(&mut reader),
            custom_bind_host: reader.text("gateway.customBindHost"),
            auth_mode: auth_mode(&mut reader),
            token: secret(&mut reader, environment, "gateway.auth.token"),
            password: secret(&mut reader, environment, "gateway.auth.password"),
            trusted_proxy: trusted_proxy(&mut reader),
            allow_tailscale: reader.switch("gateway.auth.allowTailscale"),
            tailscale_mode: TailscaleMode::named(
                reader.choice("gateway.tailscale.mode", &["off", "serve", "funnel"]),
            ),
            tailscale_resets: reader.switch("gateway.tailscale.resetOnExit") == Some(true),
            rate_limit: rate_limit(&mut reader),
            allowed_origins: reader.texts("gateway.controlUi.allowedOrigins"),
            origin_by_host: reader.switch(BY_HOST).unwrap_or(false),
            trusted_proxies: trusted_proxies(&mut reader),
            allow_real_ip_fallback: reader.switch("gateway.allowRealIpFallback").unwrap_or(false),
            node_commands: node_commands(&mut reader),
            remote_url: named_elsewhere(&mut reader, "gateway.remote.url"),
            remote_token: secret_of_a_client(&mut reader, environment, "gateway.remote.token"),
            remote_password: secret_of_a_client(&mut reader, environment, "gateway.remote.password"),
            remote_fingerprint: remote_fingerprint(&mut reader),
            tls: tls(&mut reader),
            remote_is_direct: reader.choice("gateway.remote.transport", &["ssh", "direct"]) == Some("direct"),
            remote_ssh: named_elsewhere(&mut reader, "gateway.remote.sshTarget"),
            remote_ssh_identity: named_elsewhere(&mut reader, "gateway.remote.sshIdentity"),
            public_url: named_elsewhere(&mut reader, "plugins.entries.device-pair.config.publicUrl"),
            hooks: Hooks::read(&mut reader, environment),
            canvas: canvas(&mut reader),
            control_ui: control_ui(&mut reader),
            strict_transport_security: strict_transport_security(&mut reader),
            logging: Logging::read(&mut reader),
            restart_by_signal: reader.switch("commands.restart"),
            discovery: DiscoverySettings::read(&mut reader),
            reload_debounce_ms: reload_debounce(&mut reader),
            warnings: Vec::new(),
        };
        warn_of_what_is_ignored(&mut reader);
        if reader.faults.is_empty() {
            Ok(Self { warnings: reader.warnings, ..settings })
        } else {
            Err(reader.faults)
        }
    }
}

impl Settings {
    /// The files that secrets are fetched from.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        [&self.token, &self.password].into_iter().filter_map(|setting| match setting {
            Some(Setting::Known(SecretAt::Elsewhere(reference))) => reference.file(),
            Some(Setting::Known(SecretAt::Here(_) | SecretAt::Unset { .. }) | Setting::Unusable(_))
            | None => None,
        })
    }

    /// The variables that a secret of these settings needs, and that are not set.
    pub fn unset_variables(&self) -> impl Iterator<Item = &str> {
        [&self.token, &self.password]
            .into_iter()
            .flat_map(|setting| match setting {
                Some(Setting::Known(SecretAt::Unset { variables, .. })) => variables.as_slice(),
                Some(Setting::Known(SecretAt::Here(_) | SecretAt::Elsewhere(_)) | Setting::Unusable(_))
                | None => &[],
            })
            .map(String::as_str)
    }

    /// The same without secrets that only the gateway's own surroundings know: a client gets in without them where its
    /// device is paired.
    pub fn for_a_client(mut self) -> Self {
        for secret in [&mut self.token, &mut self.password] {
            if matches!(secret, Some(Setting::Known(SecretAt::Unset { .. }))) {
                *secret = None;
            }
        }
        self
    }
}

/// What is longer than makes sense is as long as that.
fn reload_debounce(reader: &mut Reader<'_>) -> u64 {
    let asked = reader.integer("gateway.reload.debounceMs", 0, u64::MAX);
    asked.unwrap_or(CONFIG_DEBOUNCE_MS).min(DEBOUNCE_MAX_MS)
}

fn bind(reader: &mut Reader<'_>) -> Option<Setting<Bind>> {
    let choice = reader.choice("gateway.bind", &["loopback", "lan", "auto", "tailnet", "custom"])?;
    Bind::named(choice).map(Setting::Known)
}

fn auth_mode(reader: &mut Reader<'_>) -> Option<Setting<AuthMode>> {
    let choice = reader.choice("gateway.auth.mode", &["none", "token", "password", "trusted-proxy"])?;
    Some(match choice {
        "none" => Setting::Known(AuthMode::None),
        "token" => Setting::Known(AuthMode::Token),
        "password" => Setting::Known(AuthMode::Password),
        _ => Setting::Known(AuthMode::TrustedProxy),
    })
}

fn trusted_proxy(reader: &mut Reader<'_>) -> Option<ProxySettings> {
    reader.node("gateway.auth.trustedProxy")?;
    let user_header = reader.text("gateway.auth.trustedProxy.userHeader").unwrap_or_default();
    Some(ProxySettings {
        user_header: user_header.trim().to_owned(),
        required_headers: reader.texts("gateway.auth.trustedProxy.requiredHeaders"),
        allow_users: reader.texts("gateway.auth.trustedProxy.allowUsers"),
    })
}

/// `false` is the way to say that there is none.
fn strict_transport_security(reader: &mut Reader<'_>) -> Option<String> {
    const PATH: &str = "gateway.http.securityHeaders.strictTransportSecurity";
    let text = if reader.node(PATH) == Some(&Node::Bool(false)) { None } else { reader.text(PATH) };
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn control_ui(reader: &mut Reader<'_>) -> ControlUiSettings {
    let path = reader.text("gateway.controlUi.basePath").unwrap_or_default();
    let path = path.trim().trim_matches('/');
    ControlUiSettings {
        enabled: reader.switch("gateway.controlUi.enabled"),
        root: reader.text("gateway.controlUi.root").filter(|root| !root.trim().is_empty()),
        base_path: if path.is_empty() { String::new() } else { format!("/{path}") },
    }
}

fn canvas(reader: &mut Reader<'_>) -> CanvasSettings {
    CanvasSettings {
        enabled: reader.switch("canvasHost.enabled"),
        root: reader.text("canvasHost.root").filter(|root| !root.trim().is_empty()),
        live_reload: reader.switch("canvasHost.liveReload"),
    }
}

impl TailscaleMode {
    /// As a valid document has it.
    pub fn of(document: &Node) -> Self {
        Self::named(document.at(&["gateway", "tailscale", "mode"]).and_then(Node::as_text))
    }

    fn named(word: Option<&str>) -> Self {
        match word {
            Some("serve") => Self::Serve,
            Some("funnel") => Self::Funnel,
            Some(_) | None => Self::Off,
        }
    }
}

/// A text, or a reference to a secret elsewhere.
fn secret(
    reader: &mut Reader<'_>,
    environment: &Environment,
    path: &'static str,
) -> Option<Setting<SecretAt>> {
    let node = reader.node(path)?;
    match node {
        Node::Text(text) => {
            let expanded = reader.expand(path, text);
            // A secret with a hole in it is no secret.
            if !expanded.missing.is_empty() {
                return Some(Setting::Known(SecretAt::Unset { setting: path, variables: expanded.missing }));
            }
            Secret::new(&expanded.text).map(|secret| Setting::Known(SecretAt::Here(secret)))
        }
        Node::Object(_) => Some(match SecretRef::read(path, node, reader.root(), environment) {
            Ok(reference) => Setting::Known(SecretAt::Elsewhere(Box::new(reference))),
            Err(why) => Setting::Unusable(why),
        }),
        Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::List(_) => {
            reader.fault(path, node.kind(), "a text, in quotes");
            None
        }
    }
}

/// The same for a client: a gateway that starts here does not need it, so its person hears nothing of it.
fn secret_of_a_client(
    reader: &mut Reader<'_>,
    environment: &Environment,
    path: &'static str,
) -> Option<Setting<SecretAt>> {
    let (faults, warnings) = (reader.faults.len(), reader.warnings.len());
    let found = secret(reader, environment, path);
    reader.faults.truncate(faults);
    reader.warnings.truncate(warnings);
    found
}

/// A text that only setup codes repeat, or clients connect to: what is no text is none, and keeps no gateway from its start.
fn named_elsewhere(reader: &mut Reader<'_>, path: &str) -> Option<String> {
    let text = reader.node(path)?.as_text()?;
    let text = reader.expand(path, text).text;
    (!text.trim().is_empty()).then_some(text)
}

fn rate_limit(reader: &mut Reader<'_>) -> Option<RateLimit> {
    let node = reader.node("gateway.auth.rateLimit")?;
    if !matches!(node, Node::Object(_)) {
        reader.fault("gateway.auth.rateLimit", node.kind(), "an object");
        return None;
    }
    let usual = RateLimit::default();
    let attempts = reader.integer("gateway.auth.rateLimit.maxAttempts", 1, u32::MAX.into());
    let window = reader.integer("gateway.auth.rateLimit.windowMs", 1, DURATION_MAX_MS);
    let lockout = reader.integer("gateway.auth.rateLimit.lockoutMs", 1, DURATION_MAX_MS);
    let exempt = reader.switch("gateway.auth.rateLimit.exemptLoopback");
    Some(RateLimit {
        attempts_max: attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or(usual.attempts_max),
        window_ms: window.unwrap_or(usual.window_ms),
        lockout_ms: lockout.unwrap_or(usual.lockout_ms),
        exempt_loopback: exempt.unwrap_or(usual.exempt_loopback),
    })
}

fn trusted_proxies(reader: &mut Reader<'_>) -> Vec<Cidr> {
    let mut proxies = Vec::new();
    for text in reader.texts("gateway.trustedProxies") {
        match Cidr::parse(&text) {
            Some(proxy) => proxies.push(proxy),
            // The reference lets such an entry match nothing; that is safe, but rarely what was meant.
            None => reader.warnings.push(format!(
                "gateway.trustedProxies: {text:?} is no address and no range such as 10.0.0.0/8; it trusts nobody"
            )),
        }
    }
    proxies
}

/// Both spellings count, as each may have been written by the release that knows it.
fn node_commands(reader: &mut Reader<'_>) -> NodeCommands {
    let mut names = |paths: [&str; 2]| {
        let names = paths.into_iter().flat_map(|path| reader.texts(path)).collect::<Vec<_>>();
        let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let allow = names(["gateway.nodes.allowCommands", "gateway.nodes.commands.allow"]);
    let deny = names(["gateway.nodes.denyCommands", "gateway.nodes.commands.deny"]);
    NodeCommands { allow, deny }
}

/// Matters to the commands of this machine only, so a wrong one stops no gateway.
fn remote_fingerprint(reader: &mut Reader<'_>) -> Option<Setting<String>> {
    const PATH: &str = "gateway.remote.tlsFingerprint";
    let text = named_elsewhere(reader, PATH)?;
    Some(match tls::fingerprint(&text) {
        Some(fingerprint) => Setting::Known(fingerprint),
        None => Setting::Unusable(format!(
            "{PATH} is no SHA-256 fingerprint: 64 hexadecimal digits, as `clawgate gateway tls` shows on the gateway's machine"
        )),
    })
}

fn tls(reader: &mut Reader<'_>) -> TlsSettings {
    let enabled = reader.switch("gateway.tls.enabled").unwrap_or(false);
    if enabled && cfg!(not(feature = "tls")) {
        reader.faults.push(
            "gateway.tls.enabled: this build has no TLS, and does not serve in the clear what should be encrypted; set it \
             to false and put a TLS proxy in front, or take a build with the feature `tls`"
                .to_owned(),
        );
    }
    TlsSettings {
        enabled,
        auto_generate: reader.switch("gateway.tls.autoGenerate"),
        cert_path: reader.text("gateway.tls.certPath"),
        key_path: reader.text("gateway.tls.keyPath"),
        ca_path: reader.text("gateway.tls.caPath"),
    }
}

fn warn_of_what_is_ignored(reader: &mut Reader<'_>) {
    if reader.node(BY_HOST) == Some(&Node::Bool(true)) {
        reader.warnings.push(format!(
            "{BY_HOST}: a page of any name that is made to lead here may connect; list its origin in \
             gateway.controlUi.allowedOrigins instead"
        ));
    }
    for path in IGNORED_SWITCHES {
        if reader.node(path) == Some(&Node::Bool(true)) {
            reader.warnings.push(format!("{path}: not supported by this version; the stricter rule applies"));
        }
    }
}

const BY_HOST: &str = "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback";
const IGNORED_SWITCHES: [&str; 2] =
    ["gateway.controlUi.allowInsecureAuth", "gateway.controlUi.dangerouslyDisableDeviceAuth"];
/// A minute: the file is looked at every few seconds anyway.
const DEBOUNCE_MAX_MS: u64 = 60_000;
/// Thirty days: longer is a mistake in the unit.
const DURATION_MAX_MS: u64 = 30 * 24 * 3_600 * 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn read(text: &str) -> Result<Settings, Vec<String>> {
        Settings::read(
            &Node::parse(text).unwrap(),
            &Environment::new([("TOKEN", "from-env"), ("P", "10.0.0.1")]),
        )
    }

    fn exposed(setting: &Option<Setting<SecretAt>>) -> Option<&str> {
        match setting {
            Some(Setting::Known(SecretAt::Here(secret))) => Some(secret.expose()),
            Some(Setting::Known(SecretAt::Elsewhere(_) | SecretAt::Unset { .. }) | Setting::Unusable(_))
            | None => None,
        }
    }

    #[test]
    fn reads_every_setting_it_obeys() {
        let settings = read(
            "{gateway: {mode: 'local', port: 1234, bind: 'lan', allowRealIpFallback: true, \
             trustedProxies: ['${P}', '10.0.0.0/8', 'nonsense'], controlUi: {allowedOrigins: ['https://a']}, \
             auth: {mode: 'password', token: '${TOKEN}', password: {source: 'env', provider: 'x', id: 'TOKEN'}, \
             rateLimit: {maxAttempts: 3, exemptLoopback: false}}}, unknown: {x: 1}}",
        )
        .unwrap();
        assert_eq!((settings.mode.as_deref(), settings.port), (Some("local"), Some(1234)));
        assert_eq!(settings.bind, Some(Setting::Known(Bind::Lan)));
        assert_eq!(settings.auth_mode, Some(Setting::Known(AuthMode::Password)));
        assert_eq!(exposed(&settings.token), Some("from-env"));
        assert!(matches!(settings.password, Some(Setting::Known(SecretAt::Elsewhere(_)))));
        let limit = settings.rate_limit.unwrap();
        assert_eq!((limit.attempts_max, limit.window_ms, limit.exempt_loopback), (3, 60_000, false));
        assert_eq!((settings.allowed_origins.len(), settings.trusted_proxies.len()), (1, 2));
        assert!(settings.allow_real_ip_fallback);
        assert!(
            settings.warnings.iter().any(|warning| warning.contains("nonsense")),
            "{:?}",
            settings.warnings
        );
    }

    #[test]
    fn faults_name_the_path_what_was_found_and_what_is_allowed() {
        let faults = read(
            "{gateway: {port: 70000, bind: 'everywhere', auth: {mode: 5, token: 42, rateLimit: {windowMs: 'x'}}, \
             trustedProxies: 'a', controlUi: {allowedOrigins: [1]}}}",
        )
        .unwrap_err();
        for want in [
            "gateway.port: found 70000, expected a whole number from 1 to 65535",
            "gateway.bind: found \"everywhere\", expected one of \"loopback\", \"lan\"",
            "gateway.auth.mode: found a number, expected a text",
            "gateway.auth.token: found a number, expected a text",
            "gateway.auth.rateLimit.windowMs: found a text, expected a whole number",
            "gateway.trustedProxies: found a text, expected a list",
            "gateway.controlUi.allowedOrigins[0]: found a number, expected a text",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(want)), "{want} not in {faults:?}");
        }
        assert_eq!(faults.len(), 7);
    }

    #[test]
    fn what_would_open_the_gateway_is_never_ignored() {
        let tls = read("{gateway: {tls: {enabled: true, certPath: '~/c.pem', autoGenerate: false}}}");
        if cfg!(feature = "tls") {
            let tls = tls.unwrap().tls;
            assert!(tls.enabled && tls.auto_generate == Some(false));
            assert_eq!((tls.cert_path.as_deref(), tls.key_path), (Some("~/c.pem"), None));
        } else {
            assert_eq!(tls.unwrap_err().len(), 1);
        }
    }

    #[test]
    fn proxies_and_tailnets_are_read() {
        let settings = read(
            "{gateway: {auth: {mode: 'trusted-proxy', allowTailscale: true, trustedProxy: {userHeader: ' X-User ', \
             requiredHeaders: ['X-A'], allowUsers: ['a@b']}}, tailscale: {mode: 'serve'}, controlUi: \
             {dangerouslyAllowHostHeaderOriginFallback: true}}, hooks: {enabled: true, token: '${TOKEN}'}}",
        )
        .unwrap();
        assert_eq!(settings.auth_mode, Some(Setting::Known(AuthMode::TrustedProxy)));
        let proxy = settings.trusted_proxy.unwrap();
        assert_eq!((proxy.user_header.as_str(), proxy.allow_users.len()), ("X-User", 1));
        assert_eq!((settings.allow_tailscale, settings.tailscale_mode), (Some(true), TailscaleMode::Serve));
        assert_eq!(settings.hooks.unwrap().token.unwrap().expose(), "from-env");
        assert!(settings.origin_by_host);
        assert!(
            settings.warnings.iter().any(|warning| warning.starts_with(BY_HOST)),
            "{:?}",
            settings.warnings
        );
    }

    #[test]
    fn every_bind_of_the_reference_is_known() {
        for (name, bind) in [
            ("loopback", Bind::Loopback),
            ("auto", Bind::Loopback),
            ("lan", Bind::Lan),
            ("tailnet", Bind::Tailnet),
            ("custom", Bind::Custom),
        ] {
            let text = format!("{{gateway: {{bind: '{name}', customBindHost: '10.0.0.1'}}}}");
            let settings = read(&text).unwrap();
            assert_eq!(settings.bind, Some(Setting::Known(bind)), "{name}");
            assert_eq!(settings.custom_bind_host.as_deref(), Some("10.0.0.1"));
        }
    }

    #[test]
    fn commands_of_nodes_are_read_in_both_spellings() {
        let settings = read(
            "{gateway: {nodes: {allowCommands: [' camera.snap ', ''], denyCommands: ['system.run'], \
             commands: {allow: ['sms.send'], deny: ['browser.proxy']}}}}",
        );
        let NodeCommands { allow, deny } = settings.unwrap().node_commands;
        assert_eq!(allow.iter().map(String::as_str).collect::<Vec<_>>(), ["camera.snap", "sms.send"]);
        assert_eq!(deny.iter().map(String::as_str).collect::<Vec<_>>(), ["browser.proxy", "system.run"]);
        let faults = read("{gateway: {nodes: {commands: {allow: 'camera.snap'}}}}").unwrap_err();
        assert!(faults[0].starts_with("gateway.nodes.commands.allow: found a text"), "{faults:?}");
    }

    #[test]
    fn a_secret_with_an_unset_variable_is_none_and_not_forgotten() {
        let settings = read("{gateway: {auth: {token: 'a${NONE}', password: '  '}}}").unwrap();
        assert_eq!(settings.unset_variables().collect::<Vec<_>>(), ["NONE"]);
        let settings = settings.for_a_client();
        assert!(settings.token.is_none() && settings.password.is_none());
        assert!(settings.warnings[0].contains("NONE"));
        let settings = read("{gateway: {auth: {token: {source: 'file', id: 'x'}}}}").unwrap();
        assert!(matches!(settings.token, Some(Setting::Unusable(_))));
    }
}
