//! Roles and scopes, and which scope satisfies which (spec: v4 section 10).

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

/// A list of scopes: trimmed, without blanks or repeats, in the order first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Normalises a list.
    pub fn new<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Self {
        let mut out: Vec<String> = Vec::new();
        for scope in list {
            let scope = scope.as_ref().trim();
            if !scope.is_empty() && !out.iter().any(|have| have == scope) {
                out.push(scope.to_owned());
            }
        }
        Self(out)
    }

    /// The scopes, in order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The scopes, sorted.
    pub fn sorted(&self) -> Vec<String> {
        let mut out = self.0.clone();
        out.sort();
        out
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an operator holding these satisfies `required`.
    pub fn satisfies(&self, required: &str) -> bool {
        let has = |scope: &str| self.0.iter().any(|have| have == scope);
        if has(required) || (required.starts_with("operator.") && has(ADMIN)) {
            return true;
        }
        match required {
            READ | "operator.talk" | "operator.sessions.write" => has(WRITE),
            "operator.sessions.read" => has(READ) || has(WRITE) || has("operator.sessions.write"),
            _ => false,
        }
    }

    /// The first of `requested` that `role` may not have when it was granted these; `None` when all are covered.
    /// Implications hold for operators only; every other role needs the literal scope.
    pub fn first_uncovered<'a>(&self, role: Role, requested: &'a Self) -> Option<&'a str> {
        requested.0.iter().map(String::as_str).find(|scope| match role {
            Role::Operator => !self.satisfies(scope),
            Role::Node => !self.0.iter().any(|have| have == scope),
        })
    }

    /// These and those.
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0))
    }
}
