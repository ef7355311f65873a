//! `$include`: other files read into a document.
//!
//! What stands beside `$include` is merged over what the files say; of several files later ones win; objects merge,
//! lists are put one behind the other. Files, their total size and the depth are bounded, and a file that includes
//! itself is named.

use crate::depth::DEPTH_MAX;
use crate::value::{Index, Node};

/// Who opens the files. Rules about paths (inside the root folder, also behind links; regular files only) are the
/// implementer's: this module sees names and texts.
pub trait Files {
    /// Reads the file that `name` means inside the file `from` (`None` is the root file).
    ///
    /// # Errors
    /// Why not; a sentence for a person that quotes no content.
    fn read(&self, from: Option<&str>, name: &str) -> Result<Included, String>;

    /// What a file would be called that cannot be read, where it is one that may be: it may come.
    fn place(&self, from: Option<&str>, name: &str) -> Option<String> {
        let _ = (from, name);
        None
    }
}

/// One file that was included. `Debug` leaves the text out.
#[derive(Clone)]
pub struct Included {
    /// What the file is called, links followed; two names of one file are the same here.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl core::fmt::Debug for Included {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Included").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Nothing can be included: for documents that stand alone.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: Option<&str>, name: &str) -> Result<Included, String> {
        Err(format!("{name:?} cannot be read here"))
    }
}

/// The member that names files.
pub const INCLUDE: &str = "$include";

/// Replaces every `$include` by what it names. Gives the files in the order in which they were read.
///
/// # Errors
/// Where, and what is wrong; a sentence for a person.
pub fn resolve(root: &Node, root_path: &str, files: &dyn Files) -> Result<(Node, Vec<String>), Fault> {
    let stack = vec![root_path.to_owned()];
    let mut walk = Walk { files, stack, read: Vec::new(), bytes: 0, path: String::new() };
    let node = walk.node(root).and_then(|node| {
        if node.depth() > DEPTH_MAX {
            return Err(walk.fault(format!("with its files it nests deeper than {DEPTH_MAX} levels")));
        }
        Ok(node)
    });
    match node {
        Ok(node) => Ok((node, walk.read)),
        Err(fault) => Err(Fault { files: walk.read, ..fault }),
    }
}

/// What is wrong with an `$include`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The dotted path of the object that has it.
    pub path: String,
    /// What is wrong.
    pub why: String,
    /// The files that were read, or looked for, up to there.
    pub files: Vec<String>,
}

/// Whether there is an `$include` anywhere.
pub fn has_include(node: &Node) -> bool {
    match node {
        Node::Object(members) => members.iter().any(|(name, value)| name == INCLUDE || has_include(value)),
        Node::List(items) => items.iter().any(has_include),
        Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::Text(_) => false,
    }
}

struct Walk<'a> {
    files: &'a dyn Files,
    /// The files that we are inside of.
    stack: Vec<String>,
    read: Vec<String>,
    bytes: usize,
    path: String,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node) -> Result<Node, Fault> {
        match node {
            Node::Object(members) => match node.get(INCLUDE) {
                Some(names) => self.include(names, members),
                None => Ok(Node::Object(self.members(members)?)),
            },
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    list.push(self.inside(&index.to_string(), |walk| walk.node(item))?);
                }
                Ok(Node::List(list))
            }
            Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::Text(_) => {
                Ok(node.clone())
            }
        }
    }

    fn members(&mut self, members: &[(String, Node)]) -> Result<Vec<(String, Node)>, Fault> {
        let mut out = Vec::with_capacity(members.len());
        for (name, value) in members.iter().filter(|(name, _)| name != INCLUDE) {
            out.push((name.clone(), self.inside(name, |walk| walk.node(value))?));
        }
        Ok(out)
    }

    fn include(&mut self, names: &Node, members: &[(String, Node)]) -> Result<Node, Fault> {
        let names: Vec<&str> = match names {
            Node::Text(name) => vec![name],
            Node::List(items) => {
                let texts: Option<Vec<&str>> = items.iter().map(Node::as_text).collect();
                texts.ok_or_else(|| self.fault(format!("{INCLUDE} must name files by texts")))?
            }
            Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Float(_) | Node::Object(_) => {
                return Err(self.fault(format!("{INCLUDE} must be the name of a file or a list of names")));
            }
        };
        let mut whole = None;
        for name in names {
            let content = self.file(name)?;
            whole = Some(match whole {
                None => content,
                Some(before) => merged(before, content),
            });
        }
        let beside = self.members(members)?;
        if beside.is_empty() {
            return Ok(whole.unwrap_or_else(Node::empty));
        }
        match whole.unwrap_or_else(Node::empty) {
            whole @ Node::Object(_) => Ok(merged(whole, Node::Object(beside))),
            Node::Null
            | Node::Bool(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Text(_)
            | Node::List(_) => {
                Err(self.fault("Sibling keys require included content to be an object".to_owned()))
            }
        }
    }

    fn file(&mut self, name: &str) -> Result<Node, Fault> {
        if self.stack.len() > NESTED_MAX {
            return Err(self.fault(format!("files include files more than {NESTED_MAX} levels deep")));
        }
        if self.read.len() >= FILES_MAX {
            return Err(self.fault(format!("more than {FILES_MAX} files are included")));
        }
        let from = if self.stack.len() > 1 { self.stack.last().map(String::as_str) } else { None };
        let included = match self.files.read(from, name) {
            Ok(included) => included,
            Err(why) => {
                self.read.extend(self.files.place(from, name));
                return Err(self.fault(why));
            }
        };
        if self.stack.contains(&included.path) {
            let around: Vec<&str> = self.stack.iter().chain([&included.path]).map(String::as_str).collect();
            return Err(self.fault(format!("Circular include detected: {}", around.join(" -> "))));
        }
        self.bytes += included.text.len();
        if included.text.len() > FILE_BYTES_MAX || self.bytes > TOTAL_BYTES_MAX {
            return Err(self.fault(format!(
                "{} is too large: a file may have {FILE_BYTES_MAX} bytes, all together {TOTAL_BYTES_MAX}",
                included.path
            )));
        }
        self.read.push(included.path.clone());
        let node = Node::parse(&included.text)
            .map_err(|why| self.fault(format!("{} cannot be read: {why}", included.path)))?;
        self.stack.push(included.path);
        let node = self.node(&node);
        self.stack.pop();
        node
    }

    fn inside<T>(&mut self, name: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = look(self);
        self.path.truncate(outer);
        result
    }

    fn fault(&self, why: String) -> Fault {
        Fault { path: self.path.clone(), why, files: Vec::new() }
    }
}

/// Objects merge, lists are put together, anything else is replaced.
fn merged(before: Node, after: Node) -> Node {
    match (before, after) {
        (Node::Object(mut members), Node::Object(later)) => {
            let places: Vec<Option<usize>> = {
                let index = Index::new(&members);
                later.iter().map(|(name, _)| index.place(name)).collect()
            };
            for ((name, value), at) in later.into_iter().zip(places) {
                match at {
                    Some(at) => {
                        let slot = &mut members[at].1;
                        *slot = merged(core::mem::replace(slot, Node::Null), value);
                    }
                    None => members.push((name, value)),
                }
            }
            Node::Object(members)
        }
        (Node::List(mut items), Node::List(later)) => {
            items.extend(later);
            Node::List(items)
        }
        (_, after) => after,
    }
}

/// One included file.
pub const FILE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// All files of one document.
pub const TOTAL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How deep files include files.
pub const NESTED_MAX: usize = 10;
/// Files of one document; one that is included twice counts twice.
pub const FILES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::collections::BTreeMap;

    struct Memory(BTreeMap<&'static str, String>);

    impl Files for Memory {
        fn read(&self, _: Option<&str>, name: &str) -> Result<Included, String> {
            let text = self.0.get(name).ok_or_else(|| format!("{name:?} is not there"))?;
            Ok(Included { path: name.to_owned(), text: text.clone() })
        }
    }

    fn run(root: &str, files: &[(&'static str, &str)]) -> Result<String, Fault> {
        let files = Memory(files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect());
        resolve(&Node::parse(root).unwrap(), "root", &files).map(|(node, _)| node.to_json())
    }

    #[test]
    fn files_merge_from_left_to_right_and_what_stands_beside_wins() {
        let files = [("a", "{x: 1, l: [1], o: {p: 1, q: 1}}"), ("b", "{x: 2, l: [2], o: {q: 2}}")];
        let all = run("{s: {$include: ['a', 'b'], x: 3, o: {r: 3}}}", &files);
        assert_eq!(all.unwrap(), r#"{"s":{"x":3,"l":[1,2],"o":{"p":1,"q":2,"r":3}}}"#);
        assert_eq!(run("{$include: 'a', l: [9]}", &files).unwrap(), r#"{"x":1,"l":[1,9],"o":{"p":1,"q":1}}"#);
        assert_eq!(run("{s: {$include: 'n'}}", &[("n", "[1]")]).unwrap(), r#"{"s":[1]}"#);
        let fault = run("{s: {$include: 'n', x: 1}}", &[("n", "[1]")]).unwrap_err();
        assert_eq!(
            (fault.path.as_str(), fault.why.as_str()),
            ("s", "Sibling keys require included content to be an object")
        );
    }

    #[test]
    fn circles_depth_number_and_size_are_bounded() {
        let circle =
            run("{$include: 'a'}", &[("a", "{x: {$include: 'b'}}"), ("b", "{$include: 'a'}")]).unwrap_err();
        assert!(circle.why.starts_with("Circular include detected: root -> a -> b -> a"), "{circle:?}");
        let names = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11"];
        let texts: Vec<String> = (1..=12).map(|n| format!("{{$include: 'f{n}'}}")).collect();
        let chain: Vec<(&'static str, &str)> =
            names.iter().zip(&texts).map(|(name, text)| (*name, text.as_str())).collect();
        assert!(run("{$include: 'f0'}", &chain).unwrap_err().why.contains("more than 10 levels"));
        let mut ten = chain.clone();
        ten[9] = ("f9", "{end: 1}");
        assert_eq!(run("{$include: 'f0'}", &ten).unwrap(), r#"{"end":1}"#);
        let wide = format!("{{$include: [{}]}}", "'a',".repeat(FILES_MAX + 1));
        assert!(run(&wide, &[("a", "{}")]).unwrap_err().why.contains("more than 64 files"));
        let large = format!("{{}}{}", " ".repeat(FILE_BYTES_MAX));
        assert!(run("{$include: 'a'}", &[("a", &large)]).unwrap_err().why.contains("too large"));
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let nested = format!("{}{{$include: 'a'}}{}", "[".repeat(100), "]".repeat(100));
        assert!(run(&nested, &[("a", &deep)]).unwrap_err().why.contains("128 levels"));
    }

    #[test]
    fn wrong_names_are_said() {
        for (text, want) in [
            ("{a: {$include: 5}}", "must be the name of a file"),
            ("{a: {$include: [5]}}", "must name files by texts"),
            ("{a: {$include: 'nosuch'}}", "\"nosuch\" is not there"),
        ] {
            let fault = run(text, &[]).unwrap_err();
            assert!(fault.why.contains(want) && fault.path == "a", "{fault:?}");
        }
    }
}
