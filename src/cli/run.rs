//! `clawgate gateway`: binds, starts the driver, tells people, and watches for signals and panics.

use super::args::{RunArgs, Runtime};
use super::plan::{Plan, Spot, Stay};
use super::signals::{self, Asked, Watch, Wish};
use super::{Failure, announce as announced};
use crate::config::secrets::{Source, Sourced};
use crate::discovery::network::Machine;
use crate::entropy;
use crate::environment::Environment;
use crate::heap;
use crate::instances::{self, Instance};
use crate::interfaces;
use crate::listen::{self, BindFault, Bound};
use crate::lock::Owner;
use crate::log::Logger;
use crate::profile;
use crate::service::{Caretaker, sockets};
use crate::tailscale::serve as tailscale;
use crate::tls;
use clawgate_proto::config::AuthMode;
use clawgate_proto::log::{Level, Record};
use clawgate_proto::mdns::Responder;
use clawgate_proto::seed::Seed;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Runs a gateway until it is told to stop. When it is told to restart, the program begins anew in this process: same
/// id, same arguments, but the program that lies at its path now. Where a service manager starts again whatever ends, it
/// ends instead.
///
/// # Errors
/// It cannot start, its driver failed, or it cannot begin anew.
pub fn run(args: &RunArgs, environment: &Environment) -> Result<(), Failure> {
    heap::share();
    // A program that is replaced while it runs no longer finds its own path.
    let program = std::env::current_exe();
    let care = Arc::new(Caretaker::meet(environment).map_err(Failure::Failed)?);
    match serve(args, environment, &care)? {
        Wish::Stop => Ok(()),
        Wish::Restart if care.starts_again() => {
            care.notifier.stopping("ends, to be started again");
            Ok(())
        }
        Wish::Restart => {
            let program = program.map_err(|why| Failure::Failed(format!("cannot restart: {why}")))?;
            care.notifier.reloading("begins anew");
            if let Some(sockets) = &care.sockets {
                let kept = sockets.leave_open();
                kept.map_err(|why| Failure::Failed(format!("cannot keep the sockets open: {why}")))?;
            }
            let why = Command::new(&program).args(std::env::args_os().skip(1)).exec();
            Err(Failure::Failed(format!("cannot restart {}: {why}", program.display())))
        }
    }
}

/// Serves until the end, and says whether that is one for good. Its locks are given back.
fn serve(args: &RunArgs, environment: &Environment, care: &Arc<Caretaker>) -> Result<Wish, Failure> {
    let profile = profile::name_of(environment);
    let mut instance = None;
    let mut plan = Plan::make(args, environment, None, &mut |Spot { places, port, .. }| {
        let owner = Owner::this_process(profile, *port, &places.config, &places.state_dir);
        match Instance::take(environment, owner, &places.config, &places.state_dir) {
            Ok(taken) => instance = Some(taken),
            Err(instances::Fault::Running(why)) => return Err(Failure::Locked(why)),
            Err(instances::Fault::Failed(why)) => return Err(Failure::Failed(why)),
        }
        Ok(())
    })?;
    let mut instance = instance.expect("a plan is not made without the lock");
    let logger = Logger::new(plan.log_file.levels.console, args.json).hiding(plan.secrets());
    let (logger, trouble) = plan.log_file.attach(logger);
    let logger = Arc::new(logger);
    report_panics(Arc::clone(&logger));
    if let Some(warning) = &trouble {
        warn(&logger, warning);
    }
    loop {
        let (stay, why) = match serve_once((args, environment, care), &plan, &mut instance, &logger)? {
            Served::Stop => {
                logger.log(&Record::new(Level::Info, "gateway.stopped").field("restarts", false));
                return Ok(Wish::Stop);
            }
            Served::Restart => {
                logger.log(&Record::new(Level::Info, "gateway.stopped").field("restarts", true));
                return Ok(Wish::Restart);
            }
            Served::Stays(stay, why) => (stay, why),
        };
        let record = Record::new(Level::Error, "restart.failed").field("why", why);
        let hint = "the gateway goes on where it listened before; mend this, and restart it again";
        logger.log(&record.field("hint", hint));
        let spot = (stay.place, stay.port);
        match Plan::make(args, environment, Some(stay), &mut |_| Ok(())) {
            Ok(made) => plan = made,
            // The very file may be what is in the way: what was in force goes on.
            Err(_) => (plan.place, plan.port) = spot,
        }
        plan.secrets().for_each(|secret| logger.hide(secret));
    }
}

/// How one run of the gateway ended.
enum Served {
    /// For good.
    Stop,
    /// To begin anew.
    Restart,
    /// To begin anew, and it could not: where it listened, and why.
    Stays(Stay, String),
}

/// Listens, and serves until somebody wishes an end.
fn serve_once(
    (args, environment, care): (&RunArgs, &Environment, &Arc<Caretaker>),
    plan: &Plan,
    instance: &mut Instance,
    logger: &Arc<Logger>,
) -> Result<Served, Failure> {
    // A start that fails now has still changed a file, which its person should hear of.
    let also =
        |why: String| plan.wrote.as_ref().map_or_else(|| why.clone(), |wrote| format!("{why}\n{wrote}"));
    let asked = Arc::new(Asked::default());
    let listening: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
    let may_restart = {
        let (args, environment, listening) = (args.clone(), environment.clone(), Arc::clone(&listening));
        let care = Arc::clone(care);
        move || {
            let listening = listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
            may_start_again((&args, &environment, &care), &listening)
        }
    };
    let by_signal = {
        let (allowed, may_restart) = (plan.restarts_by_signal(), may_restart.clone());
        move || {
            if allowed.load(Ordering::Relaxed) {
                may_restart()
            } else {
                Err("commands.restart is false".to_owned())
            }
        }
    };
    let watch = signals::watch(logger, &asked, by_signal)?;
    let mut said: Option<Instant> = None;
    let mut wait = || {
        if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            said = Some(Instant::now());
            say_it_waits(logger);
        }
        care.notifier.waits("waits for an address in 100.64.0.0/10", LOOK_AGAIN * 10);
        asked.wait(LOOK_AGAIN).is_none()
    };
    let bound = match &care.sockets {
        Some(sockets) => sockets.bound(plan.place, plan.port).map_err(BindFault::Failed),
        None => listen::bind(plan.place, plan.port, &mut wait),
    };
    let bound = match bound {
        Ok(bound) => bound,
        Err(BindFault::Taken(why)) => return Err(Failure::PortTaken(also(why))),
        Err(BindFault::Failed(why)) => return Err(Failure::Failed(also(why))),
        Err(BindFault::Stopped) => {
            let restarts = asked.wish() == Some(Wish::Restart);
            return Ok(ended((args, environment, care), restarts, (watch, &asked), plan.stay(&[])));
        }
    };
    listening.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&bound.addresses);
    if let Some(address) = bound.addresses.first() {
        instance.listens_on(address.port());
    }
    for warning in plan.warnings.iter().chain(&bound.warnings).chain(&instance.warnings) {
        warn(logger, warning);
    }
    let others = instances::others(environment);
    for other in &others {
        logger.log(&about(other));
    }
    let accounts = plan.own(instance.owner().clone(), logger)?;
    let runtime = args.runtime.unwrap_or(Runtime::DEFAULT);
    let stay = plan.stay(&bound.addresses);
    let told = announced::on_networks(plan, &bound.addresses);
    announced::in_dns(plan, &bound.addresses, logger);
    let (restart, serving);
    // The drivers have the same names in different crates.
    macro_rules! drive {
        ($driver:ident) => {{
            let (clock, stop) = ($driver::Clock::start(), $driver::Stop::new());
            let (mut gateway, host, served) = plan.build(clock.now(), &bound.addresses, accounts, logger)?;
            if care.notifier.is_heard() {
                gateway.set_beats(clock.now(), care.notifier.beat_every_ms());
            }
            let host =
                Arc::new(host.with_restart_check(may_restart).with_beat(tells_it_lives(plan, care, &bound)));
            restart = host.restart();
            let files = host.files();
            let (orders, wanted, manager) = (stop.clone(), host.restart(), Arc::clone(care));
            let touched = stop.clone();
            host.watch_config(move || touched.config_touched());
            asked.on_wish(move |wish| {
                if wish == Wish::Stop {
                    manager.notifier.stopping("stops");
                }
                wanted.store(wish == Wish::Restart, Ordering::Release);
                match wish {
                    Wish::Stop => orders.stop(),
                    Wish::Restart => orders.restart(),
                }
            });
            announce((plan, care), &bound, runtime, &others, &announced::line(&told), logger);
            serving = tailscale::begin(plan.tailscale(&bound.addresses), environment, logger);
            let announcer = told.map(|(service, reach)| {
                let says = announced::as_it_is(plan, &service, (served, files));
                $driver::Announcer {
                    responder: Responder::new(service, Seed::new(entropy::bytes()), clock.now().mono),
                    network: Box::new(Machine::for_gateway(reach, Arc::clone(logger), says)),
                }
            });
            let announcer = announcer.ok();
            $driver::run($driver::Setup { listeners: bound.listeners, gateway, host, clock, stop, announcer })
        }};
    }
    let ran = match runtime {
        #[cfg(feature = "std")]
        Runtime::Std => drive!(clawgate_runtime_std),
        #[cfg(feature = "smol")]
        Runtime::Smol => drive!(clawgate_runtime_smol),
    };
    let restarts = restart.load(Ordering::Acquire);
    if let Some(serving) = serving {
        serving.end();
    }
    ran.map_err(|why| Failure::Failed(format!("the gateway cannot run: {why}")))?;
    Ok(ended((args, environment, care), restarts, (watch, &asked), stay))
}

/// What comes after a run.
fn ended(
    (args, environment, care): (&RunArgs, &Environment, &Caretaker),
    restarts: bool,
    (watch, asked): (Watch, &Asked),
    stay: Stay,
) -> Served {
    if !restarts {
        return Served::Stop;
    }
    // It was asked before. Whoever changed the file, or took the port, since then must not end this gateway.
    let could = could_start((args, environment, care));
    // A restart gives way to whoever stops the process meanwhile.
    let unwatched = watch.end();
    match could {
        _ if asked.wish() == Some(Wish::Stop) => Served::Stop,
        Ok(()) => Served::Restart,
        Err(why) => {
            unwatched.end();
            Served::Stays(stay, why)
        }
    }
}

/// Whether the program could start again while it still listens: what a start refuses, and whether the address is there
/// and the port is free or its own.
fn may_start_again(
    (args, environment, care): (&RunArgs, &Environment, &Caretaker),
    ours: &[SocketAddr],
) -> Result<(), String> {
    let (place, port) = Plan::rehearse(args, environment).map_err(|why| why.message())?;
    if let Some(sockets) = &care.sockets {
        return sockets::fit(sockets.addresses(), place, port);
    }
    listen::could(place, port, ours).map_err(BindFault::into_text)
}

/// The same when it listens no more, with the patience of a start.
fn could_start((args, environment, care): (&RunArgs, &Environment, &Caretaker)) -> Result<(), String> {
    let (place, port) = Plan::rehearse(args, environment).map_err(|why| why.message())?;
    if let Some(sockets) = &care.sockets {
        return sockets::fit(sockets.addresses(), place, port);
    }
    match listen::bind(place, port, &mut || false) {
        // A tailnet's address is waited for.
        Ok(_) | Err(BindFault::Stopped) => Ok(()),
        Err(why) => Err(why.into_text()),
    }
}

/// What is told to a service manager when the gateway says that it lives: the first time, that it is ready.
fn tells_it_lives(
    plan: &Plan,
    care: &Arc<Caretaker>,
    bound: &Bound,
) -> impl Fn() + Send + Sync + use<> + 'static {
    let (care, status) = (Arc::clone(care), format!("listening on {}", urls(plan, bound).join(", ")));
    let is_ready = AtomicBool::new(false);
    move || {
        if is_ready.swap(true, Ordering::AcqRel) {
            care.notifier.beat()
        } else {
            care.notifier.ready(&status)
        }
    }
}

fn urls(plan: &Plan, bound: &Bound) -> Vec<String> {
    bound.addresses.iter().map(|address| format!("{}://{address}", plan.scheme())).collect()
}

fn warn(logger: &Logger, what: &str) {
    logger.log(&Record::new(Level::Warn, "gateway.warning").field("what", what));
}

/// Tells people where the gateway is and how to reach it; programs get the same as records. Never a secret.
fn announce(
    (plan, care): (&Plan, &Caretaker),
    bound: &Bound,
    runtime: Runtime,
    others: &[Owner],
    announced: &str,
    logger: &Logger,
) {
    let urls = urls(plan, bound);
    let pid = std::process::id();
    let source = plan.auth.in_force().map(|sourced| sourced.source.to_string());
    let mut record = Record::new(Level::Info, "gateway.listening")
        .field("urls", urls.join(","))
        .field("pid", pid)
        .field("version", env!("CARGO_PKG_VERSION"))
        .field("runtime", runtime.as_str())
        .field("auth", plan.auth.mode.as_str())
        .field("mdns", announced);
    let supervised = supervised(care);
    let shown = plan.tls.as_ref().map(tls::Prepared::shown);
    if let Some(shown) = shown {
        record = record.field("tlsSha256", &shown.fingerprint);
    }
    if let Some(supervised) = &supervised {
        record = record.field("supervised", supervised);
    }
    if logger.is_json() {
        let wrote =
            plan.wrote.as_ref().map(|wrote| Record::new(Level::Info, "config.written").field("what", wrote));
        wrote.iter().for_each(|record| logger.log(record));
        return logger.log(&record);
    }
    logger.keep(&record);
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9}{value}");
    };
    let canvas = plan.pages.canvas.as_ref().map(|(root, _)| root.display().to_string());
    line("canvas", canvas.as_deref().unwrap_or("off"));
    let auth = plan.auth.mode.as_str();
    line("mdns", announced);
    line("auth", &source.map_or_else(|| auth.to_owned(), |source| format!("{auth}, from {source}")));
    if let Some(shown) = shown {
        line("tls", &format!("sha256:{}", shown.fingerprint));
    }
    line("config", &plan.places.config.display().to_string());
    line("state", &plan.places.state_dir.display().to_string());
    let log = logger.file().map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
    let program = plan.program(bound.addresses.first().map(SocketAddr::port));
    if let Some(supervised) = &supervised {
        line("service", supervised);
    }
    line("log", &format!("{log}   {program} logs shows it"));
    for note in plan.wrote.as_deref().into_iter().chain(plan.tls.as_ref().and_then(tls::Prepared::note)) {
        line("note", note);
    }
    for other in others {
        line("note", &instances::sentence(other));
    }
    line("connect", &format!("{program} status"));
    if let Some(address) = bound.addresses.first() {
        let url = |ip: IpAddr| format!("{}://{}", plan.scheme(), SocketAddr::new(ip, address.port()));
        let is_every = address.ip().is_unspecified();
        let here = if is_every { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        line("", &format!("OPENCLAW_GATEWAY_URL={} openclaw gateway status", url(here)));
        if is_every {
            let there = interfaces::lan_address();
            let there = there.map_or_else(|| "this machine's address".to_owned(), |there| url(there.into()));
            line("", &format!("from another machine: {there}, with the {auth}"));
        }
    }
    let of_a_flag = |token: &Sourced| matches!(token.source, Source::Flag(_));
    if plan.auth.mode == AuthMode::Token && !plan.auth.token.as_ref().is_some_and(of_a_flag) {
        line("token", &format!("{} token   shows it", plan.program(None)));
    }
    // A gateway nobody looks at runs as well: what cannot be written is left out.
    let _ = write!(
        io::stderr(),
        "clawgate {} ({} runtime), for OpenClaw protocols 3 and 4\nlistening on {} (PID {pid})\n{text}",
        env!("CARGO_PKG_VERSION"),
        runtime.as_str(),
        urls.join(", ")
    );
}

/// What a service manager does for this gateway; nothing where there is none.
fn supervised(care: &Caretaker) -> Option<String> {
    let mut parts = Vec::new();
    if care.sockets.is_some() {
        parts.push("the service manager holds the sockets".to_owned());
    }
    if let Some(every_ms) = care.notifier.beat_every_ms() {
        parts.push(format!("it is told every {every_ms} ms that the gateway lives"));
    } else if care.notifier.is_heard() {
        parts.push("it is told when the gateway is ready".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Another gateway of this machine, as a record.
fn about(other: &Owner) -> Record {
    let mut record = Record::new(Level::Warn, "gateway.another").field("pid", other.pid);
    if let Some(profile) = &other.profile {
        record = record.field("profile", profile);
    }
    if let Some(port) = other.port {
        record = record.field("port", port);
    }
    if let Some(config) = &other.config {
        record = record.field("config", config);
    }
    record.field("what", instances::sentence(other))
}

fn say_it_waits(logger: &Logger) {
    let record = Record::new(Level::Warn, "gateway.waiting")
        .field("for", "an address in 100.64.0.0/10")
        .field(
            "what",
            "gateway.bind is tailnet, and no interface has a tailnet address yet; nothing is listened on",
        )
        .field("hint", "start Tailscale, or choose another --bind");
    logger.log(&record);
}

/// A panic becomes a line of the log, with its place. What it costs is the driver's to say: a connection, or,
/// when the gateway itself is no longer sound, the process.
fn report_panics(logger: Arc<Logger>) {
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let what =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        logger.log(
            &Record::new(Level::Error, "panic")
                .field("what", what)
                .field("at", place)
                .field("thread", std::thread::current().name().unwrap_or("unnamed")),
        );
    }));
}

/// How often an address that is waited for is looked for, and how often that is said.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const SAY_AGAIN: Duration = Duration::from_secs(60);
