//! When a changed file counts: once it has stayed as it is from one look to the next. Who writes a file writes it in
//! pieces, or puts another one in its place and the files that belong to it a moment later; until all of them are at rest
//! nothing of them is taken over, and then all of it at once. Pure: marks in, a decision out.

use clawgate_proto::host::Version;
use std::path::PathBuf;

/// The files of one configuration, each with its mark.
pub type Marks = Vec<(PathBuf, Version)>;

/// Looks at files that are not those that were known.
#[derive(Debug, Default)]
pub(super) struct Settling {
    marks: Marks,
    /// Looks in a row that found them like this.
    looks: u32,
}

impl Settling {
    /// Nothing is on its way any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The marks that the next look has to find again.
    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Takes a look's marks; says whether they count.
    pub(super) fn has_settled(&mut self, marks: &Marks) -> bool {
        if self.marks != *marks {
            self.marks.clone_from(marks);
            self.looks = 0;
        }
        self.looks += 1;
        // Some editors take a file away before they write it anew.
        let is_missing = marks.first().is_some_and(|(_, mark)| *mark == Version::MISSING);
        self.looks > if is_missing { RETRIES_MISSING } else { RETRIES }
    }
}

/// Looks after the first one.
const RETRIES: u32 = 1;
/// The same where there is no file (spec: config section 6).
const RETRIES_MISSING: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(of: &[u64]) -> Marks {
        of.iter().map(|n| (PathBuf::from("/c"), Version([*n, 0, 0, 0]))).collect()
    }

    #[test]
    fn files_count_when_two_looks_find_the_same() {
        let missing = vec![(PathBuf::from("/c"), Version::MISSING)];
        let mut settling = Settling::default();
        for (found, want) in [
            (marks(&[1]), false),
            (marks(&[2]), false),
            // An included file comes with it.
            (marks(&[2, 1]), false),
            (marks(&[2, 2]), false),
            (marks(&[2, 2]), true),
            (marks(&[2, 2]), true),
            (missing.clone(), false),
            (missing.clone(), false),
            (missing.clone(), true),
            (marks(&[3]), false),
            (missing, false),
            (marks(&[3]), false),
            (marks(&[3]), true),
        ] {
            assert_eq!(settling.has_settled(&found), want, "{found:?}");
        }
        settling.forget();
        assert!(!settling.has_settled(&marks(&[3])));
    }
}
