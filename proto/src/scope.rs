//! Roles and scopes, and which scope satisfies which (spec: v4 section 10).

use core::fmt;
use std::collections::BTreeSet;

/// What kind of peer this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A person's tool: command line, page, app.
    Operator,
    /// A device that offers commands.
    Node,
}

impl Role {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }

    /// Parses the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "operator" => Some(Self::Operator),
            "node" => Some(Self::Node),
            _ => None,
        }
    }
}

/// `operator.admin`.
pub const ADMIN: &str = "operator.admin";
/// `operator.read`.
pub const READ: &str = "operator.read";
/// `operator.write`.
pub const WRITE: &str = "operator.write";
/// `operator.pairing`.
pub const PAIRING: &str = "operator.pairing";
/// `operator.approvals`.
pub const APPROVALS: &str = "operator.approvals";
/// `operator.questions`.
pub const QUESTIONS: &str = "operator.questions";
/// `operator.talk`.
pub const TALK: &str = "operator.talk";
/// `operator.talk.secrets`.
pub const TALK_SECRETS: &str = "operator.talk.secrets";
/// `operator.sessions.read`.
pub const SESSIONS_READ: &str = "operator.sessions.read";
/// `operator.sessions.write`.
pub const SESSIONS_WRITE: &str = "operator.sessions.write";

/// A list of scopes: trimmed, without blanks or repeats, in the order first seen.
#[derive(Clone, Default)]
pub struct Scopes {
    list: Vec<String>,
    /// The same, to search in. Empty while there are few, as honest peers have: but peers choose how many there are, and
    /// they are looked at with every request, under the gateway's lock.
    index: BTreeSet<String>,
}

impl Scopes {
    /// Normalises a list.
    pub fn new<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Self {
        let mut seen = BTreeSet::new();
        let mut out: Vec<String> = Vec::new();
        for scope in list {
            let scope = scope.as_ref().trim();
            if scope.is_empty() {
                continue;
            }
            // A search through few is the cheapest; but peers choose how many there are.
            let is_new = if out.len() < FEW {
                !out.iter().any(|have| have == scope)
            } else {
                if seen.is_empty() {
                    seen.extend(out.iter().cloned());
                }
                seen.insert(scope.to_owned())
            };
            if is_new {
                out.push(scope.to_owned());
            }
        }
        Self { list: out, index: seen }
    }

    /// The scopes, in order.
    pub fn as_slice(&self) -> &[String] {
        &self.list
    }

    /// The scopes, sorted.
    pub fn sorted(&self) -> Vec<String> {
        let mut out = self.list.clone();
        out.sort();
        out
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether an operator holding these satisfies `required`.
    pub fn satisfies(&self, required: &str) -> bool {
        let has = |scope: &str| self.has(scope);
        if has(required) || (required.starts_with("operator.") && has(ADMIN)) {
            return true;
        }
        match required {
            READ | TALK | SESSIONS_WRITE => has(WRITE),
            SESSIONS_READ => has(READ) || has(WRITE) || has(SESSIONS_WRITE),
            _ => false,
        }
    }

    /// The first of `requested` that `role` may not have when it was granted these; `None` when all are covered.
    /// Implications hold for operators only; every other role needs the literal scope.
    pub fn first_uncovered<'a>(&self, role: Role, requested: &'a Self) -> Option<&'a str> {
        requested.list.iter().map(String::as_str).find(|scope| match role {
            Role::Operator => !self.satisfies(scope),
            Role::Node => !self.has(scope),
        })
    }

    /// These and those.
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.list.iter().chain(&other.list))
    }

    /// What an operator may do by these and by those as well: of each list, what the other satisfies. What neither names
    /// and both only imply is left out.
    pub fn intersection(&self, other: &Self) -> Self {
        let ours = self.list.iter().filter(|scope| other.satisfies(scope));
        Self::new(ours.chain(other.list.iter().filter(|scope| self.satisfies(scope))))
    }

    fn has(&self, scope: &str) -> bool {
        if self.index.is_empty() {
            self.list.iter().any(|have| have == scope)
        } else {
            self.index.contains(scope)
        }
    }
}

impl PartialEq for Scopes {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Scopes {}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scopes").field(&self.list).finish()
    }
}

/// As many scopes as honest peers have.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_scopes_are_sorted_out_without_comparing_each_with_each() {
        // As many as fit into a first message. Compared pairwise, this would be three thousand million
        // comparisons, under the gateway's lock, for a peer that proved nothing.
        let names: Vec<String> = (0..80_000).map(|n| format!(" s{}", n % 40_000 + n / 40_000)).collect();
        let scopes = Scopes::new(&names);
        assert_eq!(scopes.as_slice().len(), 40_001);
        assert_eq!((scopes.as_slice()[0].as_str(), scopes.as_slice()[40_000].as_str()), ("s0", "s40000"));
        // Nor do two of them, as when such a device comes back.
        for role in [Role::Operator, Role::Node] {
            assert_eq!(scopes.first_uncovered(role, &Scopes::new(&names)), None);
            assert_eq!(Scopes::new(&names[1..40_000]).first_uncovered(role, &scopes), Some("s0"));
        }
        assert_eq!(Scopes::new(["b", " ", "a", "b ", ""]).as_slice(), ["b", "a"]);
    }

    #[test]
    fn what_two_allow_is_no_more_than_what_each_allows() {
        let names =
            [ADMIN, READ, WRITE, PAIRING, TALK, SESSIONS_READ, SESSIONS_WRITE, "operator.other", "other"];
        let lists: Vec<Scopes> = (0..1_u32 << names.len())
            .filter(|bits| bits.count_ones() <= 3)
            .map(|bits| {
                Scopes::new(
                    names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| name),
                )
            })
            .collect();
        for ours in &lists {
            for theirs in &lists {
                let both = ours.intersection(theirs);
                for name in names {
                    let each = ours.satisfies(name) && theirs.satisfies(name);
                    let is_named = ours.has(name) || theirs.has(name);
                    assert!(each || !both.satisfies(name), "{name}: {ours:?} and {theirs:?} are {both:?}");
                    assert!(
                        !each || !is_named || both.has(name),
                        "{name}: {ours:?} and {theirs:?} are {both:?}"
                    );
                }
            }
        }
    }
}
