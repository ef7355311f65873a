//! Who else can read or write the files of an installation.

use super::facts::ConfigFacts;
use super::{Facts, Finding, Mend, Severity};
use crate::config::Places;
use clawgate_config::redact;
use clawgate_config::schema::Schema;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file or folder, behind links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it really is.
    pub path: PathBuf,
    /// What it is for.
    pub what: What,
    /// Its permissions.
    pub mode: u32,
    /// Whose it is.
    pub uid: u32,
    /// A link led there: it may be no part of the installation, so that a person decides about it.
    pub is_linked: bool,
}

/// What something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The state folder, or one below it.
    State,
    /// The folder of a configuration file that is elsewhere. It is not ours to close.
    Beside,
    /// A file with secrets in it.
    Secret,
    /// A file that decides who may come in, without secrets.
    Plain,
}

impl Entry {
    fn is_folder(&self) -> bool {
        match self.what {
            What::State | What::Beside => true,
            What::Secret | What::Plain => false,
        }
    }

    /// For people, as `ls` and `chmod` write it.
    fn octal(&self) -> String {
        format!("{:03o}", self.mode & 0o7777)
    }
}

/// Somebody else owns it.
pub fn owners(facts: &Facts, found: &mut Vec<Finding>) {
    let uid = facts.user.uid;
    // Root looks at everybody's; who the installation belongs to is whose its folder is.
    let state = facts.entries.iter().find(|entry| entry.what == What::State);
    let owner = if uid == 0 { state.map_or(uid, |entry| entry.uid) } else { uid };
    for entry in facts.entries.iter().filter(|entry| entry.uid != owner && entry.uid != 0) {
        found.push(Finding::security(
            "files.owner",
            Severity::Critical,
            entry.path.display().to_string(),
            format!(
                "it belongs to another user (uid {}), who can read it and put something else there",
                entry.uid
            ),
            format!("have root give it to uid {owner}, or move the installation to a folder of your own"),
        ));
    }
}

/// Others may read or write it.
pub fn modes(facts: &Facts, found: &mut Vec<Finding>) {
    let state = facts.entries.iter().find(|entry| entry.what == What::State);
    // Nobody else gets to what is in a closed folder.
    let is_closed = state.is_some_and(|state| state.mode & 0o011 == 0);
    for entry in &facts.entries {
        let is_inside =
            state.is_some_and(|state| entry.path.starts_with(&state.path) && entry.path != state.path);
        let is_hidden = is_closed && is_inside;
        let by_others = entry.mode & 0o077;
        let is_writable = by_others & 0o022 != 0 && entry.mode & STICKY == 0;
        let is_readable = by_others & 0o044 != 0;
        let wanted = if entry.is_folder() { 0o700 } else { 0o600 };
        let (id, severity, means) = match entry.what {
            What::State | What::Beside if is_writable => (
                "files.folder-writable",
                Severity::Critical,
                "others can put files of their own in place of those in it",
            ),
            What::Secret | What::Plain if is_writable => {
                ("files.writable", Severity::Critical, "others can change who may come in, and how")
            }
            What::State if by_others != 0 => (
                "files.folder-open",
                Severity::Warn,
                "others can look into the folder that holds tokens and keys",
            ),
            What::Secret if is_readable => {
                let severity = if entry.mode & 0o004 != 0 { Severity::Critical } else { Severity::Warn };
                ("files.readable", severity, "it holds secrets, and others can read it")
            }
            What::State | What::Beside | What::Secret | What::Plain => continue,
        };
        let severity = if is_hidden { severity.min(Severity::Warn) } else { severity };
        let path = entry.path.display().to_string();
        let is_ours = entry.uid == facts.user.uid && entry.what != What::Beside && may_mend(entry);
        found.push(Finding {
            mend: is_ours.then(|| Mend { path: entry.path.clone(), mode: wanted }),
            ..Finding::security(
                id,
                severity,
                path.clone(),
                format!("{means} (mode {})", entry.octal()),
                match entry.what {
                    What::Beside => format!("chmod go-w {path}, or keep the configuration file elsewhere"),
                    What::State | What::Secret | What::Plain => format!("chmod {wanted:o} {path}"),
                },
            )
        });
    }
}

/// A folder such as `/data`, and of root one such as `/var/lib`, may be others' too: a person decides.
fn may_mend(entry: &Entry) -> bool {
    if entry.is_linked {
        return false;
    }
    let depth = entry.path.components().count() - 1;
    let has_dot = entry.path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !entry.is_folder() || depth > 2 || (depth == 2 && (entry.uid != 0 || has_dot))
}

/// Everything of an installation that is there.
pub(super) fn entries(places: &Places, config: &ConfigFacts) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    let mut entries = Vec::new();
    let mut add = |path: &Path, what: What| {
        let is_linked = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
        // A link is judged where it leads, and not mended.
        let Ok(path) = std::fs::canonicalize(path) else { return };
        let Ok(meta) = std::fs::metadata(&path) else { return };
        let fits = match what {
            What::State | What::Beside => meta.is_dir(),
            What::Secret | What::Plain => meta.is_file(),
        };
        if fits && seen.insert(path.clone()) {
            entries.push(Entry { path, what, mode: meta.mode() & 0o7777, uid: meta.uid(), is_linked });
        }
    };
    let state = &places.state_dir;
    add(state, What::State);
    let holds_secrets = redact::redact(&Schema::load(), &mut config.document.clone());
    add(&places.config, if holds_secrets { What::Secret } else { What::Plain });
    // By it a proxy proves itself.
    let holds_proof = config.own.at(&["trustedProxy", "proof"]).is_some();
    add(&places.own_config(), if holds_proof { What::Secret } else { What::Plain });
    if let Some(folder) = places.config.parent() {
        for backup in std::iter::once(String::new()).chain((1..5).map(|age| format!(".{age}"))) {
            let mut name = places.config.file_name().unwrap_or_default().to_owned();
            name.push(format!(".bak{backup}"));
            add(&folder.join(name), What::Secret);
        }
        if !folder.starts_with(state) {
            add(folder, What::Beside);
        }
    }
    add(&state.join(".env"), What::Secret);
    for folder in SECRET_FOLDERS {
        walk(&state.join(folder), FOLDER_DEPTH_MAX, &mut add);
    }
    for file in SECRET_FILES {
        add(&state.join(file), What::Secret);
    }
    entries
}

/// Everything in a folder of secrets, as far down as the reference puts some.
fn walk(folder: &Path, depth: usize, add: &mut dyn FnMut(&Path, What)) {
    // A link here would lead out of the installation.
    if !std::fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir()) {
        return;
    }
    add(folder, What::State);
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().take(ENTRIES_MAX) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, add),
            Ok(kind) if kind.is_file() => add(&entry.path(), What::Secret),
            Ok(_) | Err(_) => {}
        }
    }
}

const STICKY: u32 = 0o1000;
const SECRET_FOLDERS: [&str; 5] = ["identity", "devices", "nodes", "credentials", "gateway/tls"];
const SECRET_FILES: [&str; 2] = ["exec-approvals.json", "node.json"];
/// `credentials/whatsapp/ACCOUNT`.
const FOLDER_DEPTH_MAX: usize = 3;
/// Of one folder.
const ENTRIES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::testing::{all, found};
    use super::*;
    use crate::config::Node;
    use crate::scratch::Folder;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    /// A clean installation in which something has these permissions.
    fn with(path: &str, what: What, mode: u32) -> Facts {
        let mut facts = Facts::clean();
        facts.entries.retain(|entry| entry.path != Path::new(path));
        facts
            .entries
            .insert(0, Entry { path: path.into(), what, mode, uid: facts.user.uid, is_linked: false });
        facts
    }

    const STATE: &str = "/home/a/.openclaw";
    const FILE: &str = "/home/a/.openclaw/devices/paired.json";

    #[test]
    fn what_others_can_read_or_write_is_found() {
        for (path, what, mode, want) in [
            (STATE, What::State, 0o755, Some(("files.folder-open", Severity::Warn))),
            (STATE, What::State, 0o710, Some(("files.folder-open", Severity::Warn))),
            (STATE, What::State, 0o770, Some(("files.folder-writable", Severity::Critical))),
            (STATE, What::State, 0o700, None),
            ("/etc/x", What::Beside, 0o755, None),
            ("/etc/x", What::Beside, 0o757, Some(("files.folder-writable", Severity::Critical))),
            ("/tmp", What::Beside, 0o1777, None),
            ("/etc/x/c.json", What::Secret, 0o644, Some(("files.readable", Severity::Critical))),
            ("/etc/x/c.json", What::Secret, 0o640, Some(("files.readable", Severity::Warn))),
            ("/etc/x/c.json", What::Secret, 0o600, None),
            ("/etc/x/c.json", What::Plain, 0o644, None),
            ("/etc/x/c.json", What::Plain, 0o664, Some(("files.writable", Severity::Critical))),
        ] {
            let mut facts = with(path, what, mode);
            if what != What::State {
                // The state folder comes first.
                facts.entries.rotate_left(1);
            }
            assert_eq!(found(modes, &facts), Vec::from_iter(want), "{path} {what:?} {mode:o}");
        }
        assert_eq!(found(modes, &Facts::clean()), []);
    }

    #[test]
    fn a_closed_folder_takes_the_edge_off_what_is_in_it() {
        let mut facts = with(FILE, What::Secret, 0o666);
        facts.entries.rotate_left(1);
        assert_eq!(found(modes, &facts), [("files.writable", Severity::Warn)]);
        facts.entries[0].mode = 0o755;
        assert!(found(modes, &facts).contains(&("files.writable", Severity::Critical)));
    }

    #[test]
    fn only_what_is_ours_and_nobody_elses_is_mended() {
        let mend_of = |facts: &Facts| all(modes, facts).first().and_then(|finding| finding.mend.clone());
        let wanted = |path: &str, mode| Some(Mend { path: path.into(), mode });
        assert_eq!(mend_of(&with(STATE, What::State, 0o755)), wanted(STATE, 0o700));
        assert_eq!(mend_of(&with(FILE, What::Secret, 0o644)), wanted(FILE, 0o600));
        assert_eq!(mend_of(&with("/data", What::State, 0o755)), None, "a volume may be others' too");
        assert_eq!(mend_of(&with("/srv/x", What::Beside, 0o777)), None, "not ours to close");
        let mut facts = with(FILE, What::Secret, 0o644);
        facts.entries[0].uid = 7;
        assert_eq!(mend_of(&facts), None);
        let mut facts = with("/etc/passwd", What::Secret, 0o644);
        facts.entries[0].is_linked = true;
        assert_eq!(
            (mend_of(&facts), all(modes, &facts).len()),
            (None, 1),
            "somebody may have put the link there"
        );
        let mut facts = with("/var/lib", What::State, 0o755);
        (facts.entries[0].uid, facts.user.uid) = (0, 0);
        assert_eq!(mend_of(&facts), None);
    }

    #[test]
    fn what_belongs_to_somebody_else_is_found() {
        let mut facts = Facts::clean();
        assert_eq!(found(owners, &facts), []);
        facts.entries[1].uid = 7;
        assert_eq!(found(owners, &facts), [("files.owner", Severity::Critical)]);
        facts.entries[1].uid = 0;
        assert_eq!(found(owners, &facts), [], "root can read everything anyhow");
        // Root looks at an installation of somebody.
        facts.user.uid = 0;
        facts.entries[1].uid = 7;
        assert_eq!(found(owners, &facts), [("files.owner", Severity::Critical)]);
        facts.entries[1].uid = 1_000;
        assert_eq!(found(owners, &facts), []);
    }

    #[test]
    fn everything_with_a_secret_in_it_is_looked_at_and_links_are_followed_to_the_end() {
        let folder = Folder::new();
        let real = folder.path().join("real");
        for sub in ["identity", "devices", "credentials/whatsapp/main", "canvas"] {
            fs::create_dir_all(real.join(sub)).unwrap();
        }
        for file in
            ["openclaw.json", "openclaw.json.bak", ".env", "identity/device.json", "canvas/index.html"]
        {
            fs::write(real.join(file), "{}").unwrap();
        }
        fs::write(real.join("credentials/whatsapp/main/creds.json"), "{}").unwrap();
        fs::set_permissions(real.join(".env"), Permissions::from_mode(0o640)).unwrap();
        let state_dir = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &state_dir).unwrap();
        let places = Places { config: state_dir.join("openclaw.json"), state_dir };
        let document = Node::parse("{gateway: {auth: {token: 'x'}}}").unwrap();
        let secret = ConfigFacts { document, ..ConfigFacts::default() };
        let real = fs::canonicalize(&real).unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "{}").unwrap();
        std::os::unix::fs::symlink(&elsewhere, real.join("node.json")).unwrap();
        let found = entries(&places, &secret);
        let linked: Vec<&Path> =
            found.iter().filter(|entry| entry.is_linked).map(|entry| entry.path.as_path()).collect();
        assert_eq!(linked, [real.as_path(), &fs::canonicalize(&elsewhere).unwrap()]);
        let of =
            |name: &str| found.iter().find(|entry| entry.path == real.join(name)).map(|entry| entry.what);
        assert_eq!(found[0].path, real);
        for (name, want) in [
            ("openclaw.json", Some(What::Secret)),
            ("openclaw.json.bak", Some(What::Secret)),
            (".env", Some(What::Secret)),
            ("identity", Some(What::State)),
            ("identity/device.json", Some(What::Secret)),
            ("credentials/whatsapp/main/creds.json", Some(What::Secret)),
            ("canvas/index.html", None),
        ] {
            assert_eq!(of(name), want, "{name}");
        }
        assert_eq!(
            found.iter().find(|entry| entry.path == real.join(".env")).map(|entry| entry.mode),
            Some(0o640)
        );
        let plain = entries(&places, &ConfigFacts::default());
        assert!(
            plain.iter().any(|entry| entry.path == real.join("openclaw.json") && entry.what == What::Plain)
        );
    }
}
