//! How much memory the system grants this process, where it is in a control group with a limit: beyond it the kernel ends
//! the process.

use std::path::Path;

/// The limit of this process's own group and of those around it, in bytes; `None` where there is none.
pub fn memory_limit() -> Option<u64> {
    memory_limit_below(Path::new("/"))
}

/// The same, where the system's folders begin at `root`.
fn memory_limit_below(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| limit_of(root, line)).min()
}

/// Of a line `ID:CONTROLLERS:PATH`: version 2 names no controllers, version 1 those of a hierarchy.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        names if names.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let mount = root.join(mount);
    let own = mount.join(path.trim_start_matches('/'));
    // In a container the path may be one of the machine outside: then the mount itself is the group.
    let groups = own.ancestors().take_while(|group| group.starts_with(&mount)).take(GROUPS_MAX);
    groups.filter_map(|group| limit_in(&group.join(file))).min()
}

fn limit_in(file: &Path) -> Option<u64> {
    let bytes: u64 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < UNLIMITED).then_some(bytes)
}

/// Groups around a process that are looked at.
const GROUPS_MAX: usize = 32;
/// Version 1 writes a number near the largest of 63 bits where there is no limit; version 2 writes `max`.
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::fs;

    fn found(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        let folder = Folder::new();
        for (path, text) in files.iter().chain(&[("proc/self/cgroup", groups)]) {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory_limit_below(folder.path())
    }

    #[test]
    fn the_tightest_limit_around_the_process_counts() {
        let two = "0::/system.slice/clawgate.service\n";
        let (outer, own) = (
            "sys/fs/cgroup/system.slice/memory.max",
            "sys/fs/cgroup/system.slice/clawgate.service/memory.max",
        );
        assert_eq!(found(two, &[(outer, "max\n"), (own, "67108864\n")]), Some(64 << 20));
        assert_eq!(found(two, &[(outer, "1000\n"), (own, "67108864\n")]), Some(1_000));
        assert_eq!(found(two, &[(outer, "max\n"), (own, "max\n")]), None);
        assert_eq!(found(two, &[]), None);
        // In a container.
        assert_eq!(found(two, &[("sys/fs/cgroup/memory.max", "5000\n")]), Some(5_000));
        let one = "12:cpu,cpuacct:/x\n5:memory:/docker/1\n";
        let own = "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes";
        assert_eq!(found(one, &[(own, "1048576\n")]), Some(1 << 20));
        assert_eq!(found(one, &[(own, "9223372036854771712\n")]), None);
        assert_eq!(found("nonsense", &[]), None);
        assert_eq!(found("0::/../../etc", &[]), None);
    }
}
