//! What a running gateway takes over of its file, and what it refuses to write (`config-startable`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::scratch::Folder;
use crate::storage::RealDisk;
use clawgate_proto::config::AuthConfig;
use clawgate_proto::host::files::FileRoot;
use std::os::unix::fs::PermissionsExt as _;

const USUAL: &str = "{gateway: {mode: 'local', auth: {mode: 'token', token: 'old'}}}";
/// Of a kind that the table allows and no gateway can start with.
const USELESS: &str =
    "{gateway: {mode: 'local', auth: {mode: 'token', token: 'new'}}, logging: {maxFileBytes: 5}}";
const MENDED: &str =
    "{gateway: {mode: 'local', auth: {mode: 'token', token: 'new'}}, logging: {maxFileBytes: 5000}}";

/// A running gateway's file.
struct Rig {
    file: LiveFile<RealDisk>,
    _folder: Folder,
}

impl Rig {
    fn new(text: &str) -> Self {
        Self::opened(Flags::default(), Exposure::default(), text)
    }

    fn with(flags: Flags, text: &str) -> Self {
        Self::opened(flags, Exposure::default(), text)
    }

    fn opened(flags: Flags, exposure: Exposure, text: &str) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("openclaw.json");
        std::fs::write(&path, text).unwrap();
        let place = if flags.bind == Some(Bind::Lan) { Place::Lan } else { Place::Loopback };
        let start = Start {
            path,
            state_dir: folder.path().to_owned(),
            environment: Environment::default(),
            flags,
            port: Some(0),
            listening: Vec::new(),
            verbose: false,
            bind: Bind::Loopback,
            exposure,
            own: folder.path().join("clawgate.json"),
            log_flag: Some(PathBuf::from("off")),
            spot: Some((place, 0)),
            restarts_by_signal: Arc::default(),
            around: Around::default(),
            base: Config::new(AuthConfig::new(AuthMode::None), 0),
        };
        let storage = Arc::new(Storage::new(RealDisk, 1));
        let seen = seen(&storage, &start);
        let file = LiveFile::new(storage, Arc::new(Logger::new(None, false)), Arc::default(), start, seen);
        Self { file, _folder: folder }
    }

    /// Another gateway of this folder, which was started with what is there, and heard of `edit` between its start and its
    /// first look.
    fn late(&self, edit: impl FnOnce()) -> Self {
        let seen = seen(&self.file.storage, &self.file.start);
        edit();
        let (storage, logger) = (Arc::clone(&self.file.storage), Arc::clone(&self.file.logger));
        let file = LiveFile::new(storage, logger, Arc::default(), self.file.start.clone(), seen);
        Self { file, _folder: Folder::new() }
    }

    fn edit(&self, text: &str) -> Option<Box<ConfigNews>> {
        std::fs::write(&self.file.start.path, text).unwrap();
        self.check()
    }

    /// Looks until the files are at rest.
    fn check(&self) -> Option<Box<ConfigNews>> {
        for _ in 0..5 {
            let ConfigOutcome { answer, news } = self.file.perform(&ConfigOp::Check).unwrap();
            match answer {
                ConfigAnswer::Checked => return news,
                ConfigAnswer::Unsettled => assert!(news.is_none(), "what is not at rest brings nothing"),
                other @ (ConfigAnswer::Snapshot(_)
                | ConfigAnswer::Written(_)
                | ConfigAnswer::Json(_)
                | ConfigAnswer::Reloaded(_)) => panic!("{other:?}"),
            }
        }
        panic!("never at rest")
    }

    fn set(&self, raw: &str) -> Result<ConfigOutcome, ConfigFault> {
        let base_hash = Some(service::hash(&std::fs::read(&self.file.start.path).unwrap()));
        self.file.perform(&ConfigOp::Set(ConfigWrite {
            raw: raw.to_owned(),
            base_hash,
            ..ConfigWrite::default()
        }))
    }

    fn warnings(&self) -> String {
        let ConfigAnswer::Snapshot(shown) = self.file.perform(&ConfigOp::Get).unwrap().answer else {
            panic!("no snapshot")
        };
        shown.warnings.iter().map(|issue| format!("{issue}\n")).collect()
    }
}

/// A secret in a file of its own, which nobody else may read.
fn store_secret(place: &Path, secret: &str) {
    std::fs::write(place, secret).unwrap();
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a start reads.
fn seen(storage: &Storage<RealDisk>, start: &Start) -> Seen {
    let found = read(storage, &start.path).unwrap();
    let (loaded, included) = load_marked(&start.path, found.as_option(), &start.environment);
    let mut environment = start.environment.clone();
    environment.complete(variables_of(&loaded.source));
    let settings = settings_of(&loaded, &environment).unwrap();
    let config = found.content.as_ref().map(|(text, mark)| (text.as_slice(), *mark));
    let own = storage.read(&start.own).unwrap();
    let own = own.as_ref().map(|(text, mark)| (text.as_slice(), *mark));
    let plan = LogPlan::make(start.log_flag.as_deref(), false, &settings.logging, &environment);
    let (config, own) = (Text::of(&start.path, config), Text::of(&start.own, own));
    Seen::new(config, (&loaded, included), own, secret_marks(storage, &settings), plan)
}

#[test]
fn a_new_secret_that_had_to_wait_comes_into_force_when_its_obstacle_is_gone() {
    let rig = Rig::new(USUAL);
    assert!(rig.edit(USELESS).unwrap().live.is_none());
    assert!(rig.warnings().contains("still is: logging.maxFileBytes"), "{}", rig.warnings());
    let live = rig.edit(MENDED).unwrap().live.unwrap();
    assert!(live.config.auth.token.unwrap().matches("new"));
    assert!(!rig.warnings().contains("still is"), "{}", rig.warnings());
}

#[test]
fn no_change_from_elsewhere_leaves_a_file_that_no_gateway_starts_with() {
    let rig = Rig::new(USUAL);
    // What a start refuses beyond what the document may say: mode, auth and bind.
    let remote = "{gateway: {mode: 'remote', auth: {mode: 'token', token: 'old'}}}";
    let unset = "{gateway: {auth: {mode: 'token', token: 'old'}}}";
    let no_password = "{gateway: {mode: 'local', auth: {mode: 'password', token: 'old'}}}";
    let open = "{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}";
    let nowhere = "{gateway: {mode: 'local', bind: 'custom', auth: {mode: 'token', token: 'old'}}}";
    for raw in [USELESS, remote, unset, no_password, open, nowhere] {
        assert!(matches!(rig.set(raw), Err(ConfigFault::Invalid { .. })), "{raw}");
    }
    assert_eq!(std::fs::read_to_string(&rig.file.start.path).unwrap(), USUAL);
    rig.set(MENDED).unwrap();
    // What is of no use already can be changed, as far as that gets.
    rig.edit(USELESS);
    rig.set(USELESS).unwrap();
    rig.set(MENDED).unwrap();
}

#[test]
fn a_restart_that_would_be_the_end_is_refused() {
    let rig = Rig::new(USUAL);
    assert_eq!(rig.file.may_restart(), Ok(()));
    let fault = |text: &str| {
        rig.edit(text);
        rig.file.may_restart().unwrap_err()
    };
    assert!(fault(USELESS).contains("logging.maxFileBytes"));
    assert!(fault("{gateway: {port: 'x'}}").contains("gateway.port"));
    assert!(fault("{gateway: {auth: {token: 'old'}}}").contains("gateway.mode"));
    assert!(fault("{gateway: {mode: 'local', auth: {mode: 'password'}}}").contains("no password"));
    assert!(fault("{").contains("not valid JSON5"));
    rig.edit(MENDED);
    assert_eq!(rig.file.may_restart(), Ok(()));
    // A bind that is in the file only, and that this gateway was not started with.
    assert!(
        fault("{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}").contains("Refusing to bind")
    );
    assert!(
        fault("{gateway: {mode: 'local', bind: 'custom', customBindHost: '203.0.113.7'}}")
            .contains("No interface")
    );
    let open = Rig::with(Flags { allow_unconfigured: true, ..Flags::default() }, "{}");
    assert_eq!(open.file.may_restart(), Ok(()), "it was started without a mode");
}

#[test]
fn a_port_that_is_none_or_somebody_elses_is_no_way_to_restart() {
    let mut rig = Rig::new(USUAL);
    rig.file.start.port = None;
    let theirs = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = theirs.local_addr().unwrap();
    let with = |more: &str| format!("{{gateway: {{mode: 'local', port: {}}}{more}}}", at.port());
    rig.edit(&with(""));
    assert!(rig.file.may_restart().unwrap_err().contains("already listening"));
    rig.edit(&with(", env: {vars: {OPENCLAW_GATEWAY_PORT: 'abc'}}"));
    assert!(rig.file.may_restart().unwrap_err().contains("Invalid port: OPENCLAW_GATEWAY_PORT"));
    rig.file.start.listening = vec![at];
    rig.edit(&with(""));
    assert_eq!(rig.file.may_restart(), Ok(()));
    assert!(matches!(
        rig.set(&with(", env: {vars: {OPENCLAW_GATEWAY_PORT: 'abc'}}")),
        Err(ConfigFault::Invalid { .. })
    ));
}

#[test]
fn what_a_start_would_refuse_does_not_come_into_force() {
    let lan = Exposure { beyond_loopback: true, bind: "lan", ..Exposure::default() };
    let with =
        |token: &str| format!("{{gateway: {{mode: 'local', auth: {{mode: 'token', token: '{token}'}}}}}}");
    let flags = Flags { bind: Some(Bind::Lan), ..Flags::default() };
    let rig = Rig::opened(flags, lan, &with("3f9c2e71b04d5a66"));
    assert!(rig.edit(&with("changeme")).unwrap().live.is_none());
    assert!(rig.warnings().contains("with a secret that anybody would try"), "{}", rig.warnings());
    assert!(rig.file.may_restart().unwrap_err().contains("anybody would try"));
    let live = rig.edit(&with("88aa10ce3f9c2e71")).unwrap().live.unwrap();
    assert!(live.config.auth.token.unwrap().matches("88aa10ce3f9c2e71"));
    assert_eq!(rig.file.may_restart(), Ok(()));
    assert!(matches!(rig.set(&with("changeme")), Err(ConfigFault::Invalid { .. })));
}

#[test]
fn what_the_command_line_says_of_tailscale_outlives_changes_of_the_file() {
    let with =
        |more: &str| format!("{{gateway: {{mode: 'local', auth: {{token: '3f9c2e71b04d5a66'}}{more}}}}}");
    let serve = Flags { tailscale: Some(TailscaleMode::Serve), ..Flags::default() };
    let rig = Rig::with(serve, &with(""));
    let live = rig.edit(&with(", trustedProxies: ['10.0.0.1']")).unwrap().live.unwrap();
    assert!(live.config.auth.allow_tailscale, "it is served, and its identities count");
    let news = rig.set(&with(", tailscale: {mode: 'funnel'}")).unwrap().news.unwrap();
    assert!(!news.restart_now && news.restart.is_empty(), "it is in nobody's way: {news:?}");
    let news = rig.edit(&with(", tailscale: {mode: 'off', resetOnExit: true}")).unwrap();
    assert_eq!(news.restart, ["gateway.tailscale.resetOnExit"], "no flag says anything of that");
    let off = Flags { tailscale: Some(TailscaleMode::Off), ..Flags::default() };
    let rig = Rig::with(off, &with(", tailscale: {mode: 'serve'}"));
    let live =
        rig.edit(&with(", tailscale: {mode: 'serve'}, trustedProxies: ['10.0.0.1']")).unwrap().live.unwrap();
    assert!(!live.config.auth.allow_tailscale);
}

#[test]
fn programs_that_hold_secrets_are_named_on_the_machine_itself() {
    // Compatibility row exec-providers-local.
    let provider = |command: &str| {
        format!(
            "{{gateway: {{mode: 'local', auth: {{mode: 'token', token: 'old'}}}}, secrets: {{providers: {{p: {{source: 'exec', \
             command: '{command}'}}}}}}}}"
        )
    };
    let rig = Rig::new(USUAL);
    let ConfigFault::Invalid { message, .. } = rig.set(&provider("/bin/sh")).unwrap_err() else { panic!() };
    assert!(message.contains("secrets.providers.p"), "{message}");
    assert_eq!(std::fs::read_to_string(&rig.file.start.path).unwrap(), USUAL);
    // What is there already may stay, and go.
    let rig = Rig::new(&provider("/bin/sh"));
    let port = provider("/bin/sh").replace("{mode: 'local'", "{mode: 'local', port: 5");
    rig.set(&port).unwrap();
    assert!(rig.set(&provider("/bin/false")).is_err());
    rig.set(USUAL).unwrap();
}

#[test]
fn a_secret_in_another_file_is_taken_over_when_that_changes() {
    let folder = Folder::new();
    let place = folder.path().join("secret");
    let store = |secret: &str| store_secret(&place, secret);
    store("first");
    let text = format!(
        "{{gateway: {{mode: 'local', auth: {{mode: 'token', token: {{source: 'file', provider: 'p', id: 'value'}}}}}}, \
         secrets: {{providers: {{p: {{source: 'file', mode: 'singleValue', path: '{}'}}}}}}}}",
        place.display()
    );
    let rig = Rig::new(&text);
    assert!(rig.check().is_none());
    store("second, which is longer");
    let live = rig.check().unwrap().live.unwrap();
    assert!(live.config.auth.token.unwrap().matches("second, which is longer"));
    assert!(rig.check().is_none(), "once");
    std::fs::remove_file(&place).unwrap();
    assert!(rig.check().unwrap().live.is_none());
    assert!(rig.warnings().contains("the secret cannot be fetched"), "{}", rig.warnings());
    store("third");
    assert!(rig.check().unwrap().live.is_some());
}

#[test]
fn secrets_are_fetched_again_when_somebody_asks() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let (program, says) = (folder.path().join("program"), folder.path().join("says"));
    std::fs::write(&program, format!("#!/bin/sh\ncat {}\n", says.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let say = |secret: &str| {
        std::fs::write(&says, format!("{{\"protocolVersion\": 1, \"values\": {{\"value\": \"{secret}\"}}}}"))
            .unwrap();
    };
    let with = |reload: &str| {
        format!(
            "{{gateway: {{mode: 'local', reload: {{mode: '{reload}'}}, auth: {{mode: 'token', token: {{source: 'exec', \
             provider: 'p', id: 'value'}}}}}}, secrets: {{providers: {{p: {{source: 'exec', command: '{}'}}}}}}}}",
            program.display()
        )
    };
    say("first");
    let rig = Rig::new(&with("hot"));
    let reload = || match rig.file.perform(&ConfigOp::Reload) {
        Ok(ConfigOutcome { answer: ConfigAnswer::Reloaded(Some(live)), news }) => {
            Ok((live.config.auth.token.unwrap().expose().to_owned(), news.is_some()))
        }
        Ok(other) => panic!("{other:?}"),
        Err(ConfigFault::Failed(why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    };
    say("second");
    assert!(rig.check().is_none(), "what a program says has no mark");
    assert_eq!(reload(), Ok(("second".to_owned(), false)));
    std::fs::remove_file(&says).unwrap();
    assert!(reload().unwrap_err().starts_with("what was in force still is: "));
    say("third");
    assert_eq!(reload(), Ok(("third".to_owned(), false)));
    rig.edit(&with("off"));
    assert!(reload().unwrap_err().contains("gateway.reload.mode is off"));
    rig.edit("{gateway: {mode: 5}}");
    assert!(reload().unwrap_err().contains("gateway.mode"));
}

#[test]
fn the_levels_of_the_log_follow_the_file() {
    let with = |logging: &str| USUAL.replace("{gateway", &format!("{{logging: {logging}, gateway"));
    let rig = Rig::new(&with("{level: 'info', consoleLevel: 'silent'}"));
    let live = rig.edit(&with("{level: 'trace', consoleLevel: 'error'}")).unwrap().live.unwrap();
    assert_eq!((live.log_level, rig.file.logger.threshold()), (Level::Trace, Some(Level::Error)));
    let off = with("{level: 'warn', consoleLevel: 'debug'}")
        .replace("{mode: 'local'", "{reload: {mode: 'off'}, mode: 'local'");
    let news = rig.edit(&off).unwrap();
    assert!(news.live.is_none() && !news.hot_reload && !rig.file.hot_reload());
    assert_eq!(news.restart, ["logging.consoleLevel", "logging.level"]);
    assert!(rig.warnings().contains("still is: gateway.reload.mode is off"), "{}", rig.warnings());
    assert_eq!(rig.file.logger.threshold(), Some(Level::Error));
    // On again: what had to wait comes too.
    let on = off.replace("'off'", "'hot'");
    assert!(!rig.edit("{").unwrap().hot_reload, "a file of no use changes nothing");
    let news = rig.edit(&on).unwrap();
    assert!(news.hot_reload);
    assert_eq!(news.live.unwrap().log_level, Level::Debug);
    assert_eq!(rig.file.logger.threshold(), Some(Level::Debug));
}

/// One that was started by its file alone.
fn without_flags(text: &str) -> Rig {
    let mut rig = Rig::new(text);
    (rig.file.start.port, rig.file.start.spot) = (None, Some((Place::Loopback, 5)));
    rig
}

/// The file with other settings of `gateway`.
fn with(more: &str) -> String {
    USUAL.replace("{mode: 'local'", &format!("{{{more}, mode: 'local'"))
}

#[test]
fn what_waits_for_a_restart_is_told_until_it_is_taken_back() {
    let rig = without_flags(&with("port: 5, reload: {mode: 'hot'}"));
    let news = rig.edit(&with("port: 6, reload: {mode: 'hot'}")).unwrap();
    assert_eq!((news.restart.as_slice(), news.restart_now), (&["gateway.port".to_owned()][..], false));
    assert_eq!(rig.edit("{").unwrap().restart, ["gateway.port"], "a file of no use changes nothing");
    assert_eq!(rig.edit(&with("port: 5, reload: {mode: 'hot'}")).unwrap().restart, [""; 0]);
}

#[test]
fn what_needs_other_sockets_restarts_and_nothing_is_taken_over_before() {
    let rig = without_flags(&with("port: 5"));
    let free = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    let moved = with(&format!("port: {port}")).replace("'old'", "'new'");
    // Somebody has that port: it goes on where it is, with what it can.
    let news = rig.edit(&moved).unwrap();
    assert!(!news.restart_now && news.live.unwrap().config.auth.token.unwrap().matches("new"));
    assert_eq!(news.restart, ["gateway.port"]);
    rig.edit(&with("port: 5"));
    drop(free);
    let news = rig.edit(&moved).unwrap();
    assert!(news.restart_now && news.live.is_none(), "all of it at once");
    // The flag is stronger: nobody is dropped for what changes nothing.
    let rig = Rig::new(&with("port: 5"));
    let news = rig.edit(&with("port: 6")).unwrap();
    assert!(!news.restart_now && news.restart.is_empty());
    let rig = Rig::new(&with("reload: {mode: 'restart'}"));
    let news = rig.edit(&with("reload: {mode: 'restart'}, allowRealIpFallback: true")).unwrap();
    assert!(news.restart_now && news.live.is_none());
}

#[test]
fn a_file_of_no_use_is_told_once_with_its_place_and_changes_nothing() {
    let rig = Rig::new(USUAL);
    let fault = |text: &str| {
        let news = rig.edit(text).unwrap();
        assert!(news.live.is_none() && !news.restart_now);
        news.fault.unwrap()
    };
    let broken = fault("{\n  gateway: {\n    port: ,\n}}");
    assert_eq!((broken.line, broken.key.as_str()), (Some(3), ""));
    assert!(fault("{gateway: {mode: 'local', auth: {mo").message.contains("not valid JSON5"));
    assert!(broken.file.ends_with("openclaw.json"), "{broken}");
    let wrong = fault("{\n  gateway: {\n    port: 'x', bind: 7,\n}}");
    assert_eq!((wrong.line, wrong.key.as_str()), (Some(3), "gateway.port"));
    assert!(wrong.message.ends_with("(and 1 more)"), "{wrong}");
    assert!(rig.check().is_none(), "once");
    // Truncated, and gone: a running gateway does not become one without settings.
    assert_eq!(fault("").message, "the file is empty");
    assert_eq!(fault(" \n").message, "the file is empty");
    std::fs::remove_file(&rig.file.start.path).unwrap();
    assert_eq!(rig.check().unwrap().fault.unwrap().message, "the file is not there");
    assert!(rig.check().is_none(), "once");
    let news = rig.edit(USUAL).unwrap();
    assert!(news.fault.is_none() && news.live.is_none(), "mended, and as it was");
    assert!(rig.edit(MENDED).unwrap().live.unwrap().config.auth.token.unwrap().matches("new"));
}

#[test]
fn what_this_gateway_wrote_itself_is_no_news() {
    let rig = Rig::new(USUAL);
    let news = rig.set(MENDED).unwrap().news.unwrap();
    assert!(news.live.is_some());
    assert!(rig.check().is_none());
    // Nor does asking for it bring into force what is not at rest.
    std::fs::write(&rig.file.start.path, USUAL).unwrap();
    assert!(rig.file.perform(&ConfigOp::Get).unwrap().news.is_none());
    assert!(rig.check().unwrap().live.is_some());
}

#[test]
fn included_files_and_the_own_one_count_as_the_file_itself() {
    let rig = Rig::new(USUAL);
    let part = rig._folder.path().join("part.json");
    std::fs::write(&part, "{allowRealIpFallback: false}").unwrap();
    let text = "{gateway: {$include: 'part.json', mode: 'local', auth: {mode: 'token', token: 'old'}}}";
    rig.edit(text);
    assert!(rig.file.followed().contains(&part));
    std::fs::write(&part, "{allowRealIpFallback: true}").unwrap();
    assert!(rig.check().unwrap().live.unwrap().config.allow_real_ip_fallback);
    std::fs::write(&part, "{allowRealIpFallback: tru").unwrap();
    assert!(rig.check().unwrap().fault.is_some());
    std::fs::remove_file(&part).unwrap();
    assert!(rig.check().unwrap().fault.is_some());
    std::fs::write(&part, "{}").unwrap();
    assert!(!rig.check().unwrap().live.unwrap().config.allow_real_ip_fallback);
    let own = rig.file.start.own.clone();
    std::fs::write(&own, "{limits: {socketsMax: 77}}").unwrap();
    assert_eq!(rig.check().unwrap().live.unwrap().config.limits.sockets_max, 77);
    std::fs::write(&own, "{limits: {\n\nsocketMax: 78}}").unwrap();
    let fault = rig.check().unwrap().fault.unwrap();
    assert!(fault.file.ends_with("clawgate.json") && fault.message.contains("socketMax"), "{fault}");
    assert_eq!(fault.line, Some(3));
    // While one of them is of no use, none of them counts.
    assert!(rig.edit(&text.replace("'old'", "'new'")).unwrap().live.is_none());
    // One that is gone takes nothing back: what it forbade stays forbidden.
    std::fs::remove_file(&own).unwrap();
    let fault = rig.check().unwrap().fault.unwrap();
    assert!(fault.file.ends_with("clawgate.json") && fault.message.contains("not there any more"), "{fault}");
    assert!(rig.check().is_none(), "which is told once");
    std::fs::write(&own, "{}").unwrap();
    let live = rig.check().unwrap().live.unwrap();
    assert!(live.config.auth.token.unwrap().matches("new"));
    assert_eq!(live.config.limits, clawgate_proto::limits::Limits::default());
}

#[test]
fn of_what_no_gateway_could_start_with_nothing_counts() {
    let rig = Rig::new(USUAL);
    let weak = "{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'token', token: 'password'}}}";
    let news = rig.edit(weak).unwrap();
    assert!(news.live.is_none() && !news.restart_now, "{news:?}");
    let not_in_force = rig.warnings();
    assert!(not_in_force.contains("Refusing to bind"), "{not_in_force}");
    let strong = weak.replace("'password'", "'correct horse battery staple 99'");
    assert!(rig.edit(&strong).unwrap().restart_now);
}

#[test]
fn what_could_not_be_read_is_read_again_although_nothing_changed() {
    let rig = Rig::new(USUAL);
    let path = rig.file.start.path.clone();
    let kept = rig.file.start.path.with_extension("kept");
    // A folder in its place cannot be read by anybody; the same file, with the same mark, comes back.
    std::fs::write(&kept, USUAL.replace("'old'", "'new'")).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(rig.check().unwrap().fault.is_some());
    assert!(rig.check().is_none(), "which is told once");
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&kept, &path).unwrap();
    assert!(rig.check().unwrap().live.unwrap().config.auth.token.unwrap().matches("new"));
}

#[test]
fn what_is_changed_between_the_start_and_the_first_look_is_news() {
    let folder = Folder::new();
    let place = folder.path().join("secret");
    let store = |secret: &str| store_secret(&place, secret);
    store("first");
    let text = format!(
        "{{gateway: {{$include: 'part.json', mode: 'local', auth: {{mode: 'token', token: {{source: 'file', provider: 'p', \
         id: 'value'}}}}}}, secrets: {{providers: {{p: {{source: 'file', mode: 'singleValue', path: '{}'}}}}}}}}",
        place.display()
    );
    let rig = Rig::new(USUAL);
    let (path, own) = (rig.file.start.path.clone(), rig.file.start.own.clone());
    let part = rig._folder.path().join("part.json");
    let reset = || {
        std::fs::write(&path, &text).unwrap();
        std::fs::write(&part, "{allowRealIpFallback: false}").unwrap();
        let _ = std::fs::remove_file(&own);
        store("first");
    };
    reset();
    assert!(rig.late(|| {}).check().is_none(), "nothing was changed");
    let edits: [&dyn Fn(); 4] = [
        &|| std::fs::write(&path, MENDED).unwrap(),
        &|| std::fs::write(&part, "{allowRealIpFallback: true}").unwrap(),
        &|| std::fs::write(&own, "{limits: {socketsMax: 77}}").unwrap(),
        &|| store("second, which is longer"),
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        reset();
        let late = rig.late(edit);
        let live = late.check().unwrap_or_else(|| panic!("edit {at} is news")).live.unwrap().config;
        let token = live.auth.token.unwrap();
        let new = [
            token.matches("new"),
            live.allow_real_ip_fallback,
            live.limits.sockets_max == 77,
            token.matches("second, which is longer"),
        ];
        assert_eq!(new.iter().filter(|new| **new).count(), 1, "{at}");
        assert!(new[at] && late.check().is_none(), "{at}: once");
    }
    // Nor does it wait for somebody to look.
    reset();
    let late = rig.late(edits[1]);
    let (told, hears) = std::sync::mpsc::sync_channel(64);
    late.file.watch(move || {
        let _ = told.try_send(());
    });
    hears.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
}

#[test]
fn an_include_is_what_its_name_leads_to() {
    let text = "{gateway: {mode: 'local', auth: {mode: 'token', token: 'old'}, $include: 'on/part.json'}}";
    let rig = Rig::new(USUAL);
    let folder = rig._folder.path();
    for (name, text) in [("a", "{allowRealIpFallback: false}"), ("b", "{allowRealIpFallback: true}")] {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("part.json"), text).unwrap();
    }
    let lead = |to: &str| {
        let _ = std::fs::remove_file(folder.join("new"));
        std::os::unix::fs::symlink(to, folder.join("new")).unwrap();
        std::fs::rename(folder.join("new"), folder.join("on")).unwrap();
    };
    lead("a");
    assert!(rig.edit(text).unwrap().fault.is_none());
    assert!(rig.check().is_none());
    // Neither of the files is changed.
    lead("b");
    assert!(rig.check().unwrap().live.unwrap().config.allow_real_ip_fallback);
    lead("a");
    assert!(!rig.check().unwrap().live.unwrap().config.allow_real_ip_fallback);
}

#[test]
fn what_is_written_while_the_rest_is_judged_is_not_taken_for_known() {
    let text = "{gateway: {$include: 'part.json', mode: 'local', auth: {mode: 'token', token: 'old'}}}";
    let rig = Rig::new(USUAL);
    let part = rig._folder.path().join("part.json");
    std::fs::write(&part, "{allowRealIpFallback: false}").unwrap();
    std::fs::write(&rig.file.start.path, text).unwrap();
    let look = rig.file.look().unwrap();
    std::fs::write(&part, "{allowRealIpFallback: true}").unwrap();
    rig.file.observe(&look);
    assert!(rig.check().unwrap().live.unwrap().config.allow_real_ip_fallback);
}

#[test]
fn pages_headers_and_the_log_follow_the_file() {
    let rig = Rig::new(USUAL);
    let root = rig._folder.path().join("shown");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("index.html"), "other").unwrap();
    let more = format!(
        "http: {{securityHeaders: {{strictTransportSecurity: 'max-age=5'}}}}, controlUi: {{basePath: '/ui', root: '{}'}}, \
         reload: {{debounceMs: 7}}, nodes: {{denyCommands: ['system.run']}}",
        root.display()
    );
    let text = with(&more).replacen('{', &format!("{{canvasHost: {{root: '{}'}}, ", root.display()), 1);
    let text =
        text.replacen('{', "{commands: {restart: false}, env: {vars: {OPENCLAW_LOG_LEVEL: 'error'}}, ", 1);
    rig.file.start.restarts_by_signal.store(true, Ordering::Relaxed);
    let news = rig.edit(&text).unwrap();
    assert_eq!((news.restart.len(), news.restart_now), (0, false));
    let config = news.live.unwrap().config;
    assert_eq!(config.strict_transport_security.as_deref(), Some("max-age=5"));
    let page = config.control_ui.unwrap();
    assert_eq!((page.base_path.as_str(), page.built_in), ("/ui", false));
    assert!(config.node_commands.deny.contains("system.run"));
    assert_eq!(config.config_debounce_ms, 7);
    assert!(!rig.file.start.restarts_by_signal.load(Ordering::Relaxed));
    assert_eq!(rig.file.logger.threshold(), Some(Level::Error));
    for root in [FileRoot::Canvas, FileRoot::ControlUi] {
        assert_eq!(rig.file.files.read(root, "index.html", 0, 9).unwrap().piece, b"other");
    }
    let off = text.replace("canvasHost: {", "canvasHost: {enabled: false, ");
    assert!(rig.edit(&off).unwrap().live.unwrap().config.canvas.is_none());
    assert!(rig.file.files.read(FileRoot::Canvas, "index.html", 0, 9).is_err());
}

#[test]
fn a_change_behind_many_others_is_not_lost() {
    let rig = Rig::new(USUAL);
    let many: String = (0..2 * PATHS_MAX).map(|n| format!("k{n}: {n}, ")).collect();
    let text = USUAL.replace("'old'", "'new'").replacen('{', &format!("{{agents: {{x: {{{many}}}}}, "), 1);
    assert!(rig.edit(&text).unwrap().live.unwrap().config.auth.token.unwrap().matches("new"));
}
