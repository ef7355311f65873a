//! What the program has to do with whoever looks after it, a service manager: sockets it hands over, what it is told, and
//! whether it starts a gateway again that ends.

pub mod files;
pub mod notify;
pub mod recipe;
pub mod scripts;
pub mod sockets;
pub mod systemctl;
pub mod units;
pub mod users;

use crate::environment::Environment;
use notify::Notifier;
use sockets::Inherited;

/// Who looks after this process, as far as it is known.
#[derive(Debug)]
pub struct Caretaker {
    /// Whom to tell.
    pub notifier: Notifier,
    /// What was handed over.
    pub sockets: Option<Inherited>,
    starts_again: bool,
}

impl Caretaker {
    /// Takes what this process was started with. Once in a process: sockets are handed over once.
    ///
    /// # Errors
    /// What was handed over cannot be used; a sentence for a person.
    pub fn meet(environment: &Environment) -> Result<Self, String> {
        Ok(Self {
            notifier: Notifier::of(environment, std::process::id())?,
            sockets: sockets::take(environment)?,
            starts_again: starts_again(environment, std::process::id()),
        })
    }

    /// Whether a process that ends by itself is started again, so that a restart is an end.
    pub fn starts_again(&self) -> bool {
        self.starts_again
    }
}

/// The units that this program and the reference write have `Restart=always`, and name themselves. Others may not restart
/// what ends well; and a shell of such a unit inherits the name, but not the place of its main process.
fn starts_again(environment: &Environment, pid: u32) -> bool {
    environment.get(UNIT_VARIABLE).is_some()
        && environment.get("SYSTEMD_EXEC_PID").and_then(|text| text.parse().ok()) == Some(pid)
}

/// Names the unit in the environment of a service that is started again whenever it ends; the reference's name.
pub const UNIT_VARIABLE: &str = "OPENCLAW_SYSTEMD_UNIT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_main_process_of_a_unit_of_ours_is_started_again() {
        let unit = (UNIT_VARIABLE, "clawgate-gateway.service");
        for (variables, is_so) in [
            (&[unit, ("SYSTEMD_EXEC_PID", "7")][..], true),
            // A shell below it.
            (&[unit, ("SYSTEMD_EXEC_PID", "6")], false),
            (&[unit], false),
            // Somebody else's unit, which may not restart what ends well.
            (&[("SYSTEMD_EXEC_PID", "7"), ("INVOCATION_ID", "x")], false),
            (&[], false),
        ] {
            let environment = Environment::new(variables.iter().copied());
            assert_eq!(starts_again(&environment, 7), is_so, "{variables:?}");
        }
    }
}
