//! Users of this machine as `/etc/passwd` has them. Users of a directory service are not in it: they are named by hand.

use std::path::PathBuf;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their name.
    pub name: String,
    /// Their number.
    pub uid: u32,
    /// That of their group.
    pub gid: u32,
    /// Their home folder.
    pub home: PathBuf,
}

/// The first who is meant.
pub fn find(is_meant: impl Fn(&User) -> bool) -> Option<User> {
    find_in(&std::fs::read_to_string("/etc/passwd").ok()?, is_meant)
}

fn find_in(passwd: &str, is_meant: impl Fn(&User) -> bool) -> Option<User> {
    passwd.lines().filter_map(parse).find(is_meant)
}

/// `name:password:uid:gid:comment:home:shell`, as passwd(5) says.
fn parse(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    Some(User { name: checked(name)?.to_owned(), uid, gid, home: PathBuf::from(home) })
}

/// A name that a service file can hold: no option, no path, no list.
pub fn checked(name: &str) -> Option<&str> {
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_name.then_some(name)
}

const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_make_no_sense_are_nobody() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\n-rf:x:1:1::/:/bin/sh\nclaw:x:1000:1001:A, B:/home/claw:\n";
        let found = |name: &str| find_in(passwd, |user| user.name == name);
        let claw = User { name: "claw".to_owned(), uid: 1000, gid: 1001, home: "/home/claw".into() };
        assert_eq!(found("claw"), Some(claw.clone()));
        assert_eq!(find_in(passwd, |user| user.uid == 1000), Some(claw));
        assert_eq!((found("-rf"), found("broken")), (None, None));
    }

    #[test]
    fn a_name_is_one_word() {
        for name in ["", "-x", "a b", "a/b", "a\nb", "a%b", "a$b"] {
            assert_eq!(checked(name), None, "{name:?}");
        }
        assert_eq!(checked("www-data_1.x"), Some("www-data_1.x"));
    }
}
