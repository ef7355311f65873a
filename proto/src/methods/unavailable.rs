//! What this gateway does not have: one list, one answer (spec: v4 section 17, tiers U and R, and what is not built
//! yet). They pass the role and scope checks of the reference first, so that nobody learns more than a scope allows,
//! and are never advertised.
//!
//! The list is text, sorted by name: half the size of a table of structs, and without an address to relocate at each
//! start. A line is `name dialects access`, and `cpw` behind it for a control-plane write.

use super::access::Access;
use crate::dialect::Dialect;

/// A method that is refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Wire name.
    pub name: &'static str,
    /// Who may learn that it is not here.
    pub access: Access,
    /// Whether it is held against the budget of control-plane writes.
    pub control_write: bool,
}

const LIST: &str = include_str!("unavailable.txt");

/// The method of that name, in that dialect.
pub(crate) fn find(name: &str, dialect: Dialect) -> Option<Unavailable> {
    let (mut low, mut high) = (0, LIST.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = LIST[low..middle].rfind('\n').map_or(low, |at| low + at + 1);
        let end = LIST[start..high].find('\n').map_or(high, |at| start + at);
        let line = &LIST[start..end];
        let (found, rest) = line.split_once(' ')?;
        match found.cmp(name) {
            core::cmp::Ordering::Less => low = (end + 1).min(high),
            core::cmp::Ordering::Greater => high = start,
            core::cmp::Ordering::Equal => return read(found, rest, dialect),
        }
    }
    None
}

fn read(name: &'static str, rest: &'static str, dialect: Dialect) -> Option<Unavailable> {
    let mut columns = rest.split(' ');
    let dialects = columns.next()?;
    let access = Access::parse(columns.next()?)?;
    let control_write = columns.next() == Some("cpw");
    let wanted = match dialect {
        Dialect::V3 => '3',
        Dialect::V4 => '4',
    };
    dialects.contains(wanted).then_some(Unavailable { name, access, control_write })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::dialect::BOTH;
    use crate::methods;

    #[test]
    fn every_line_is_found_and_says_all_three() {
        let mut last = "";
        for line in LIST.lines() {
            let columns: Vec<&str> = line.split(' ').collect();
            let name = columns[0];
            assert!(last < name, "{name} is not in order");
            last = name;
            assert!(matches!(columns[1], "3" | "4" | "34"), "{line}");
            assert!(Access::parse(columns[2]).is_some(), "{line}");
            assert!(matches!(columns[3..], [] | ["cpw"]), "{line}");
            for dialect in BOTH {
                let is_there = columns[1].contains(if *dialect == Dialect::V3 { '3' } else { '4' });
                assert_eq!(find(name, *dialect).is_some(), is_there, "{line}");
                assert!(
                    methods::find(name, *dialect).is_none(),
                    "{name} has a row and is said to be missing"
                );
            }
            assert_eq!(
                find(name, Dialect::V4).is_some_and(|found| found.control_write),
                line.ends_with(" cpw")
            );
        }
        assert!(LIST.ends_with('\n') && !LIST.contains("\n\n") && !LIST.contains('\r'));
    }

    #[test]
    fn what_is_not_on_the_list_is_not_found() {
        for name in
            ["", "a", "zzz", "agent ", "agen", "agent.", "agent 34 dyn", "\n", "node.pair", "worktrees"]
        {
            for dialect in BOTH {
                assert_eq!(find(name, *dialect), None, "{name:?}");
            }
        }
    }
}
