//! What should come of a cell, from the specification alone: v4 section 6 and the rules R1 to R8, and the auth and
//! pairing pages where those are silent. Nothing here knows the code under test.

use crate::cell::{Bind, Cell, Client, Device, Loopback, Mode, Origin, Proof, Shown, Way};

/// Whether a credential beside the device proof was good.
enum Auth {
    /// The mode wants none.
    NoneWanted,
    /// The shared secret was proved.
    Secret,
    /// A trusted proxy named a user.
    Proxy,
    /// The tailnet's daemon named a user.
    Tailnet,
    /// None of these: the code of the refusal.
    Failed(&'static str),
}

pub(crate) fn expect(cell: &Cell) -> String {
    let is_node = cell.client == Client::Node;
    let is_page = cell.client == Client::Page;
    let has_origin = cell.origin != Origin::None;
    // R6: whoever is behind a proxy is elsewhere, and what an unnamed proxy says only takes locality away.
    let is_local = cell.bind == Bind::Loopback && cell.way == Way::Direct;

    // R8, v4 5.1: in every mode an Origin is checked, and a page must have one. The name `127.0.0.1` is ours only
    // for who is here; an address that we bind, and the name under which Tailscale serves us, are ours for everybody.
    let is_ours = match cell.origin {
        Origin::None | Origin::Foreign => false,
        Origin::Own => is_local || cell.bind == Bind::Lan || cell.way.is_serve(),
        Origin::Listed => true,
    };
    if (has_origin && !is_ours) || (is_page && !has_origin) {
        return "CONTROL_UI_ORIGIN_NOT_ALLOWED".to_owned();
    }

    let auth = shared(cell);
    if cell.device == Device::None {
        return without_device(cell, &auth, is_local && !has_origin);
    }

    // v4 6.1: a setup code stands beside everything; a device token only where nothing else let the client in.
    let by_code = cell.shown == Shown::Bootstrap;
    let token_is_good = cell.shown == Shown::DeviceToken && cell.device == Device::Paired;
    if let Auth::Failed(code) = auth
        && !by_code
        && !token_is_good
    {
        let explicit = cell.shown == Shown::DeviceToken;
        return if explicit { "AUTH_DEVICE_TOKEN_MISMATCH" } else { code }.to_owned();
    }

    // Auth, pairing exemption (b): the proxy vouches for the person at the page; no token is left there.
    if is_page && matches!(auth, Auth::Proxy) {
        return "in all no-token".to_owned();
    }
    let admitted = if is_node { "in node token" } else { "in all token" };
    if cell.device != Device::New {
        return admitted.to_owned();
    }
    // v4 6.6 and R8. A setup code approves the device of the class it was minted for, wherever that stands; but to a
    // page that calls itself a node it is no shared secret.
    let code_approves = by_code && is_node && !has_origin;
    // A page that is only listed is somebody else's, even here.
    let is_our_page = is_page && cell.origin == Origin::Own;
    let place_approves = is_local && (!has_origin || (is_our_page && matches!(auth, Auth::Secret)));
    if code_approves || place_approves {
        admitted.to_owned()
    } else {
        "PAIRING_REQUIRED not-paired".to_owned()
    }
}

/// v4 6.1 and auth 4.2, 5.1, 5.2.
fn shared(cell: &Cell) -> Auth {
    let (missing, mismatch) = match cell.mode {
        Mode::None => return Auth::NoneWanted,
        // Auth 5.1: final, whatever secret is shown, and whoever else vouches.
        Mode::TrustedProxy if cell.way == Way::Trusted && is_proved(cell) => return Auth::Proxy,
        Mode::TrustedProxy => return Auth::Failed("AUTH_UNAUTHORIZED"),
        Mode::Token => ("AUTH_TOKEN_MISSING", "AUTH_TOKEN_MISMATCH"),
        Mode::Password => ("AUTH_PASSWORD_MISSING", "AUTH_PASSWORD_MISMATCH"),
    };
    // Auth 5.2: a tailnet's user stands in for the secret; one who is none is spoken of where nothing else failed.
    let tailnet = match (cell.way, cell.bind) {
        (Way::Direct | Way::Trusted | Way::Untrusted, _) => None,
        (Way::Serve, Bind::Loopback) => Some(Auth::Tailnet),
        (Way::ServeLies, Bind::Loopback) => Some(Auth::Failed("AUTH_TAILSCALE_IDENTITY_MISMATCH")),
        (Way::ServeAbsent, Bind::Loopback) => Some(Auth::Failed("AUTH_TAILSCALE_WHOIS_FAILED")),
        (Way::Serve | Way::ServeLies | Way::ServeAbsent, Bind::Lan) => {
            Some(Auth::Failed("AUTH_TAILSCALE_PROXY_MISSING"))
        }
    };
    match (cell.shown, tailnet) {
        (Shown::Right, _) => Auth::Secret,
        (_, Some(Auth::Tailnet)) => Auth::Tailnet,
        (Shown::Wrong, _) => Auth::Failed(mismatch),
        (Shown::Nothing | Shown::DeviceToken | Shown::Bootstrap, tailnet) => {
            tailnet.unwrap_or(Auth::Failed(missing))
        }
    }
}

/// `docs/compatibility.md`, `proxy-proof`: whether what comes from the proxy's address is the proxy. A proof that is asked
/// for has to be shown. Without one an address beyond loopback proves it, and loopback only by its owner's word.
fn is_proved(cell: &Cell) -> bool {
    match cell.proof {
        Proof::Right => true,
        Proof::Wrong | Proof::Absent => false,
        Proof::Unset => cell.bind == Bind::Lan || cell.loopback == Loopback::Trusted,
    }
}

/// v4 6.3, and auth 6 for the proxy.
fn without_device(cell: &Cell, auth: &Auth, is_direct_local: bool) -> String {
    let shows_secret = matches!(cell.shown, Shown::Right | Shown::Wrong);
    let outcome = match (cell.client, auth) {
        (Client::Node, _) => "DEVICE_IDENTITY_REQUIRED",
        (Client::Page, Auth::Proxy) => "in all no-token",
        (Client::Page, _) => "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
        (Client::Cli, Auth::Secret) if is_direct_local => "in all no-token",
        (Client::Cli, Auth::Secret | Auth::Proxy) => "in nothing no-token",
        (Client::Cli, Auth::Failed(code)) if shows_secret => code,
        // Who a tailnet's user is does not say which machine this is.
        (Client::Cli, Auth::Failed(_) | Auth::NoneWanted | Auth::Tailnet) => "DEVICE_IDENTITY_REQUIRED",
    };
    outcome.to_owned()
}
