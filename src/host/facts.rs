//! Facts about this machine and process, for `system.info`, presence and hello-ok. What cannot be found out is
//! left out, never made up.

use crate::interfaces;
use clawgate_proto::host::Load;
use serde_json::{Map, Value, json};
use std::io;
use std::path::Path;
use std::time::Instant;

/// What does not change while the process runs.
#[derive(Debug)]
pub struct Facts {
    /// The host's name.
    pub hostname: String,
    /// The kernel's name in lower case, such as `linux`.
    pub system: String,
    /// The kernel's release.
    pub release: String,
    started: Instant,
    instance: String,
    port: u16,
}

impl Facts {
    /// Looks at the machine once. `instance` is a fresh UUID; `port` is what clients connect to.
    pub fn gather(instance: String, port: u16) -> Self {
        let uname = rustix::system::uname();
        Self {
            hostname: uname.nodename().to_string_lossy().into_owned(),
            system: uname.sysname().to_string_lossy().to_lowercase(),
            release: uname.release().to_string_lossy().into_owned(),
            started: Instant::now(),
            instance,
            port,
        }
    }

    /// The object of `system.info` (`SystemInfoResult` of the published schema).
    ///
    /// # Errors
    /// A required fact could not be read.
    pub fn system_info(&self, state_dir: &Path) -> io::Result<Value> {
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut info = json!({
            "machineName": self.hostname,
            "hostname": self.hostname,
            "platform": self.system,
            "release": self.release,
            "arch": architecture(),
            "osLabel": self.os_label(),
            "port": self.port,
            "nodeVersion": concat!("none (clawgate ", env!("CARGO_PKG_VERSION"), ")"),
            "pid": std::process::id(),
            "processInstanceId": self.instance,
            "uptimeMs": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "cpuCount": cpus,
            "memoryTotalBytes": meminfo_bytes(&memory, "MemTotal").ok_or(io::ErrorKind::InvalidData)?,
            "memoryFreeBytes": meminfo_bytes(&memory, "MemAvailable")
                .or_else(|| meminfo_bytes(&memory, "MemFree"))
                .ok_or(io::ErrorKind::InvalidData)?,
        });
        if let Value::Object(members) = &mut info {
            add_optional(members, state_dir);
        }
        Ok(info)
    }

    fn os_label(&self) -> String {
        format!("{} {}", device_family(&self.system), self.release)
    }
}

/// This machine's name.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `Linux`, `Mac` or the kernel's own name, as clients know device families.
pub fn device_family(system: &str) -> String {
    match system {
        "linux" => "Linux".to_owned(),
        "darwin" => "Mac".to_owned(),
        other => other.to_owned(),
    }
}

/// The CPU architecture in the names that clients know from Node.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "x86" => "ia32",
        other => other,
    }
}

/// What this process uses now.
///
/// # Errors
/// Memory cannot be read; only Linux tells it this way.
pub fn load() -> io::Result<Load> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_ms = u64::try_from(used.tv_sec).unwrap_or(0) * 1_000
        + u64::try_from(used.tv_nsec).unwrap_or(0) / 1_000_000;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(Load { cpu_ms, resident_bytes: pages * rustix::param::page_size() as u64 })
}

fn add_optional(info: &mut Map<String, Value>, state_dir: &Path) {
    if let Some(address) = interfaces::lan_address() {
        info.insert("lanAddress".into(), address.to_string().into());
    }
    if let Some(model) = std::fs::read_to_string("/proc/cpuinfo").ok().as_deref().and_then(cpu_model) {
        info.insert("cpuModel".into(), model.into());
    }
    if let Some(load) = std::fs::read_to_string("/proc/loadavg").ok().as_deref().and_then(load_average) {
        info.insert("loadAverage".into(), json!(load));
    }
    if let Ok(disk) = rustix::fs::statvfs(state_dir) {
        info.insert("diskTotalBytes".into(), disk.f_blocks.saturating_mul(disk.f_frsize).into());
        info.insert("diskAvailableBytes".into(), disk.f_bavail.saturating_mul(disk.f_frsize).into());
        info.insert("diskPath".into(), state_dir.to_string_lossy().into());
    }
}

/// A line such as `MemTotal:  16318412 kB`.
pub(crate) fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// x86 says `model name`; ARM and RISC-V boards say `Model` or `Hardware`, or nothing.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    ["model name", "Model", "Hardware"].iter().find_map(|wanted| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == *wanted && !value.trim().is_empty()).then(|| value.trim().to_owned())
        })
    })
}

/// The three numbers at the beginning of `/proc/loadavg`.
pub(crate) fn load_average(loadavg: &str) -> Option<[f64; 3]> {
    let mut fields = loadavg.split_whitespace().map(|field| field.parse::<f64>().ok());
    Some([fields.next()??, fields.next()??, fields.next()??])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn system_info_has_the_members_that_clients_require_and_no_unknown_ones() {
        let info = Facts::gather("id".into(), 18_789).system_info(Path::new("/")).unwrap();
        for (name, is_text) in [
            ("machineName", true),
            ("hostname", true),
            ("platform", true),
            ("release", true),
            ("arch", true),
            ("osLabel", true),
            ("nodeVersion", true),
            ("pid", false),
            ("uptimeMs", false),
            ("cpuCount", false),
            ("memoryTotalBytes", false),
            ("memoryFreeBytes", false),
        ] {
            assert!(if is_text { info[name].is_string() } else { info[name].is_u64() }, "{name} in {info}");
        }
        let optional = [
            "lanAddress",
            "port",
            "processInstanceId",
            "cpuModel",
            "loadAverage",
            "diskTotalBytes",
            "diskAvailableBytes",
            "diskPath",
        ];
        let known = info.as_object().unwrap().keys().filter(|name| optional.contains(&name.as_str())).count();
        assert_eq!(info.as_object().unwrap().len(), 12 + known);
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(meminfo_bytes("MemTotal:       2 kB\nMemFree: 1 kB\n", "MemTotal"), Some(2048));
        assert_eq!(meminfo_bytes("MemTotalX: 2 kB", "MemTotal"), None);
        assert_eq!(cpu_model("processor : 0\nmodel name\t: A B\n").as_deref(), Some("A B"));
        assert_eq!(cpu_model("processor : 0\n"), None);
        assert_eq!(load_average("0.10 0.20 0.30 1/99 1234\n"), Some([0.1, 0.2, 0.3]));
        assert_eq!(load_average("0.10\n"), None);
    }
}
