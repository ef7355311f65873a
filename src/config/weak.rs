//! Secrets that anybody would try: placeholders, examples of documentation, and what is too short or too plain. On
//! loopback they keep nobody out who is not on this machine anyway, and the audit says so; beyond it they are an open
//! door, and no gateway starts with one. This is the one judge of both.

use core::fmt;

/// Why a secret can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Everybody knows it: from documentation, or the first that comes to mind.
    Placeholder,
    /// It has this many characters.
    Short(usize),
    /// It repeats a few characters.
    Uniform,
}

impl Weakness {
    /// Why this text can be guessed, if it can.
    pub fn of(secret: &str) -> Option<Self> {
        let secret = secret.trim();
        let plain: String =
            secret.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        // `changeme-123`, `<your-token-here>` and the like.
        let stem = plain.trim_end_matches(|c: char| c.is_ascii_digit());
        if PLACEHOLDERS.iter().any(|known| plain == *known || stem == *known)
            || PARTS_OF_PLACEHOLDERS.iter().any(|part| plain.contains(part))
            || (secret.starts_with('<') && secret.ends_with('>'))
        {
            return Some(Self::Placeholder);
        }
        let mut different: Vec<char> = secret.chars().collect();
        let count = different.len();
        different.sort_unstable();
        different.dedup();
        if count < CHARACTERS_MIN {
            return Some(Self::Short(count));
        }
        (different.len() < DIFFERENT_MIN).then_some(Self::Uniform)
    }
}

/// What follows "it".
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placeholder => {
                f.write_str("is out of an example, or one of the words that everybody tries first")
            }
            Self::Short(count) => {
                write!(f, "has only {count} characters, where {CHARACTERS_MIN} are the least")
            }
            Self::Uniform => f.write_str("repeats a few characters"),
        }
    }
}

/// Shorter than this a secret is guessed, given time: 12 letters and digits are some 70 bits, and a throttled guesser gets
/// some thousand tries a day from each address.
const CHARACTERS_MIN: usize = 12;
/// Fewer different characters make a long text short.
const DIFFERENT_MIN: usize = 6;
/// Letters and digits only, in lower case; digits behind one of them change nothing.
const PLACEHOLDERS: [&str; 38] = [
    "yourgatewaytoken",
    "yourgatewaytokenhere",
    "yoursecrettoken",
    "mytoken",
    "mysecrettoken",
    "mypassword",
    "mysecretpassword",
    "token",
    "sharedtoken",
    "secret",
    "sharedsecret",
    "supersecret",
    "topsecret",
    "secrettoken",
    "secretpassword",
    "password",
    "passwordpassword",
    "passw0rd",
    "passwort",
    "gatewaytoken",
    "openclawgatewaytoken",
    "openclaw",
    "openclawopenclaw",
    "clawdbot",
    "clawgate",
    "clawgateclawgate",
    "undefined",
    "null",
    "example",
    "test",
    "admin",
    "administrator",
    "changeit",
    "123456789012",
    "1234567890123456",
    "abcdefghijkl",
    "qwertyuiop",
    "letmein",
];
/// What contains one of these was meant to be replaced.
const PARTS_OF_PLACEHOLDERS: [&str; 11] = [
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "replacewith",
    "yourtoken",
    "yourpassword",
    "yoursecret",
    "yourgatewaytoken",
    "placeholder",
    "inserttoken",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_guessed_is_told_from_what_cannot() {
        let placeholder = Some(Weakness::Placeholder);
        for (text, want) in [
            ("changeme", placeholder),
            ("Change-Me-123", placeholder),
            ("Change-Me-Please", placeholder),
            ("<your-gateway-token-here>", placeholder),
            ("<a long random string>", placeholder),
            ("your-token-here", placeholder),
            ("REPLACE_ME_WITH_A_LONG_ONE", placeholder),
            ("super-secret", placeholder),
            ("undefined", placeholder),
            ("password1234", placeholder),
            ("Admin12345678", placeholder),
            ("qwertyuiop123", placeholder),
            ("1234567890123456", placeholder),
            ("t", Some(Weakness::Short(1))),
            ("hunter2", Some(Weakness::Short(7))),
            (" eleven-long ", Some(Weakness::Short(11))),
            ("aaaaaaaaaaaaaaaa", Some(Weakness::Uniform)),
            ("................", Some(Weakness::Uniform)),
            ("abababababababababab", Some(Weakness::Uniform)),
            ("twelve-long!", None),
            ("correct horse battery staple", None),
            ("Tr0ub4dor&3xyz", None),
            ("3f9c2e71b04d5a6688aa10ce", None),
            ("cLaWmArKeR-gateway-token", None),
        ] {
            assert_eq!(Weakness::of(text), want, "{text}");
        }
    }
}
