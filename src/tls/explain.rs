//! Why TLS to a gateway failed, in words that say what to do, with a code for programs. The fingerprint of a certificate
//! that is not trusted is shown, and never trusted by itself: a person compares it with what the gateway's machine says.

use super::Met;
use clawgate_proto::tls::Fault;

/// A code, and sentences. `pinned` says that one certificate was expected; `own` that the gateway of this configuration
/// was meant, on this machine.
pub fn explain(fault: Fault, met: &Met, url: &str, pinned: bool, own: bool) -> (&'static str, String) {
    let code = code(fault);
    let fingerprint = met.fingerprint.as_deref().unwrap_or("unknown");
    let text = match fault {
        Fault::NotTls if own => format!(
            "what listens at {url} does not speak TLS, and gateway.tls.enabled is true: restart the gateway, so that it does"
        ),
        Fault::NotTls => {
            format!(
                "this port does not speak TLS: {url}\nIs it the right one? An address that begins with ws:// is not encrypted."
            )
        }
        Fault::Pin if own => format!(
            "gateway tls fingerprint mismatch: what listens at {url} is not the gateway of this configuration\nIts certificate \
             has the fingerprint {fingerprint}, and the one in the state folder has another (`clawgate gateway tls` shows it). \
             Nothing was sent."
        ),
        Fault::Pin => format!(
            "gateway tls fingerprint mismatch at {url}\nThe certificate there has the fingerprint {fingerprint}, which is not \
             the expected one. Either the gateway has a new certificate, which `clawgate gateway tls` shows on its machine, \
             or somebody stands between you and it. Nothing was sent."
        ),
        Fault::Certificate => {
            let why = met.why_not.as_deref().unwrap_or("it cannot be used");
            format!(
                "the certificate of {url} is not trusted: {why}\nIf `clawgate gateway tls` on the gateway's machine shows the same \
                 SHA-256, trust it: --tls-fingerprint {fingerprint}\nOr set gateway.remote.tlsFingerprint in the configuration \
                 here. Nothing was sent."
            )
        }
        Fault::Incompatible => format!(
            "{url} speaks no version of TLS that is spoken here: TLS 1.3 or 1.2, with the usual algorithms"
        ),
        Fault::Refused => {
            format!("{url} wants a certificate of this client, or does not like what it was shown")
        }
        Fault::Alert | Fault::Protocol if pinned => {
            format!("TLS to {url} failed: {fault}\nIs it the gateway, and not a proxy before it?")
        }
        Fault::Alert | Fault::Protocol => format!("TLS to {url} failed: {fault}"),
    };
    (code, text)
}

fn code(fault: Fault) -> &'static str {
    match fault {
        Fault::NotTls => "TLS_NOT_SPOKEN",
        Fault::Pin => "TLS_FINGERPRINT_MISMATCH",
        Fault::Certificate => "TLS_CERTIFICATE_UNTRUSTED",
        Fault::Incompatible => "TLS_INCOMPATIBLE",
        Fault::Refused | Fault::Alert | Fault::Protocol => "TLS_FAILED",
    }
}
