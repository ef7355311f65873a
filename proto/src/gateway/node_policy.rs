//! Which commands a node may declare, by its platform (spec: v4 section 11.2). What is on no list is withheld, silently:
//! nobody is asked to approve it. And whether a command may then run, which is asked each time, as the configuration may
//! have changed since.

use crate::config::NodeCommands;
use crate::store::nodes::Surface;
use std::collections::BTreeMap;

/// What a node offers, as far as its platform may: sorted, without repeats, bounded.
pub(super) fn surface(
    (platform, family): (&str, Option<&str>),
    caps: &[String],
    commands: &[String],
    permissions: &BTreeMap<String, bool>,
    (rules, items_max): (&NodeCommands, usize),
) -> Surface {
    let platform = Platform::of(platform, family);
    let may_talk = caps.iter().any(|cap| cap.trim() == "talk");
    let is_allowed = |command: &str| {
        let is_listed = platform.allows(command)
            || (may_talk && TALK.contains(&command))
            || DANGEROUS.contains(&command)
            || rules.allow.contains(command);
        is_listed && !rules.deny.contains(command)
    };
    let permissions = permissions.iter().filter(|(name, _)| name.len() <= NAME_BYTES_MAX).take(items_max);
    Surface {
        caps: tidy(caps, items_max, |_| true),
        commands: tidy(commands, items_max, is_allowed),
        permissions: permissions.map(|(name, on)| (name.clone(), *on)).collect(),
    }
}

/// What the policy says about a command that is about to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Allowed,
    /// It may where the configuration says so, by its name.
    Dangerous,
    /// It may not.
    NotListed,
}

/// Whether a command may run now: what nobody may run goes before what anybody may.
pub(super) fn verdict(
    (platform, family): (&str, Option<&str>),
    caps: &[String],
    command: &str,
    rules: &NodeCommands,
) -> Verdict {
    if rules.deny.contains(command) {
        return Verdict::NotListed;
    }
    let talks = caps.iter().any(|cap| cap == "talk") && TALK.contains(&command);
    if rules.allow.contains(command) || talks || Platform::of(platform, family).allows(command) {
        Verdict::Allowed
    } else if DANGEROUS.contains(&command) {
        Verdict::Dangerous
    } else {
        Verdict::NotListed
    }
}

/// The family of a desktop, for a node that names none.
pub(super) fn family(platform: &str) -> Option<&'static str> {
    match Platform::of(platform, None) {
        Platform::MacOs => Some("Mac"),
        Platform::Linux => Some("Linux"),
        Platform::Windows => Some("Windows"),
        Platform::Ios | Platform::IPhone | Platform::WatchOs | Platform::Android | Platform::Unknown => None,
    }
}

fn tidy(names: &[String], items_max: usize, is_kept: impl Fn(&str) -> bool) -> Vec<String> {
    let names = names.iter().map(|name| name.trim());
    let kept = names.filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX && is_kept(name));
    let mut kept: Vec<String> = kept.take(items_max).map(str::to_owned).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// What a node runs on, for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Ios,
    IPhone,
    WatchOs,
    Android,
    MacOs,
    Linux,
    Windows,
    Unknown,
}

impl Platform {
    /// A system's own name counts only beside the family it belongs to.
    fn of(platform: &str, family: Option<&str>) -> Self {
        let platform = platform.trim().to_ascii_lowercase();
        let family = family.unwrap_or_default().trim().to_ascii_lowercase();
        let name = platform.split(' ').next().unwrap_or_default();
        let family_is = |names: &[&str]| names.contains(&family.as_str());
        match name {
            "ios" | "ipados" if family_is(&["iphone"]) => Self::IPhone,
            "ios" | "ipados" if family_is(&["ipad", "ios"]) => Self::Ios,
            "watchos" if family_is(&["apple watch", "watch", "watchos"]) => Self::WatchOs,
            "android" if family_is(&["android"]) => Self::Android,
            "macos" | "darwin" if family_is(&["", "mac", "macos"]) => Self::MacOs,
            "linux" if family_is(&["", "linux"]) => Self::Linux,
            "windows" | "win32" if family_is(&["", "windows"]) => Self::Windows,
            _ => Self::Unknown,
        }
    }

    fn lists(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Ios => &[CANVAS, CAMERA, DEVICE, PERSONAL, NOTIFY],
            Self::IPhone => &[CANVAS, CAMERA, DEVICE, PERSONAL, NOTIFY, WATCH],
            Self::WatchOs => &[DEVICE, NOTIFY],
            Self::Android => &[CANVAS, CAMERA, DEVICE, PERSONAL, NOTIFY, ANDROID],
            Self::MacOs => &[CANVAS, CAMERA, DEVICE, PERSONAL, DESKTOP, MAC],
            Self::Linux => &[DESKTOP],
            Self::Windows => &[CAMERA, DEVICE, DESKTOP],
            Self::Unknown => &[CANVAS, CAMERA, NOTIFY],
        }
    }

    fn allows(self, command: &str) -> bool {
        self.lists().iter().any(|list| list.contains(&command))
    }
}

/// What the canvas of this gateway is shown with, where 2026.3.13 lists it; protocol 4 leaves it to whatever brings a
/// canvas. A browser is of no known platform.
const CANVAS: &[&str] = &[
    "canvas.present",
    "canvas.hide",
    "canvas.navigate",
    "canvas.eval",
    "canvas.snapshot",
    "canvas.a2ui.push",
    "canvas.a2ui.pushJSONL",
    "canvas.a2ui.reset",
];
const CAMERA: &[&str] = &["camera.list", "location.get"];
const DEVICE: &[&str] = &["device.info", "device.status"];
const NOTIFY: &[&str] = &["system.notify"];
const WATCH: &[&str] = &["watch.status", "watch.notify"];
const MAC: &[&str] = &["camera.ptz.status", "device.apps"];
const PERSONAL: &[&str] = &[
    "contacts.search",
    "calendar.events",
    "reminders.list",
    "photos.latest",
    "motion.activity",
    "motion.pedometer",
];
const ANDROID: &[&str] = &[
    "notifications.list",
    "notifications.actions",
    "device.permissions",
    "device.health",
    "device.apps",
    "callLog.search",
    "mobile.ui.observe",
    "mobile.ui.act",
];
const DESKTOP: &[&str] = &[
    "system.run.prepare",
    "system.run",
    "system.which",
    "system.execApprovals.get",
    "system.execApprovals.set",
    "fs.listDir",
    "terminal.upload",
    "system.notify",
    "browser.proxy",
    "browser.proxy.upload.v1",
    "mcp.tools.call.v1",
    "agent.cli.claude.run.v1",
    "screen.snapshot",
    "desktop.stream",
    "computer.act",
];
/// May be declared; they run only where the configuration says so.
const DANGEROUS: &[&str] = &[
    "camera.snap",
    "camera.clip",
    "camera.ptz.control",
    "screen.record",
    "contacts.add",
    "calendar.add",
    "reminders.add",
    "sms.send",
    "sms.search",
    "health.summary",
];
const TALK: &[&str] = &["talk.ptt.start", "talk.ptt.stop", "talk.ptt.cancel", "talk.ptt.once"];
/// Longer than any name of the protocol.
const NAME_BYTES_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(platform: &str, family: Option<&str>, caps: &[&str], commands: &[&str]) -> Vec<String> {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        surface(
            (platform, family),
            &strings(caps),
            &strings(commands),
            &BTreeMap::new(),
            (&NodeCommands::default(), 8),
        )
        .commands
    }

    #[test]
    fn who_says_no_goes_before_who_says_yes() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let rules = NodeCommands {
            allow: names(&["camera.snap", "canvas.present", "sms.send", "device.info"]),
            deny: names(&["sms.send", "system.which", "device.info"]),
        };
        let none = NodeCommands::default();
        let linux = ("linux", Some("Linux"));
        for (command, without, with) in [
            ("system.run", Verdict::Allowed, Verdict::Allowed),
            ("system.which", Verdict::Allowed, Verdict::NotListed),
            ("camera.snap", Verdict::Dangerous, Verdict::Allowed),
            ("camera.clip", Verdict::Dangerous, Verdict::Dangerous),
            ("canvas.present", Verdict::NotListed, Verdict::Allowed),
            ("sms.send", Verdict::Dangerous, Verdict::NotListed),
            ("device.info", Verdict::NotListed, Verdict::NotListed),
            ("talk.ptt.start", Verdict::NotListed, Verdict::NotListed),
        ] {
            assert_eq!(verdict(linux, &[], command, &none), without, "{command}");
            assert_eq!(verdict(linux, &[], command, &rules), with, "{command}");
        }
        assert_eq!(verdict(linux, &["talk".to_owned()], "talk.ptt.start", &none), Verdict::Allowed);
        let declared = ["canvas.present", "sms.send", "system.which", "camera.snap"].map(str::to_owned);
        let offered = surface(linux, &[], &declared, &BTreeMap::new(), (&rules, 8)).commands;
        assert_eq!(offered, ["camera.snap", "canvas.present"]);
    }

    #[test]
    fn a_platform_may_declare_what_its_list_says() {
        let asked = ["system.which", "system.run", " system.run ", "dir.fetch", "camera.list", ""];
        assert_eq!(commands("linux", Some("Linux"), &[], &asked), ["system.run", "system.which"]);
        assert_eq!(commands("iOS 18.4", Some("iPhone"), &[], &asked), ["camera.list"]);
        // A name without its family is nobody's.
        assert_eq!(commands("ios 18.4", None, &[], &["contacts.search", "camera.list"]), ["camera.list"]);
        assert_eq!(commands("web", None, &[], &["canvas.eval", "system.run"]), ["canvas.eval"]);
        assert_eq!(commands("linux", None, &[], &["canvas.eval"]), [""; 0]);
        assert_eq!(commands("plan9", None, &[], &["system.run", "system.notify"]), ["system.notify"]);
        assert_eq!(commands("ios", Some("ipad"), &[], &["watch.status"]), [""; 0]);
        assert_eq!(commands("ios", Some("iphone"), &[], &["watch.status"]), ["watch.status"]);
    }

    #[test]
    fn talk_needs_its_surface_and_dangerous_ones_may_be_declared() {
        let asked = ["talk.ptt.once", "sms.send"];
        assert_eq!(commands("android 15 (sdk 35)", Some("Android"), &[], &asked), ["sms.send"]);
        assert_eq!(
            commands("android 15 (sdk 35)", Some("Android"), &["talk"], &asked),
            ["sms.send", "talk.ptt.once"]
        );
    }

    #[test]
    fn what_a_node_declares_is_bounded() {
        let caps: Vec<String> = (0..40).map(|n| format!("cap{n:02}")).chain(["x".repeat(200)]).collect();
        let permissions = (0..40).map(|n| (format!("p{n:02}"), true)).collect();
        let got = surface(("linux", None), &caps, &[], &permissions, (&NodeCommands::default(), 8));
        assert_eq!((got.caps.len(), got.permissions.len()), (8, 8));
    }
}
