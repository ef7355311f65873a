//! The dates of HTTP (RFC 9110 section 5.6.7): one format to write, and the only one that is read.

use crate::time::Wall;

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// RFC 9110 5.6.7, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn imf_fixdate(wall: Wall) -> String {
    // The format has four digits for the year: a clock beyond them shows its last second.
    let seconds = (wall.0 / 1_000).min(253_402_300_799);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Gregorian calendar from a day count, with years that begin in March so that the leap day is last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 2 } else { march_month - 10 };
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        WEEKDAYS[(days % 7) as usize],
        MONTHS[month as usize],
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// Reads what [`imf_fixdate`] writes, and nothing else: the two older formats are no longer sent, and a date that is not
/// understood is one that was not sent.
pub(crate) fn parse_imf_fixdate(text: &str) -> Option<Wall> {
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = words.next()?.split(':').map(str::parse::<u64>);
    let mut next = || clock.next()?.ok().filter(|part| *part < 60);
    let second_of_day = next()? * 3_600 + next()? * 60 + next()?;
    // The way back of the count above.
    let (shifted_year, shifted_month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + day;
    let seconds = days.checked_sub(719_469)? * 86_400 + second_of_day;
    let wall = Wall(seconds * 1_000);
    // A wrong weekday, a thirtieth of February, spaces too many: not the date that it says it is.
    (imf_fixdate(wall) == text).then_some(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for days in (0..2_932_896).step_by(37) {
            let wall = Wall((days * 86_400 + days % 86_400) * 1_000);
            assert_eq!(parse_imf_fixdate(&imf_fixdate(wall)), Some(wall), "{}", imf_fixdate(wall));
        }
        assert_eq!(imf_fixdate(Wall(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn nothing_else_is() {
        for text in [
            "",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 2027 00:00:00 GMT",
            "Wed, 00 Jan 1970 00:00:00 GMT",
            "Thu, 01 Jan 0000 00:00:00 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        ] {
            assert_eq!(parse_imf_fixdate(text), None, "{text}");
        }
    }
}
