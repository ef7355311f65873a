//! Secrets that anybody would try: placeholders, examples of documentation, and what is too short. On loopback they keep
//! nobody out who is not on this machine anyway; beyond it they are an open door, and no gateway starts with one.

/// Why a secret is one of them; `None` when it is not.
pub fn why(secret: &str) -> Option<&'static str> {
    let secret = secret.trim();
    let plain: String = secret.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let has_many = |plain: &str| plain.bytes().any(|byte| Some(byte) != plain.bytes().next());
    if PLACEHOLDERS.contains(&plain.as_str())
        || PARTS_OF_PLACEHOLDERS.iter().any(|part| plain.contains(part))
        || (secret.starts_with('<') && secret.ends_with('>'))
    {
        return Some("is a placeholder out of an example");
    }
    if secret.chars().count() < CHARS_MIN {
        return Some("is shorter than 12 characters");
    }
    (!has_many(&plain)).then_some("is one character over and over")
}

/// A throttled guesser gets some thousand tries a day from each address.
const CHARS_MIN: usize = 12;

/// Letters and digits only, in lower case.
const PLACEHOLDERS: [&str; 20] = [
    "openclawgatewaytoken",
    "gatewaytoken",
    "sharedtoken",
    "sharedsecret",
    "supersecret",
    "topsecret",
    "mysecrettoken",
    "mysecretpassword",
    "secretpassword",
    "secrettoken",
    "password1234",
    "passwordpassword",
    "admin12345678",
    "administrator",
    "clawgateclawgate",
    "openclawopenclaw",
    "123456789012",
    "1234567890123456",
    "abcdefghijkl",
    "qwertyuiop123",
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
    fn what_anybody_would_try_is_weak_and_what_is_generated_is_not() {
        for weak in [
            "changeme",
            "Change-Me-Please",
            "your-token-here",
            "REPLACE_ME_WITH_A_LONG_ONE",
            "<your secret>",
            "<a long random string>",
            "super-secret",
            "t",
            "elevenchars",
            "aaaaaaaaaaaaaaaa",
            "................",
            "1234567890123456",
        ] {
            assert!(why(weak).is_some(), "{weak}");
        }
        for strong in [
            "3f9c2e71b04d5a6688aa10ce",
            "correct horse battery staple",
            "Tr0ub4dor&3xyz",
            "cLaWmArKeR-gateway-token",
        ] {
            assert_eq!(why(strong), None, "{strong}");
        }
    }
}
