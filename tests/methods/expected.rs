//! What the specification says about every method: the tables beside this file, read.

use serde_json::Value;

/// Release 2026.3.13.
pub(crate) const V3: &str = include_str!("v3.tsv");
const V4: &str = include_str!("v4.tsv");

/// The closed set of scopes, without their prefix.
pub(crate) const SCOPES: &[&str] = &[
    "admin",
    "read",
    "write",
    "sessions.read",
    "sessions.write",
    "approvals",
    "questions",
    "pairing",
    "talk",
    "talk.secrets",
];

/// One method.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    pub(crate) hidden: bool,
    pub(crate) control_write: bool,
}

/// What a peer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// `health`: nothing.
    Nothing,
    /// To be an operator.
    Operator,
    Scope(&'static str),
    Node,
    /// It depends on the params.
    Params,
}

/// One answer of this gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) name: &'static str,
    pub(crate) protocols: Vec<u64>,
    pub(crate) is_open: bool,
    pub(crate) params: Value,
    pub(crate) outcome: &'static str,
}

impl Answer {
    pub(crate) fn is(&self, name: &str, protocol: u64) -> bool {
        self.name == name && self.protocols.contains(&protocol)
    }
}

/// Calls that need different scopes.
#[derive(Debug)]
pub(crate) struct Calls {
    by_params: Vec<(&'static str, Value, Vec<&'static str>)>,
    by_session: Vec<(&'static str, &'static str)>,
}

impl Calls {
    /// Params to call a method with, and the scopes that such a call needs.
    pub(crate) fn of(&self, expected: &Expected) -> Vec<(Value, Vec<&'static str>)> {
        let empty = Value::Object(serde_json::Map::new());
        match expected.needs {
            Needs::Nothing | Needs::Operator | Needs::Node => vec![(empty, Vec::new())],
            Needs::Scope(scope) => vec![(empty, vec![scope])],
            Needs::Params => {
                let rows = self.by_params.iter().filter(|(name, ..)| *name == expected.name);
                let calls: Vec<_> =
                    rows.map(|(_, params, scopes)| (params.clone(), scopes.clone())).collect();
                assert!(!calls.is_empty(), "v4-params.tsv does not say what {} needs", expected.name);
                calls
            }
        }
    }

    /// The session scope that is enough besides.
    pub(crate) fn by_session(&self, name: &str, required: &[&str]) -> Option<&'static str> {
        let (_, scope) = self.by_session.iter().find(|(method, _)| *method == name)?;
        (*scope == "sessions.read" || required == ["write"] || required == ["questions"]).then_some(*scope)
    }
}

/// The methods of one protocol, with the authority of protocol 4.
pub(crate) fn methods(protocol: u64) -> Vec<Expected> {
    let v4 = table(V4, 4);
    if protocol == 4 {
        return v4;
    }
    let mut v3 = table(V3, 3);
    for row in &mut v3 {
        if let Some(now) = v4.iter().find(|now| now.name == row.name) {
            row.needs = now.needs;
        }
    }
    v3
}

/// One table as it stands.
pub(crate) fn table(text: &'static str, protocol: u64) -> Vec<Expected> {
    lines(text)
        .map(|columns| {
            let flags = *columns.last().unwrap();
            Expected {
                name: columns[0],
                needs: match (columns[0], columns[1]) {
                    ("health", "none") => Needs::Nothing,
                    (_, "none") => Needs::Operator,
                    (_, "node") => Needs::Node,
                    (_, "dyn") => Needs::Params,
                    (_, scope) => Needs::Scope(scope),
                },
                hidden: if protocol == 3 {
                    columns[2] == "hid"
                } else {
                    flags.split(' ').any(|flag| flag == "hid")
                },
                control_write: flags.split(' ').any(|flag| flag == "cpw"),
            }
        })
        .collect()
}

/// What this gateway answers.
pub(crate) fn answers() -> Vec<Answer> {
    lines(include_str!("answers.tsv"))
        .map(|columns| Answer {
            name: columns[0],
            protocols: columns[1].bytes().map(|digit| u64::from(digit - b'0')).collect(),
            is_open: match columns[2] {
                "open" => true,
                "closed" => false,
                other => panic!("{other}"),
            },
            params: serde_json::from_str(columns[3]).unwrap(),
            outcome: columns[4],
        })
        .collect()
}

/// Scopes that depend on more than the name.
pub(crate) fn calls() -> Calls {
    Calls {
        by_params: lines(include_str!("v4-params.tsv"))
            .map(|columns| {
                let params = serde_json::from_str(columns[1]).unwrap();
                (columns[0], params, columns[2].split(',').collect())
            })
            .collect(),
        by_session: lines(include_str!("v4-sessions.tsv")).map(|columns| (columns[0], columns[1])).collect(),
    }
}

/// Whether a peer that was granted one scope has another (v4 section 10).
pub(crate) fn satisfies(granted: &str, required: &str) -> bool {
    granted == required
        || granted == "admin"
        || matches!(
            (granted, required),
            ("write", "read" | "talk" | "sessions.read" | "sessions.write")
                | ("read" | "sessions.write", "sessions.read")
        )
}

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}
