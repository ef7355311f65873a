//! Identities that somebody else vouches for: the user of a proxy (spec: auth section 5.1) and the user of a tailnet
//! (section 5.2). The threat: whoever reaches the port can write any header. So a header counts only from the hop that
//! is configured to write it, and a tailnet's user only when the daemon of this machine says the same.
//!
//! A local program can come from loopback like a proxy of this machine (CVE-2026-53832). There the address proves
//! nothing: the proxy must prove itself, or its owner must have said that every local program may speak for it.

use super::peers::Handshake;
use super::users::User;
use super::{Gateway, Purpose};
use crate::config::{AuthMode, Config};
use crate::connect::ConnectRequest;
use crate::error::{ProxyFault, TailnetFault};
use crate::host::{HostAnswer, HostFault, HostRequest};
use crate::http::HttpRequest;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::log::{Level, Record};
use crate::net::{self, ClientAddress};
use crate::output::Output;
use crate::scope::Scopes;
use crate::time::{Mono, Now};
use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

/// The user that the proxy in front names, when that one may come in.
///
/// # Errors
/// The first thing that is missing.
pub(super) fn proxy_user<'a>(
    config: &'a Config,
    client: &ClientAddress,
    request: &'a HttpRequest,
) -> Result<&'a str, ProxyFault> {
    let Some(proxy) = &config.auth.trusted_proxy else { return Err(ProxyFault::NotConfigured) };
    if config.trusted_proxies.is_empty() {
        return Err(ProxyFault::NoProxies);
    }
    let socket = client.socket;
    let mut naming_it = config.trusted_proxies.iter().filter(|range| range.contains(socket));
    if naming_it.clone().next().is_none() {
        return Err(ProxyFault::UntrustedSource);
    }
    if socket.is_loopback() {
        let is_named = naming_it.any(|range| range.is_loopback());
        if !is_named || (proxy.proof.is_none() && !proxy.trusts_loopback) {
            return Err(ProxyFault::LoopbackSource);
        }
    }
    if let Some((name, secret)) = &proxy.proof
        && !only(request, name).is_some_and(|shown| secret.matches(shown))
    {
        return Err(ProxyFault::ProofMismatch);
    }
    let is_blank = |name: &String| {
        let name = name.trim().to_ascii_lowercase();
        request.header(&name).is_none_or(|value| value.trim().is_empty())
    };
    if let Some(missing) = proxy.required_headers.iter().position(is_blank) {
        return Err(ProxyFault::MissingHeader(missing));
    }
    // Twice the same header is a client's beside the proxy's: which one is whose cannot be told.
    let Some(user) = only(request, &proxy.user_header) else { return Err(ProxyFault::UserMissing) };
    if !proxy.allow_users.is_empty() && !proxy.allow_users.iter().any(|allowed| allowed.trim() == user) {
        return Err(ProxyFault::UserNotAllowed);
    }
    Ok(user)
}

/// What the proxy in front lets its user do at most, when it says so (spec: v4 section 10); an empty header lets it do
/// nothing. It only ever narrows, so another one, which a client may have written, narrows further.
pub(super) fn scope_cap(config: &Config, client: &ClientAddress, request: &HttpRequest) -> Option<Scopes> {
    let is_proxied = config.auth.mode == AuthMode::TrustedProxy;
    let mut caps = request.headers(SCOPES).map(|list| Scopes::new(list.split(',')));
    let first = caps.next().filter(|_| is_proxied && proxy_user(config, client, request).is_ok())?;
    Some(caps.fold(first, |cap, more| cap.intersection(&more)))
}

const SCOPES: &str = "x-openclaw-scopes";

/// The value of a header that is there once and not blank.
fn only<'a>(request: &'a HttpRequest, name: &'a str) -> Option<&'a str> {
    let mut values = request.headers(name);
    let value = values.next().map(str::trim).filter(|value| !value.is_empty())?;
    values.next().is_none().then_some(value)
}

/// What came of a tailnet identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tailnet {
    /// None is shown, or none is wanted.
    Unclaimed,
    /// The daemon agrees.
    Proved,
    /// It does not count.
    Refused(TailnetFault),
}

/// An identity as the headers of Tailscale Serve show it.
#[derive(Debug)]
pub(super) struct Claim {
    ip: IpAddr,
    login: String,
}

/// The identity that a request shows, if one would count here.
///
/// # Errors
/// It is shown in a way that Tailscale Serve does not.
pub(super) fn tailnet_claim(config: &Config, handshake: &Handshake) -> Result<Option<Claim>, TailnetFault> {
    let auth = &config.auth;
    let is_wanted = match auth.mode {
        AuthMode::Token | AuthMode::Password => auth.allow_tailscale && !handshake.address.local,
        AuthMode::None | AuthMode::TrustedProxy => false,
    };
    let request = &handshake.request;
    if !is_wanted || request.header(LOGIN).is_none() {
        return Ok(None);
    }
    let Some(login) = only(request, LOGIN) else { return Err(TailnetFault::UserMissing) };
    let is_there = |name: &&str| request.header(name).is_some_and(|value| !value.trim().is_empty());
    if !handshake.address.socket.is_loopback() || !SERVE_HEADERS.iter().all(is_there) {
        return Err(TailnetFault::ProxyMissing);
    }
    let Some(ip) = net::client_of_local_proxy(request) else { return Err(TailnetFault::ProxyMissing) };
    Ok(Some(Claim { ip, login: login.to_lowercase() }))
}

const LOGIN: &str = "tailscale-user-login";
const SERVE_HEADERS: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// Who the tailnet's addresses are, as the daemon said not long ago, and who waits for it to say so.
#[derive(Debug, Default)]
pub(super) struct Whois {
    known: BTreeMap<IpAddr, Known>,
    waiting: BTreeMap<IpAddr, Vec<(ConnId, Box<ConnectRequest>)>>,
    /// Addresses that were not asked for yet.
    queue: VecDeque<IpAddr>,
    /// Questions that the host has.
    asked: usize,
}

#[derive(Debug)]
struct Known {
    until: Mono,
    /// In lower case; `None` when the daemon does not tell.
    login: Option<Box<str>>,
}

impl Whois {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    /// What is known of a claim.
    fn judge(&self, now: Mono, claim: &Claim) -> Option<Tailnet> {
        let known = self.known.get(&claim.ip).filter(|known| known.until > now)?;
        Some(match &known.login {
            None => Tailnet::Refused(TailnetFault::WhoisFailed),
            Some(login) if **login == *claim.login => Tailnet::Proved,
            Some(_) => Tailnet::Refused(TailnetFault::UserMismatch),
        })
    }

    fn learn(&mut self, now: Mono, ip: IpAddr, login: Option<&str>, limits: &Limits) {
        let is_full = self.known.len() >= limits.whois_known_max && !self.known.contains_key(&ip);
        if is_full {
            self.known.retain(|_, known| known.until > now);
        }
        if self.known.len() >= limits.whois_known_max && !self.known.contains_key(&ip) {
            self.known.pop_first();
        }
        let login = login.map(|login| login.trim().to_lowercase()).filter(|login| !login.is_empty());
        let life_ms = if login.is_some() { limits.whois_life_ms } else { limits.whois_fault_life_ms };
        let login = login.map(Into::into);
        self.known.insert(ip, Known { until: now.plus_millis(life_ms), login });
    }
}

impl Gateway {
    /// Who is vouched for in this handshake, by a proxy or by a tailnet. A name that is too long to be kept is nobody's.
    pub(super) fn vouched_user(&self, now: Now, handshake: &Handshake) -> Option<Box<User>> {
        let config = &*self.config;
        let name: Box<str> = match config.auth.mode {
            AuthMode::TrustedProxy => proxy_user(config, &handshake.address, &handshake.request).ok()?.into(),
            AuthMode::None | AuthMode::Token | AuthMode::Password => {
                let claim = tailnet_claim(config, handshake).ok()??;
                let is_proved = self.whois.judge(now.mono, &claim) == Some(Tailnet::Proved);
                is_proved.then(|| claim.login.into_boxed_str())?
            }
        };
        let is_kept = name.len() <= config.limits.user_name_bytes_max;
        is_kept.then(|| Box::new(User { name, since_ms: now.wall.0 }))
    }

    /// Decides about a tailnet identity, or keeps the `connect` until the daemon has been asked: then nothing is given
    /// back, and [`Self::whois_answered`] goes on.
    pub(super) fn tailnet(
        &mut self,
        now: Now,
        conn: ConnId,
        request: Box<ConnectRequest>,
        out: &mut Vec<Output>,
    ) -> Option<(Box<ConnectRequest>, Tailnet)> {
        let Some(super::peers::Phase::Handshake(handshake)) = self.peers.get(conn).map(|slot| &slot.phase)
        else {
            return None;
        };
        let claim = match tailnet_claim(&self.config, handshake) {
            Ok(None) => return Some((request, Tailnet::Unclaimed)),
            Err(fault) => return Some((request, Tailnet::Refused(fault))),
            Ok(Some(claim)) => claim,
        };
        if let Some(outcome) = self.whois.judge(now.mono, &claim) {
            return Some((request, outcome));
        }
        if self.whois.waiting() >= self.config.limits.whois_waiting_max {
            return Some((request, Tailnet::Refused(TailnetFault::WhoisFailed)));
        }
        let ip = claim.ip;
        let waiting = self.whois.waiting.entry(ip).or_default();
        if waiting.is_empty() {
            self.whois.queue.push_back(ip);
        }
        waiting.push((conn, request));
        self.ask_whois(now, out);
        None
    }

    /// Asks for the next address, unless enough are being asked for: the host has other things to do as well.
    fn ask_whois(&mut self, now: Now, out: &mut Vec<Output>) {
        while self.whois.asked < self.config.limits.whois_in_flight_max
            && let Some(ip) = self.whois.queue.pop_front()
        {
            self.whois.asked += 1;
            let timeout_ms = self.config.limits.whois_timeout_ms;
            self.ask_host_for(now, timeout_ms, HostRequest::WhoIs { ip }, Purpose::WhoIs { ip }, out);
        }
    }

    /// The daemon has said who an address is, or has not: whoever waited is decided about.
    pub(super) fn whois_answered(
        &mut self,
        now: Now,
        ip: IpAddr,
        answer: Option<HostAnswer>,
        out: &mut Vec<Output>,
    ) {
        let told = match answer {
            Some(HostAnswer::WhoIs(told)) => told,
            Some(_) | None => Err(HostFault("no answer in time".to_owned())),
        };
        self.whois.asked -= 1;
        if let Err(HostFault(why)) = &told {
            out.push(Output::Log(
                Record::new(Level::Warn, "tailscale.whois-failed")
                    .field("address", ip)
                    .field("why", why)
                    .field("hint", "is tailscaled running, and may this user ask it?"),
            ));
        }
        let limits = &self.config.limits;
        self.whois.learn(now.mono, ip, told.as_deref().ok(), limits);
        for (conn, request) in self.whois.waiting.remove(&ip).unwrap_or_default() {
            let outcome = self.peers.get(conn).and_then(|slot| {
                let super::peers::Phase::Handshake(handshake) = &slot.phase else { return None };
                match tailnet_claim(&self.config, handshake) {
                    Ok(None) => Some(Tailnet::Unclaimed),
                    Err(fault) => Some(Tailnet::Refused(fault)),
                    Ok(Some(claim)) => Some(
                        self.whois
                            .judge(now.mono, &claim)
                            .unwrap_or(Tailnet::Refused(TailnetFault::WhoisFailed)),
                    ),
                }
            });
            // Who left meanwhile is not decided about.
            if let Some(outcome) = outcome {
                self.connect_known(now, conn, *request, outcome, out);
            }
        }
        self.ask_whois(now, out);
    }
}
