//! What `--fix` does: it takes access away from others, and nothing else. No secret is changed, nothing is given, moved
//! or removed.

use super::{Finding, Mend};
use crate::storage::explain;
use rustix::fs::{Mode, OFlags, fchmod, fstat, open};
use std::io;

/// Does what is safe for these findings. Gives what was done and what failed, one sentence each.
pub fn apply(findings: &[Finding]) -> (Vec<String>, Vec<String>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for mend in findings.iter().filter_map(|finding| finding.mend.as_ref()) {
        match close(mend) {
            Ok(()) => done.push(format!("chmod {:o} {}", mend.mode, mend.path.display())),
            Err(why) => failed.push(explain("change", &mend.path, &why)),
        }
    }
    (done, failed)
}

/// On the open file, so that nobody puts a link in its place between looking and changing.
fn close(mend: &Mend) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(&mend.path, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // Only fewer rights than before.
    let mode = Mode::from_raw_mode(stat.st_mode) & Mode::from_raw_mode(mend.mode);
    Ok(fchmod(&file, mode)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::Severity;
    use super::*;
    use crate::scratch::Folder;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn finding(path: &Path, mode: u32) -> Finding {
        let mend = Some(Mend { path: path.to_owned(), mode });
        Finding { mend, ..Finding::security("bind.open", Severity::Warn, "", "", "") }
    }

    #[test]
    fn rights_are_taken_and_never_given_and_links_stay_alone() {
        let folder = Folder::new();
        let (open, narrow, link) =
            (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        for (path, mode) in [(&open, 0o664), (&narrow, 0o444)] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let target = folder.path().join("target");
        fs::write(&target, "x").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let without = Finding::security("bind.open", Severity::Warn, "", "", "");
        let findings = [
            finding(&open, 0o600),
            finding(&narrow, 0o600),
            finding(&link, 0o600),
            finding(folder.path(), 0o700),
            without,
        ];
        let (done, failed) = apply(&findings);
        assert_eq!((done.len(), failed.len()), (3, 1), "{done:?} {failed:?}");
        assert!(failed[0].contains("/c: "), "{failed:?}");
        let modes = [&open, &narrow, &target, &folder.path().to_owned()].map(|path| mode_of(path));
        assert_eq!(modes, [0o600, 0o400, 0o644, 0o700]);
    }
}
