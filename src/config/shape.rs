//! What a text that was given as a token or a password looks like. People paste the wrong thing: a setup code, an
//! address, a line with quotes. Such a text is told apart before anything is sent, so that its person hears what it is
//! and not only that it is wrong. Nothing here knows whether a secret is right.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// Something that was given where a secret belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A setup code, bare or as a link: it pairs one device, once.
    SetupCode,
    /// An address of a gateway or of its page.
    Address,
    /// `${NAME}`, which nobody replaced.
    Variable,
    /// The value of an HTTP header, with its scheme.
    Header,
    /// What is shown in a secret's place.
    Mark,
    /// Something with a line break or another control character in it.
    Broken,
    /// A text in quotation marks.
    Quoted,
}

impl Shape {
    /// What this text looks like; `None` when it looks like a secret.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let begins =
            |start: &str| text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
        if begins("oc-pair:") || setup_code(text).is_some() {
            return Some(Self::SetupCode);
        }
        if ["http://", "https://", "ws://", "wss://"].into_iter().any(begins) {
            return Some(Self::Address);
        }
        if text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(is_name) {
            return Some(Self::Variable);
        }
        if begins("bearer ") || begins("authorization:") {
            return Some(Self::Header);
        }
        if text == clawgate_config::redact::REDACTED {
            return Some(Self::Mark);
        }
        if text.chars().any(char::is_control) {
            return Some(Self::Broken);
        }
        let is_quoted = |mark: char| text.len() > 2 && text.starts_with(mark) && text.ends_with(mark);
        ['"', '\'', '`'].into_iter().any(is_quoted).then_some(Self::Quoted)
    }

    /// Whether it cannot be meant. A quoted text can: whoever reads the same file in the same way has the same quotes.
    pub fn is_certain(self) -> bool {
        match self {
            Self::SetupCode | Self::Address | Self::Variable | Self::Header | Self::Mark | Self::Broken => {
                true
            }
            Self::Quoted => false,
        }
    }

    /// The rest of a sentence that begins with where the text came from.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::SetupCode => {
                "is a setup code, and no token: it pairs one new device, once. It belongs into the app or the node that \
                 is to be paired; `clawgate token` on the gateway's machine shows the token"
            }
            Self::Address => {
                "is an address, and no token: name the gateway with --url, and give its token here; `clawgate token` on \
                 its machine shows it"
            }
            Self::Variable => {
                "is the name of a variable that nobody replaced: set the variable, and in a shell write it outside of \
                 single quotes"
            }
            Self::Header => "begins like an HTTP header: leave the word in front of the token out",
            Self::Mark => {
                "is what is shown in place of a secret, and not the secret: `clawgate token` on the gateway's machine \
                 shows it"
            }
            Self::Broken => "has a line break or another control character in it: copy it again, as one line",
            Self::Quoted => {
                "has quotation marks around it, which count as part of it: leave them out (files for `docker --env-file` \
                 are read literally)"
            }
        }
    }
}

/// Whether a text could be the token of a device: 32 bytes in base64url.
pub fn is_like_device_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// What a setup code says, bare or as a link: base64url of a JSON object with a bootstrap token in it, padded or not. It
/// holds a secret.
pub fn setup_code(text: &str) -> Option<Value> {
    let text = text.trim();
    let text = text.strip_prefix("oc-pair://").unwrap_or(text);
    // Shorter than the token in it, or longer than anybody prints: no setup code.
    if !(32..=SETUP_CODE_BYTES_MAX).contains(&text.len()) {
        return None;
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&URL_SAFE, config).decode(text).ok()?;
    serde_json::from_slice(&decoded).ok().filter(|value: &Value| value["bootstrapToken"].is_string())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

const SETUP_CODE_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};

    #[test]
    fn what_people_paste_is_told_apart() {
        let code = r#"{"url":"wss://gw.example","bootstrapToken":"abc","expiresAtMs":5}"#;
        for (text, want) in [
            (BASE64_URL_SAFE_NO_PAD.encode(code).as_str(), Some(Shape::SetupCode)),
            (&BASE64_URL_SAFE.encode(code), Some(Shape::SetupCode)),
            ("oc-pair://anything", Some(Shape::SetupCode)),
            ("http://127.0.0.1:18789/#token=abc", Some(Shape::Address)),
            ("WS://a", Some(Shape::Address)),
            (" ${OPENCLAW_GATEWAY_TOKEN}\n", Some(Shape::Variable)),
            ("Bearer abc", Some(Shape::Header)),
            ("authorization: Bearer abc", Some(Shape::Header)),
            ("__OPENCLAW_REDACTED__", Some(Shape::Mark)),
            ("abc\ndef", Some(Shape::Broken)),
            ("\"abc\"", Some(Shape::Quoted)),
            ("'abc'", Some(Shape::Quoted)),
            ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c", None),
            ("correct horse battery staple", None),
            // JSON, but no setup code; a variable beside something; a mark on one side.
            (&BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","anything":"of this length"}"#), None),
            ("a${B}", None),
            ("${}", None),
            ("\"abc", None),
            ("\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(Shape::of(text), want, "{text:?}");
        }
    }

    #[test]
    fn device_tokens_are_known_by_their_form() {
        assert!(is_like_device_token(&BASE64_URL_SAFE_NO_PAD.encode([0xfb; 32])));
        assert!(!is_like_device_token(&"a".repeat(48)) && !is_like_device_token(&"!".repeat(43)));
    }
}
