//! The configuration of a gateway: the reference's own file, read for what this program needs, and
//! `clawgate.json` beside it for what the reference does not know.

pub mod discovery;
pub mod dotenv;
pub mod exposure;
pub mod files;
pub mod first_run;
pub mod hooks;
pub mod live;
pub mod locate;
pub mod open;
pub mod own;
pub mod read;
pub mod secret_refs;
pub mod secrets;
pub mod settings;
pub mod shape;
pub mod start;
pub mod startable;
pub mod watch;
pub mod weak;
pub mod write;

pub use clawgate_config::value;
pub use first_run::ConfigFile;
pub use locate::Places;
pub use open::{Opened, open};
pub use settings::Settings;
pub use value::Node;
