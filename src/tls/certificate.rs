//! What has to be known of a certificate besides its bytes: how long it is valid, and who signed it (RFC 5280
//! section 4.1). Nothing here is trusted for anything: it is for the file of our own owner, and for texts.

/// A certificate, as far as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outline<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// Milliseconds of the wall clock; 0 for what is before 1970.
    pub(super) not_before_ms: u64,
    pub(super) not_after_ms: u64,
}

impl<'a> Outline<'a> {
    /// `None` for what is no certificate.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let (certificate, _) = element(der, SEQUENCE)?;
        let (mut rest, _) = element(certificate, SEQUENCE)?;
        if rest.first() == Some(&VERSION) {
            (_, rest) = element(rest, VERSION)?;
        }
        (_, rest) = element(rest, INTEGER)?; // serial number
        (_, rest) = element(rest, SEQUENCE)?; // algorithm
        let issuer;
        (issuer, rest) = element(rest, SEQUENCE)?;
        let validity;
        (validity, rest) = element(rest, SEQUENCE)?;
        let (subject, _) = element(rest, SEQUENCE)?;
        let (not_before_ms, after) = time(validity)?;
        let (not_after_ms, _) = time(after)?;
        Some(Self { issuer, subject, not_before_ms, not_after_ms })
    }
}

/// The content of an element of this type, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = der else { return None };
    if *found != tag {
        return None;
    }
    let (len, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let digits = usize::from(first & 0x7f);
        if digits == 0 || digits > LENGTH_BYTES_MAX || rest.len() < digits {
            return None;
        }
        let (digits, rest) = rest.split_at(digits);
        (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
    };
    (len <= rest.len()).then(|| rest.split_at(len))
}

/// A time, and what follows it. RFC 5280 section 4.1.2.5: in UTC, with seconds.
fn time(der: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest, century) = match element(der, UTC_TIME) {
        // Two digits: 50 is 1950, 49 is 2049.
        Some((text, rest)) => (text, rest, if text.first()? >= &b'5' { 1900 } else { 2000 }),
        None => {
            let (text, rest) = element(der, GENERALIZED_TIME)?;
            let (century, text) = text.split_at_checked(2)?;
            (text, rest, 100 * number(century)?)
        }
    };
    let [text @ .., b'Z'] = text else { return None };
    if text.len() != 12 {
        return None;
    }
    let mut parts = text.chunks(2).map(number);
    let mut next = || parts.next().flatten();
    let (year, month, day) = (century + next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((u64::try_from(seconds).unwrap_or(0) * 1_000, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// Of the Gregorian calendar, whose years begin in March here, so that a leap day is the last of one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// 16 MiB are enough for a certificate.
const LENGTH_BYTES_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair;

    #[test]
    fn what_was_made_is_read_again() {
        let now_ms = 1_790_000_000_000;
        let made = pair::make(&["localhost".to_owned()], now_ms).unwrap_or_default();
        let der = pair::certificates(made.0.as_bytes()).unwrap_or_default().remove(0);
        let outline = Outline::read(&der);
        let (before, after) = outline.map_or((0, 0), |found| (found.not_before_ms, found.not_after_ms));
        assert_eq!((before, after), (now_ms - 86_400_000, now_ms + 3_650 * 86_400_000));
        assert!(outline.is_some_and(|found| found.issuer == found.subject && !found.subject.is_empty()));
        // Whatever is missing or changed, nothing panics.
        for end in 0..der.len() {
            let _ = Outline::read(&der[..end]);
        }
        for at in 0..der.len().min(300) {
            for byte in [0, 0x7f, 0x80, 0x83, 0xff] {
                let mut broken = der.to_vec();
                broken[at] = byte;
                let _ = Outline::read(&broken);
            }
        }
        assert_eq!(Outline::read(&[]), None);
    }

    #[test]
    fn times_of_both_forms() {
        let utc = |text: &str| {
            let der = [&[UTC_TIME, text.len() as u8], text.as_bytes()].concat();
            time(&der).map(|(ms, _)| ms / 1_000)
        };
        let general = |text: &str| {
            let der = [&[GENERALIZED_TIME, text.len() as u8], text.as_bytes()].concat();
            time(&der).map(|(ms, _)| ms / 1_000)
        };
        assert_eq!(utc("700101000000Z"), Some(0));
        assert_eq!(utc("000229120000Z"), Some(951_825_600));
        assert_eq!(utc("491231235959Z"), Some(2_524_607_999));
        assert_eq!(utc("500101000000Z"), Some(0), "1950 is long ago");
        assert_eq!(general("20500101000000Z"), Some(2_524_608_000));
        assert_eq!(general("21000301000000Z"), Some(4_107_542_400));
        for odd in ["", "700101000000", "7001010000Z", "701301000000Z", "7O0101000000Z", "700101246000Z"] {
            assert_eq!(utc(odd), None, "{odd}");
        }
        assert_eq!(general("2"), None);
    }
}
