//! What a browser is told about the page at the gateway's own address: what it may load, and that nobody frames it.

use crate::http::HttpResponse;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

/// Scripts that may stand in a page; further ones do not run.
const INLINE_SCRIPTS_MAX: usize = 16;

/// The headers of everything of that page: an installed Control UI loads nothing from elsewhere but fonts and pictures,
/// the control page nothing at all.
pub(crate) fn guard_control_ui(built_in: bool, response: HttpResponse) -> HttpResponse {
    if built_in { guard(response, CONTROL_PAGE.to_owned()) } else { guard(response, control_ui("")) }
}

/// The headers of the page itself of an installed Control UI. The one of release 2026.3.13 has no script in it; the one
/// of 2026.9.6 has two, and compiles WebAssembly. Where `page` is only its beginning, scripts behind that do not run.
pub(super) fn guard_page(page: &[u8], response: HttpResponse) -> HttpResponse {
    let mut scripts = String::new();
    for text in inline_scripts(page) {
        // Hashed as a browser has it (CSP level 3, section 6.7.3.3): its lines end with line feeds.
        let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
        scripts.push_str(&format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text))));
    }
    guard(response, control_ui(&format!("{scripts} 'wasm-unsafe-eval'")))
}

fn guard(response: HttpResponse, policy: String) -> HttpResponse {
    response.with("X-Frame-Options", "DENY").with("Content-Security-Policy", policy)
}

/// The texts of the scripts in a page. One too many does no harm: whoever wrote the page may run what is in it.
fn inline_scripts(page: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = page;
    while found.len() < INLINE_SCRIPTS_MAX
        && let Some((_, element)) = split_at(rest, b"<script")
        && let Some(head) = tag_end(element)
        && let Some((text, behind)) = split_at(&element[head + 1..], b"</script")
    {
        if !text.trim_ascii().is_empty() {
            found.push(text);
        }
        rest = behind;
    }
    found
}

/// What stands before a word in any case, and what behind it.
fn split_at<'a>(text: &'a [u8], word: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))?;
    Some((&text[..at], &text[at + word.len()..]))
}

/// Where a tag ends: at the first `>` outside of quotes.
fn tag_end(tag: &[u8]) -> Option<usize> {
    let mut quote = None;
    tag.iter().position(|&byte| {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        quote.is_none() && byte == b'>'
    })
}

fn control_ui(scripts: &str) -> String {
    format!(
        "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; script-src 'self'{scripts}; \
         style-src 'self' 'unsafe-inline' https://fonts.googleapis.com; img-src 'self' data: blob: https:; \
         media-src 'self' data: blob:; font-src 'self' https://fonts.gstatic.com; worker-src 'self'; \
         connect-src 'self' ws: wss: data:"
    )
}

const CONTROL_PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                            img-src 'self' data: blob:; frame-src 'self'; base-uri 'none'; form-action 'none'; \
                            frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn scripts_of(page: &str) -> Vec<&str> {
        inline_scripts(page.as_bytes()).into_iter().map(|text| core::str::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn the_scripts_of_a_page_are_found() {
        for (page, want) in [
            ("", vec![]),
            ("<p>no script</p>", vec![]),
            ("<script>a()</script>", vec!["a()"]),
            (
                "<SCRIPT data-x=\"1>2\" async>\n a() \n</Script ><script>b()</script>",
                vec!["\n a() \n", "b()"],
            ),
            ("<script src=\"x.js\"></script><script type='module'>b('</p>')</script>", vec!["b('</p>')"]),
            // What does not end does not run either.
            ("<script>a()", vec![]),
            ("<script data-x=\">a()</script>", vec![]),
            ("<script", vec![]),
        ] {
            assert_eq!(scripts_of(page), want, "{page}");
        }
        let many = "<script>a()</script>".repeat(INLINE_SCRIPTS_MAX + 1);
        assert_eq!(scripts_of(&many).len(), INLINE_SCRIPTS_MAX);
    }

    /// The hash is what `openssl dgst -sha256 -binary | base64` gives for `alert(1)`.
    #[test]
    fn a_script_of_the_page_is_named_by_its_hash() {
        let policy = |page: &str| {
            let response = guard_page(page.as_bytes(), HttpResponse::text(200, ""));
            let (_, policy) =
                response.headers.iter().find(|(name, _)| *name == "Content-Security-Policy").unwrap();
            policy.split("; ").find(|part| part.starts_with("script-src")).unwrap().to_owned()
        };
        assert_eq!(policy("<p>"), "script-src 'self' 'wasm-unsafe-eval'");
        assert_eq!(
            policy("<script>alert(1)</script>"),
            "script-src 'self' 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=' 'wasm-unsafe-eval'"
        );
        assert_eq!(policy("<script>a()\r\nb()</script>"), policy("<script>a()\nb()</script>"));
    }
}
