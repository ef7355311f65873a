//! What a service of this installation is made of, whoever the service manager is. Never a secret: what a service file
//! says, every user of the machine can read.

use crate::listen::Place;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// A gateway as a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// `clawgate-gateway`, with the profile behind it when there is one.
    pub name: String,
    /// The profile, when it is not the usual one.
    pub profile: Option<String>,
    /// The program, by its whole path.
    pub program: PathBuf,
    /// What it is started with.
    pub args: Vec<String>,
    /// The state folder.
    pub state_dir: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// What the environment of whoever installs says about where to listen and what to be called.
    pub passed: Vec<(&'static str, String)>,
    /// The home folder, for managers that do not set it.
    pub home: Option<PathBuf>,
    /// Where a service manager may listen in its place; empty where only the gateway knows the address.
    pub listen: Vec<SocketAddr>,
    /// Whose service it is, where the service manager is that of the machine.
    pub user: Option<String>,
}

impl Recipe {
    /// What the environment of the service says, beside what the manager adds.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("OPENCLAW_STATE_DIR", self.state_dir.display().to_string()),
            ("OPENCLAW_CONFIG_PATH", self.config.display().to_string()),
        ];
        if let Some(profile) = &self.profile {
            variables.push(("OPENCLAW_PROFILE", profile.clone()));
        }
        variables.extend(self.passed.iter().cloned());
        for (name, value) in [
            ("OPENCLAW_SERVICE_MARKER", "openclaw"),
            ("OPENCLAW_SERVICE_KIND", "gateway"),
            ("OPENCLAW_SERVICE_VERSION", env!("CARGO_PKG_VERSION")),
        ] {
            variables.push((name, value.to_owned()));
        }
        variables
    }

    /// Folders that the gateway writes in.
    pub fn writes_in(&self) -> Vec<&Path> {
        let mut folders = vec![self.state_dir.as_path()];
        let beside = self.config.parent().filter(|folder| !folder.starts_with(&self.state_dir));
        folders.extend(beside);
        // The locks of gateways are there.
        folders.push(Path::new("/tmp"));
        folders
    }

    /// A line for a person that says what this is.
    pub fn description(&self) -> String {
        match &self.profile {
            Some(profile) => format!("clawgate, an OpenClaw gateway (profile {profile})"),
            None => "clawgate, an OpenClaw gateway".to_owned(),
        }
    }

    /// Whether everything in it is text that a service file can hold.
    ///
    /// # Errors
    /// It is not; a sentence for a person.
    pub fn check(&self) -> Result<(), String> {
        let paths = [&self.program, &self.state_dir, &self.config].into_iter().chain(&self.home);
        for path in paths {
            let text = path.to_str().unwrap_or("\n");
            if text.contains(char::is_control) || !path.is_absolute() {
                return Err(format!(
                    "{:?} cannot be written into a service file: it must be a whole path, in UTF-8, without control \
                     characters",
                    path.display().to_string()
                ));
            }
        }
        match self.passed.iter().find(|(_, value)| value.contains(char::is_control)) {
            Some((name, _)) => {
                Err(format!("{name} cannot be written into a service file: it has control characters"))
            }
            None => Ok(()),
        }
    }
}

/// The name of the service of a profile. The reference's is `openclaw-gateway`, and stays its own.
pub fn name_of(profile: Option<&str>) -> String {
    match profile {
        Some(profile) => format!("{OWN}-{}", profile.to_ascii_lowercase()),
        None => OWN.to_owned(),
    }
}

/// Variables that say where a gateway is and listens, and what it is called; never a secret.
pub const PASSED: [&str; 5] = [
    "OPENCLAW_GATEWAY_PORT",
    "OPENCLAW_GATEWAY_BIND",
    "OPENCLAW_HOME",
    "OPENCLAW_MDNS_HOSTNAME",
    "OPENCLAW_TAILNET_DNS",
];

/// Where a service manager listens for a gateway with these settings: there where the gateway would.
pub fn listen_at(place: Place, port: u16) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, port);
    let loopback = || {
        let mut both = vec![at(Ipv4Addr::LOCALHOST.into())];
        // A socket unit with an address that cannot be had fails as a whole.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            both.push(at(Ipv6Addr::LOCALHOST.into()));
        }
        both
    };
    match place {
        Place::Loopback | Place::Custom(Ipv4Addr::LOCALHOST) => loopback(),
        Place::Lan => vec![at(Ipv4Addr::UNSPECIFIED.into())],
        Place::Custom(address) => vec![at(address.into())],
        Place::Tailnet => Vec::new(),
    }
}

/// The name of the service without a profile.
const OWN: &str = "clawgate-gateway";

/// A recipe for tests.
#[cfg(test)]
pub(crate) fn sample() -> Recipe {
    Recipe {
        name: name_of(None),
        profile: None,
        program: "/usr/bin/clawgate".into(),
        args: ["gateway", "run"].map(str::to_owned).into(),
        state_dir: "/home/a/.openclaw".into(),
        config: "/home/a/.openclaw/openclaw.json".into(),
        passed: Vec::new(),
        home: None,
        listen: vec!["127.0.0.1:18789".parse().expect("an address"), "[::1]:18789".parse().expect("one")],
        user: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_a_service_of_its_own_and_none_is_the_reference_s() {
        assert_eq!(name_of(None), "clawgate-gateway");
        assert_eq!(name_of(Some("Rescue")), "clawgate-gateway-rescue");
    }

    #[test]
    fn where_the_gateway_would_listen_its_manager_does() {
        let at = |place| listen_at(place, 5).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(at(Place::Lan), ["0.0.0.0:5"]);
        assert_eq!(at(Place::Custom(Ipv4Addr::new(192, 0, 2, 7))), ["192.0.2.7:5"]);
        assert_eq!(at(Place::Loopback)[0], "127.0.0.1:5");
        assert!(at(Place::Tailnet).is_empty(), "its address is not known before it is there");
    }

    #[test]
    fn a_path_that_no_service_file_can_hold_is_refused() {
        assert!(sample().check().is_ok());
        let odd = Recipe { passed: vec![("OPENCLAW_HOME", "/a\nExecStart=/bin/sh".to_owned())], ..sample() };
        assert!(odd.check().is_err());
        for path in ["/a\nExecStart=/bin/sh", "relative", "/a\tb"] {
            assert!(Recipe { state_dir: path.into(), ..sample() }.check().is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_folder_is_named_once() {
        assert_eq!(sample().writes_in(), [Path::new("/home/a/.openclaw"), Path::new("/tmp")]);
        let apart = Recipe { config: "/etc/openclaw/c.json".into(), ..sample() };
        assert_eq!(apart.writes_in()[1], Path::new("/etc/openclaw"));
    }
}
