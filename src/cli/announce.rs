//! What a start tells the network of its gateway, and `clawgate gateway zone`.

use super::plan::Plan;
use super::{Failure, print};
use crate::config::settings::TailscaleMode;
use crate::config::{self, Opened, startable};
use crate::discovery::network::Reach;
use crate::discovery::zone_file::{self, Written};
use crate::discovery::{Discovery, Gateway};
use crate::environment::Environment;
use crate::host::facts;
use crate::host::files::Files;
use crate::listen::Place;
use crate::log::Logger;
use crate::storage::Storage;
use crate::tls;
use crate::tls::Served;
use crate::tls::files::Files as TlsFiles;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::mdns::{Fingerprint, Service};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is announced on the local network, and where.
///
/// # Errors
/// Nothing is; why, for a person.
pub(super) fn on_networks(plan: &Plan, addresses: &[SocketAddr]) -> Result<(Service, Reach), &'static str> {
    let hostname = facts::hostname();
    plan.discovery.announcement(&gateway(plan, addresses, &hostname))
}

/// What there is to say of it by the time it is asked for: the machine may get another name, the certificate another
/// key, and the canvas may come and go, all without a restart.
pub(super) fn as_it_is(
    plan: &Plan,
    first: &Service,
    (served, files): (Option<Served>, Arc<Files>),
) -> impl FnMut() -> Service + Send + use<> + 'static {
    let (discovery, first) = (plan.discovery.clone(), first.clone());
    let (place, device_id) = (plan.place, plan.identity.key.device_id().to_owned());
    move || {
        discovery.service(&Gateway {
            place,
            port: first.port,
            hostname: &facts::hostname(),
            device_id: &device_id,
            has_canvas: files.has_canvas(),
            tailnet_dns: first.tailnet_dns.clone(),
            tls: served.as_ref().and_then(Served::digest).map(Fingerprint::new),
        })
    }
}

/// One line for people.
pub(super) fn line(announced: &Result<(Service, Reach), &'static str>) -> String {
    match announced {
        Err(why) => (*why).to_owned(),
        Ok((service, reach)) => {
            let place = match reach {
                Reach::Every => "on every network".to_owned(),
                Reach::Only(address) => format!("on the network of {address}"),
            };
            format!("as \"{}\", {}.local, {place}", service.instance(false), service.host(false))
        }
    }
}

/// Writes the zone file, where there is to be one. A fault of it keeps no gateway from its start.
pub(super) fn in_dns(plan: &Plan, addresses: &[SocketAddr], logger: &Logger) {
    let hostname = facts::hostname();
    let Some(zone) = zone_file::zone(&plan.discovery, &gateway(plan, addresses, &hostname)) else { return };
    let written = zone.and_then(|zone| {
        let is_reached = addresses
            .iter()
            .any(|address| address.ip().is_unspecified() || address.ip() == IpAddr::V4(zone.ipv4));
        if !is_reached && plan.settings.tailscale_mode == TailscaleMode::Off {
            return Err(format!(
                "nobody reaches this gateway at {}, its tailnet address: set gateway.bind to tailnet or lan, or serve it \
                 with Tailscale (gateway.tailscale.mode)",
                zone.ipv4
            ));
        }
        zone_file::write(&plan.storage, &plan.places.state_dir, &zone)
    });
    logger.log(&match written {
        Ok(Written::New(path)) => Record::new(Level::Info, "zone.written").field("file", path.display()),
        Ok(Written::Same(path)) => Record::new(Level::Debug, "zone.unchanged").field("file", path.display()),
        Err(why) => Record::new(Level::Warn, "zone.failed").field("why", why),
    });
}

fn gateway<'a>(plan: &'a Plan, addresses: &[SocketAddr], hostname: &'a str) -> Gateway<'a> {
    let is_served = plan.settings.tailscale_mode != TailscaleMode::Off;
    let asked = || plan.tailnet_name().ok();
    let tailnet_dns = plan.discovery.tailnet_dns.clone().or_else(|| is_served.then(asked).flatten());
    Gateway {
        place: plan.place,
        port: addresses.first().map_or(plan.port, SocketAddr::port),
        hostname,
        device_id: plan.identity.key.device_id(),
        has_canvas: plan.pages.canvas.is_some(),
        tailnet_dns,
        tls: plan.tls.as_ref().and_then(|tls| tls.shown().digest()).map(Fingerprint::new),
    }
}

/// Prints the zone file that a gateway of this configuration writes.
///
/// # Errors
/// There is to be none, or it cannot be known.
pub(super) fn zone(environment: &Environment) -> Result<(), Failure> {
    let storage = Storage::on_disk();
    let Opened { places, settings, environment, .. } =
        config::open(&storage, environment).map_err(Failure::Failed)?;
    let port = startable::port(None, &environment, &settings).map_err(Failure::Failed)?;
    let discovery = Discovery::new(&settings.discovery, &environment);
    let hostname = facts::hostname();
    let files = TlsFiles::of(&settings.tls, &environment, &places.state_dir);
    let shown =
        if settings.tls.enabled { tls::shown(&files, &storage).map_err(Failure::Failed)? } else { None };
    let tls = shown.and_then(|shown| shown.digest()).map(Fingerprint::new);
    let gateway = Gateway {
        place: Place::Tailnet,
        port,
        hostname: &hostname,
        device_id: "",
        has_canvas: false,
        tailnet_dns: discovery.tailnet_dns.clone(),
        tls,
    };
    let zone = zone_file::zone(&discovery, &gateway).ok_or_else(|| {
        Failure::Failed(
            "this gateway is not announced by DNS; set discovery.wideArea.enabled to true and discovery.wideArea.domain to \
             a domain such as openclaw.internal"
                .to_owned(),
        )
    })?;
    let zone = zone.map_err(Failure::Failed)?;
    print(&zone_file::current(&storage, &places.state_dir, &zone).map_err(Failure::Failed)?)
}
