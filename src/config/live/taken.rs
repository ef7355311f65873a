//! What a gateway is made of by its settings, and what a running one takes over of changed ones: the same function makes
//! both, so that a setting that is taken over means what it would have meant at a start.

use crate::config::exposure::Exposure;
use crate::config::own::Own;
use crate::config::secrets::Resolved;
use crate::config::settings::{CanvasSettings, Settings};
use crate::environment::Environment;
use crate::host::files::{Files, Roots};
use crate::log::settings::Levels;
use crate::web;
use clawgate_proto::config::{CanvasHost, Config, ControlUi};
use clawgate_proto::host::config::LiveConfig;
use clawgate_proto::limits::Limits;
use clawgate_proto::log::Level;
use std::path::{Path, PathBuf};

/// Everything that counts, decided.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// Mode and secrets.
    pub auth: &'a Resolved,
    /// The reference's file.
    pub settings: &'a Settings,
    /// This program's own.
    pub own: &'a Own,
    /// What it may be opened to.
    pub exposure: &'a Exposure,
    /// What is logged.
    pub levels: Levels,
    /// The folders that are served.
    pub pages: &'a Pages,
}

impl Decided<'_> {
    /// What the core is told. What no setting says (the port it has, what it is called) comes from `base`.
    pub fn over(&self, base: &Config) -> LiveConfig {
        let Self { auth, settings, own, exposure, levels, pages } = self;
        let mut about = base.about.clone();
        about.reach.public_url.clone_from(&settings.public_url);
        about.reach.remote_url.clone_from(&settings.remote_url);
        let config = Config {
            limits: Limits { config_check_ms: base.limits.config_check_ms, ..own.limits.clone() },
            auth: exposure.auth_config(auth, settings),
            port: base.port,
            allowed_origins: settings.allowed_origins.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            allow_real_ip_fallback: settings.allow_real_ip_fallback,
            canvas: pages.canvas.as_ref().map(|(_, host)| *host),
            control_ui: pages.control_ui.as_ref().map(|root| ControlUi {
                built_in: root.is_none(),
                base_path: settings.control_ui.base_path.clone(),
            }),
            strict_transport_security: settings.strict_transport_security.as_deref().map(Into::into),
            // Fixed for the life of the process: its certificate is taken up by itself.
            tls: base.tls.clone(),
            metrics: own.metrics,
            node_commands: settings.node_commands.clone(),
            config_debounce_ms: settings.reload_debounce_ms,
            about,
        };
        // Where nothing is logged, what is made least of is as good as nothing.
        let log_level = levels.console.max(levels.kept).unwrap_or(Level::Error);
        LiveConfig { config: Box::new(config), log_level }
    }
}

/// The folders that are served over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Where the canvas is, when it is served, and whether its pages load themselves again.
    pub canvas: Option<(PathBuf, CanvasHost)>,
    /// The page at the gateway's own address, if any, and where it is installed, if it is not built in.
    pub control_ui: Option<Option<PathBuf>>,
}

impl Pages {
    /// As these settings say.
    pub fn new(settings: &Settings, environment: &Environment, state_dir: &Path) -> Self {
        let page = &settings.control_ui;
        let root = page.root.as_deref().map(|root| environment.path(root));
        Self {
            canvas: canvas(&settings.canvas, environment, state_dir),
            control_ui: (page.enabled != Some(false)).then_some(root),
        }
    }

    /// Has exactly these served.
    pub fn serve(&self, files: &Files) {
        files.set_roots(Roots {
            canvas: self.canvas.as_ref().map(|(root, _)| root.clone()),
            a2ui: if self.canvas.is_some() { web::A2UI } else { &[] },
            control_ui: self.control_ui.clone().flatten(),
            control_page: if self.control_ui == Some(None) { web::CONTROL } else { &[] },
        });
    }
}

fn canvas(
    settings: &CanvasSettings,
    environment: &Environment,
    state_dir: &Path,
) -> Option<(PathBuf, CanvasHost)> {
    let CanvasSettings { enabled, root, live_reload } = settings;
    if *enabled == Some(false) || environment.is_on("OPENCLAW_SKIP_CANVAS_HOST") {
        return None;
    }
    let root = root.as_deref().map_or_else(|| state_dir.join("canvas"), |root| environment.path(root));
    Some((root, CanvasHost { live_reload: live_reload.unwrap_or(true) }))
}
