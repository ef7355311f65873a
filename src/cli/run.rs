//! `clawgate gateway`: binds, starts the driver, tells people, and watches for signals and panics.

use super::Failure;
use super::args::{RunArgs, Runtime};
use super::plan::Plan;
use crate::config::settings::Bind;
use crate::environment::Environment;
use crate::listen::{self, BindFault, Bound};
use crate::log::Logger;
use clawgate_proto::config::AuthMode;
use clawgate_proto::log::{Level, Record};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Runs a gateway until it is told to stop. When it is told to restart, the program begins anew in this process: same
/// id, same arguments, but the program that lies at its path now.
///
/// # Errors
/// It cannot start, its driver failed, or it cannot begin anew.
pub fn run(args: &RunArgs, environment: &Environment) -> Result<(), Failure> {
    // A program that is replaced while it runs no longer finds its own path.
    let program = std::env::current_exe();
    match serve(args, environment)? {
        After::End => Ok(()),
        After::Restart => {
            let program = program.map_err(|why| Failure::Failed(format!("cannot restart: {why}")))?;
            let why = Command::new(&program).args(std::env::args_os().skip(1)).exec();
            Err(Failure::Failed(format!("cannot restart {}: {why}", program.display())))
        }
    }
}

/// What follows when a gateway has stopped.
enum After {
    End,
    Restart,
}

fn serve(args: &RunArgs, environment: &Environment) -> Result<After, Failure> {
    let plan = Plan::make(args, environment)?;
    let threshold = plan.log_file.console(args.verbose, plan.log_level.as_deref());
    let known = [&plan.auth.token, &plan.auth.password].into_iter().flatten();
    let logger = Logger::new(threshold, args.json).hiding(known.map(|sourced| sourced.secret.clone()));
    let (logger, trouble) = plan.log_file.attach(logger);
    let logger = Arc::new(logger);
    report_panics(Arc::clone(&logger));
    // A start that fails now has still changed a file, which its person should hear of.
    let also =
        |why: String| plan.wrote.as_ref().map_or_else(|| why.clone(), |wrote| format!("{why}\n{wrote}"));
    let bound = listen::bind(plan.bind, plan.port).map_err(|fault| match fault {
        BindFault::Taken(why) => Failure::PortTaken(also(why)),
        BindFault::Failed(why) => Failure::Failed(also(why)),
    })?;
    for warning in plan.warnings.iter().chain(&bound.warnings).chain(&trouble) {
        logger.log(&Record::new(Level::Warn, "gateway.warning").field("what", warning));
    }
    let runtime = args.runtime.unwrap_or(Runtime::DEFAULT);
    let restart;
    // The drivers have the same names in different crates.
    macro_rules! drive {
        ($driver:ident) => {{
            let (clock, stop) = ($driver::Clock::start(), $driver::Stop::new());
            let (gateway, host) = plan.build(clock.now(), &bound.addresses, &logger);
            restart = host.restart();
            let (asked, wanted, is_allowed) = (stop.clone(), host.restart(), plan.restarts_by_signal());
            watch_signals(&logger, move |signal| match signal {
                SIGUSR1 if !is_allowed => false,
                SIGUSR1 => {
                    wanted.store(true, Ordering::Release);
                    asked.restart();
                    true
                }
                _ => {
                    wanted.store(false, Ordering::Release);
                    asked.stop();
                    true
                }
            })?;
            announce(&plan, &bound, runtime, &logger);
            $driver::run($driver::Setup { listeners: bound.listeners, gateway, host, clock, stop })
        }};
    }
    match runtime {
        #[cfg(feature = "std")]
        Runtime::Std => drive!(clawgate_runtime_std),
        #[cfg(feature = "smol")]
        Runtime::Smol => drive!(clawgate_runtime_smol),
    }
    .map_err(|why| Failure::Failed(format!("the gateway cannot run: {why}")))?;
    let restarts = restart.load(Ordering::Acquire);
    logger.log(&Record::new(Level::Info, "gateway.stopped").field("restarts", restarts));
    Ok(if restarts { After::Restart } else { After::End })
}

/// Tells people where the gateway is and how to reach it; programs get the same as records. Never a secret.
fn announce(plan: &Plan, bound: &Bound, runtime: Runtime, logger: &Logger) {
    let urls: Vec<String> = bound.addresses.iter().map(|address| format!("ws://{address}")).collect();
    let pid = std::process::id();
    let source = plan.auth.in_force().map(|sourced| sourced.source.to_string());
    let record = Record::new(Level::Info, "gateway.listening")
        .field("urls", urls.join(","))
        .field("pid", pid)
        .field("version", env!("CARGO_PKG_VERSION"))
        .field("runtime", runtime.as_str())
        .field("auth", plan.auth.mode.as_str());
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
    line("canvas", "none");
    let auth = plan.auth.mode.as_str();
    line("auth", &source.map_or_else(|| auth.to_owned(), |source| format!("{auth}, from {source}")));
    line("config", &plan.places.config.display().to_string());
    line("state", &plan.places.state_dir.display().to_string());
    let log = logger.file().map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
    line("log", &format!("{log}   clawgate logs shows it"));
    if let Some(wrote) = &plan.wrote {
        line("note", wrote);
    }
    line("connect", "clawgate status");
    if let Some(url) = urls.first() {
        let remark = if plan.bind == Bind::Lan { " (from elsewhere: this machine's address)" } else { "" };
        line(
            "",
            &format!(
                "OPENCLAW_GATEWAY_URL={} openclaw gateway status{remark}",
                url.replace("0.0.0.0", "127.0.0.1")
            ),
        );
    }
    if plan.auth.mode == AuthMode::Token {
        line("token", "clawgate token   shows it");
    }
    eprint!(
        "clawgate {} ({} runtime), for OpenClaw protocols 3 and 4\nlistening on {} (PID {pid})\n{text}",
        env!("CARGO_PKG_VERSION"),
        runtime.as_str(),
        urls.join(", ")
    );
}

/// The first SIGINT or SIGTERM asks the gateway to stop; the second ends the process. SIGUSR1 asks it to restart, where
/// that is allowed: `ask` says whether it was.
fn watch_signals(logger: &Arc<Logger>, ask: impl Fn(i32) -> bool + Send + 'static) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])
        .map_err(|why| Failure::Failed(format!("signals cannot be watched: {why}")))?;
    let logger = Arc::clone(logger);
    let watch = move || {
        let mut asked: Option<Instant> = None;
        for signal in signals.forever() {
            let name = match signal {
                SIGINT => "SIGINT",
                SIGUSR1 => "SIGUSR1",
                _ => "SIGTERM",
            };
            if signal == SIGUSR1 && asked.is_some() {
                continue;
            }
            match asked {
                None => {
                    logger.log(&Record::new(Level::Info, "signal.received").field("signal", name));
                    if ask(signal) {
                        asked = Some(Instant::now());
                    } else {
                        let record = Record::new(Level::Warn, "restart.refused");
                        logger.log(&record.field("why", "commands.restart is false"));
                    }
                }
                // Some tools signal a process and then its group: that is one request, not two.
                Some(at) if at.elapsed() < ONE_REQUEST => {}
                Some(_) => {
                    logger.log(&Record::new(Level::Warn, "gateway.cut").field("signal", name));
                    std::process::exit(128 + signal);
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned()).stack_size(SIGNAL_STACK_BYTES);
    thread.spawn(watch).map_err(|why| Failure::Failed(format!("no thread for signals: {why}")))?;
    Ok(())
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

/// Signals closer together than this are one request.
const ONE_REQUEST: Duration = Duration::from_millis(100);
/// It formats one record.
const SIGNAL_STACK_BYTES: usize = 64 * 1024;
