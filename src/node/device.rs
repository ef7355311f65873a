//! What this machine is and how it is, under the names that `device.info` and `device.status` have on other devices.
//! What cannot be found out is left out.

use crate::host::facts;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// The payload of `device.info`.
pub fn info() -> Value {
    let uname = rustix::system::uname();
    let version = env!("CARGO_PKG_VERSION");
    let mut info = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            info.insert(name.to_owned(), value);
        }
    };
    put("deviceName", Some(facts::hostname().into()));
    put("modelIdentifier", model().map(Value::from));
    put("systemName", Some(facts::device_family(&uname.sysname().to_string_lossy().to_lowercase()).into()));
    put("systemVersion", Some(uname.release().to_string_lossy().into()));
    put("distribution", distribution().map(Value::from));
    put("architecture", Some(facts::architecture().into()));
    put("cpuCount", std::thread::available_parallelism().ok().map(|count| count.get().into()));
    put("appVersion", Some(version.into()));
    put("appBuild", Some(format!("clawgate {version}").into()));
    put("locale", std::env::var("LANG").ok().filter(|lang| !lang.is_empty()).map(Value::from));
    Value::Object(info)
}

/// The payload of `device.status`; `place` is on the disk that is told of.
pub fn status(place: &Path) -> Value {
    let mut status = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            status.insert(name.to_owned(), value);
        }
    };
    let text = |path: &str| fs::read_to_string(path).ok();
    put("uptimeSeconds", text("/proc/uptime").as_deref().and_then(uptime).map(Value::from));
    put(
        "loadAverage",
        text("/proc/loadavg").as_deref().and_then(facts::load_average).map(|load| json!(load)),
    );
    put("memory", text("/proc/meminfo").as_deref().and_then(memory));
    put(
        "storage",
        rustix::fs::statvfs(place).ok().map(|disk| {
            let total = disk.f_blocks.saturating_mul(disk.f_frsize);
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            json!({ "totalBytes": total, "freeBytes": free, "usedBytes": total.saturating_sub(free) })
        }),
    );
    put("battery", battery(Path::new("/sys/class/power_supply")));
    put("thermal", warmest(Path::new("/sys/class/thermal")).map(|celsius| json!({ "celsius": celsius })));
    Value::Object(status)
}

/// Boards name themselves in the device tree, others in their firmware's tables.
fn model() -> Option<String> {
    let places = ["/sys/firmware/devicetree/base/model", "/sys/class/dmi/id/product_name"];
    places.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        (!text.is_empty()).then(|| text.to_owned())
    })
}

fn distribution() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned()).filter(|name| !name.is_empty())
}

fn uptime(text: &str) -> Option<u64> {
    text.split(['.', ' ']).next()?.parse().ok()
}

fn memory(meminfo: &str) -> Option<Value> {
    let total = facts::meminfo_bytes(meminfo, "MemTotal")?;
    let free = facts::meminfo_bytes(meminfo, "MemAvailable");
    let free = free.or_else(|| facts::meminfo_bytes(meminfo, "MemFree"))?;
    Some(json!({ "totalBytes": total, "freeBytes": free }))
}

/// The first battery there is.
fn battery(supplies: &Path) -> Option<Value> {
    let entries = fs::read_dir(supplies).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let read =
        |path: &Path, name: &str| fs::read_to_string(path.join(name)).ok().map(|text| text.trim().to_owned());
    let battery = entries.into_iter().find(|path| read(path, "type").as_deref() == Some("Battery"))?;
    let level: f64 = read(&battery, "capacity")?.parse().ok()?;
    let state = match read(&battery, "status").as_deref() {
        Some("Charging") => "charging",
        Some("Full") => "full",
        Some("Discharging" | "Not charging") => "unplugged",
        Some(_) | None => "unknown",
    };
    Some(json!({ "level": level / 100.0, "state": state }))
}

/// Of all the sensors; they count thousandths of a degree.
fn warmest(zones: &Path) -> Option<f64> {
    let entries = fs::read_dir(zones).ok()?.filter_map(Result::ok);
    let degrees = entries.filter_map(|entry| {
        let text = fs::read_to_string(entry.path().join("temp")).ok()?;
        text.trim().parse::<i32>().ok()
    });
    degrees.max().map(|thousandths| f64::from(thousandths) / 1_000.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;

    #[test]
    fn a_machine_tells_what_it_is_and_how_it_is() {
        let info = info();
        for name in ["deviceName", "systemName", "systemVersion", "architecture", "appVersion"] {
            assert!(info[name].is_string(), "{name} in {info}");
        }
        let status = status(Path::new("/"));
        assert!(status["storage"]["totalBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{status}");
        if cfg!(target_os = "linux") {
            assert!(status["uptimeSeconds"].is_u64() && status["memory"]["freeBytes"].is_u64(), "{status}");
        }
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(uptime("12345.67 99.0\n"), Some(12_345));
        assert_eq!(
            memory("MemTotal: 2 kB\nMemFree: 1 kB\n"),
            Some(json!({"totalBytes": 2048, "freeBytes": 1024}))
        );
        let folder = Folder::new();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(battery(folder.path()), None);
        write("AC/type", "Mains\n");
        write("BAT0/type", "Battery\n");
        write("BAT0/capacity", "50\n");
        write("BAT0/status", "Discharging\n");
        assert_eq!(battery(folder.path()), Some(json!({"level": 0.5, "state": "unplugged"})));
        write("zone0/temp", "41500\n");
        write("zone1/temp", "-1000\n");
        assert_eq!(warmest(folder.path()), Some(41.5));
    }
}
