//! The program under a service manager: sockets that outlive it, what it tells, and how it restarts; on both drivers.
//! The manager is `clawgate_support::Supervisor`, which speaks systemd's protocols.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

use clawgate_support::{Settings, Supervisor};
use rustix::process::Signal;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_clawgate");
const RUNTIMES: &[&str] = &[
    #[cfg(feature = "std")]
    "std",
    #[cfg(feature = "smol")]
    "smol",
];
/// Longest wait for an answer.
const BOUND: Duration = Duration::from_secs(30);

/// Settings, and the socket that the manager holds for them.
fn prepared(runtime: &str) -> (Settings, TcpListener) {
    let settings = Settings::new(EXE, runtime);
    let listener = TcpListener::bind(settings.addr()).unwrap();
    (settings, listener)
}

/// What came of one connection on which a request was made.
#[derive(Debug, PartialEq, Eq)]
enum Visit {
    Answered,
    /// Nobody listens.
    Refused,
    /// The gateway was gone before it answered.
    Cut,
}

fn visit(addr: SocketAddr) -> Visit {
    let mut stream = match TcpStream::connect_timeout(&addr, BOUND) {
        Ok(stream) => stream,
        Err(why) if why.kind() == ErrorKind::ConnectionRefused => return Visit::Refused,
        Err(why) => panic!("{why}"),
    };
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    match stream.write_all(request.as_bytes()).and_then(|()| stream.read_exact(&mut answer)) {
        Ok(()) => {
            assert_eq!(&answer, b"HTTP/1.1 200");
            Visit::Answered
        }
        Err(why) => {
            let kind = why.kind();
            assert!(
                matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof),
                "{why}"
            );
            Visit::Cut
        }
    }
}

#[test]
fn a_manager_hears_when_it_is_ready_that_it_lives_and_when_it_stops() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        let mut manager = Supervisor::new(&settings, Vec::new())
            .variable("WATCHDOG_USEC", "100000")
            .variable("WATCHDOG_PID", "$$");
        manager.start().unwrap();
        let ready = manager.hear("READY=1\nSTATUS=listening on ws://127.0.0.1:", 0);
        assert_eq!(visit(settings.addr()), Visit::Answered, "who is ready answers");
        assert!(manager.told()[..ready - 1].is_empty(), "nothing is told before: {:?}", manager.told());
        let beats = (0..5).fold(ready, |after, _| manager.hear("WATCHDOG=1", after));
        manager.signal(Signal::TERM);
        manager.hear("STOPPING=1", beats);
        assert!(manager.wait().success());
        assert!(manager.output().contains("it is told every 50 ms"), "{}", manager.output());
    }
}

#[test]
fn without_a_watchdog_a_manager_hears_of_readiness_alone() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        // The watchdog of somebody else, whose variables were inherited.
        let mut manager = Supervisor::new(&settings, Vec::new())
            .variable("WATCHDOG_USEC", "20000")
            .variable("WATCHDOG_PID", "1");
        manager.start().unwrap();
        manager.hear("READY=1", 0);
        assert_eq!(visit(settings.addr()), Visit::Answered);
        manager.signal(Signal::TERM);
        assert!(manager.wait().success());
        let told = manager.told();
        assert!(!told.iter().any(|message| message.contains("WATCHDOG")), "{told:?}");
    }
}

#[test]
fn both_sockets_of_loopback_are_taken_over_and_no_other_is_bound() {
    for runtime in RUNTIMES {
        let (settings, first) = prepared(runtime);
        let port = settings.addr().port();
        let second = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
        let addresses: Vec<SocketAddr> = [Some(&first), second.as_ref()]
            .into_iter()
            .flatten()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        let mut manager = Supervisor::new(&settings, [Some(first), second].into_iter().flatten().collect());
        manager.start().unwrap();
        manager.hear("READY=1", 0);
        for address in addresses {
            assert_eq!(visit(address), Visit::Answered, "{address}");
        }
        assert!(manager.output().contains("the service manager holds the sockets"));
    }
}

#[test]
fn nobody_is_refused_while_it_is_killed_again_and_again() {
    const CLIENTS: u32 = 100;
    const THREADS: u32 = 4;
    const KILLS_MIN: u32 = 5;
    const TRIES_MAX: u32 = 1_000;
    for runtime in RUNTIMES {
        let (settings, listener) = prepared(runtime);
        let addr = settings.addr();
        let mut manager = Supervisor::new(&settings, vec![listener]);
        // The first clients come before it runs at all.
        let (done, answered, cut) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
        let kills = thread::scope(|scope| {
            let clients: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..CLIENTS / THREADS {
                            let is_answered = (0..TRIES_MAX).any(|_| match visit(addr) {
                                Visit::Answered => true,
                                Visit::Refused => panic!("nobody listens"),
                                Visit::Cut => {
                                    cut.fetch_add(1, Ordering::Relaxed);
                                    false
                                }
                            });
                            assert!(is_answered, "no answer in {TRIES_MAX} tries");
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let killer = scope.spawn(|| {
                let mut kills = 0;
                while !done.load(Ordering::Relaxed) || kills < KILLS_MIN {
                    manager.start().unwrap();
                    let heard = manager.told().len();
                    // Early and late in its life: before it is ready, and while it serves.
                    if kills % 3 != 0 {
                        manager.hear("READY=1", heard);
                        let some = answered.load(Ordering::Relaxed);
                        let bound = Instant::now() + Duration::from_millis(200);
                        while answered.load(Ordering::Relaxed) == some && Instant::now() < bound {
                            thread::yield_now();
                        }
                    }
                    manager.kill();
                    kills += 1;
                }
                kills
            });
            let clients: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            let kills = killer.join().unwrap();
            clients.into_iter().for_each(|client| client.unwrap());
            kills
        });
        assert_eq!(answered.into_inner(), CLIENTS);
        assert!(kills >= KILLS_MIN, "{kills}");
        println!("{runtime}: {CLIENTS} clients, {kills} kills, {} cut and come again", cut.into_inner());
    }
}

#[test]
fn a_restart_keeps_process_and_sockets() {
    for runtime in RUNTIMES {
        let (settings, listener) = prepared(runtime);
        let mut manager = Supervisor::new(&settings, vec![listener]);
        manager.start().unwrap();
        let (mut heard, pid) = (manager.hear("READY=1", 0), manager.pid());
        for _ in 0..3 {
            manager.signal(Signal::USR1);
            // In the queue of the socket, whoever serves it by then.
            assert_ne!(visit(settings.addr()), Visit::Refused);
            heard = manager.hear("RELOADING=1\nMONOTONIC_USEC=", heard);
            heard = manager.hear("READY=1", heard);
            assert_eq!(visit(settings.addr()), Visit::Answered);
        }
        assert_eq!((manager.pid(), manager.starts()), (pid, 1));
        manager.signal(Signal::TERM);
        assert!(manager.wait().success());
    }
}

#[test]
fn in_a_unit_that_starts_it_again_a_restart_is_an_end() {
    for runtime in RUNTIMES {
        let (settings, listener) = prepared(runtime);
        let mut manager = Supervisor::new(&settings, vec![listener])
            .variable("OPENCLAW_SYSTEMD_UNIT", "clawgate-gateway.service")
            .variable("SYSTEMD_EXEC_PID", "$$");
        manager.start().unwrap();
        let heard = manager.hear("READY=1", 0);
        manager.signal(Signal::USR1);
        assert!(manager.wait().success());
        manager.hear("STOPPING=1", heard);
        let addr = settings.addr();
        let waiting = thread::spawn(move || visit(addr));
        manager.start().unwrap();
        assert_eq!(waiting.join().unwrap(), Visit::Answered, "who came in between is answered");
    }
}

#[test]
fn whoever_stops_a_gateway_in_the_middle_of_a_restart_stops_it() {
    for runtime in RUNTIMES {
        for wait_ms in [0, 5, 10, 20, 40, 60, 80, 120] {
            let mut program = Settings::new(EXE, runtime).start().unwrap();
            program.signal(Signal::USR1);
            thread::sleep(Duration::from_millis(wait_ms));
            program.signal(Signal::TERM);
            // By the gateway itself, or, when it has not begun anew yet, by the system.
            program.wait().unwrap();
        }
    }
}

#[test]
fn sockets_that_the_settings_do_not_allow_are_refused() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        let port = settings.addr().port();
        let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let other = elsewhere.local_addr().unwrap().port();
        let every = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let unix = UnixListener::bind(settings.temporary_dir().join("unix")).unwrap();
        let stream = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
        let file = std::fs::File::open(settings.config_path()).unwrap();
        for (handed, wants) in [
            (elsewhere.try_clone().unwrap().into(), vec![format!("port {other}"), format!("is {port}")]),
            (every.into(), vec![format!("0.0.0.0:{port}"), "gateway.bind is loopback".to_owned()]),
            (unix.into(), vec!["no TCP socket".to_owned()]),
            (stream.into(), vec!["Accept=no".to_owned()]),
            (file.into(), vec!["descriptor 3 is no socket".to_owned()]),
        ] {
            let mut manager = Supervisor::handing_over(&settings, vec![handed]);
            manager.start().unwrap();
            assert_eq!(manager.wait().code(), Some(1));
            let said = manager.output();
            assert!(manager.told().is_empty(), "never ready: {:?}", manager.told());
            for want in wants {
                assert!(said.contains(&want), "{want} in {said}");
            }
            std::fs::remove_file(settings.temporary_dir().join("notify")).unwrap();
            std::fs::remove_file(settings.temporary_dir().join("supervised.log")).unwrap();
        }
    }
}

#[test]
fn a_manager_that_cannot_be_told_is_said_and_one_that_is_gone_is_not_waited_for() {
    for runtime in RUNTIMES {
        let settings = Settings::new(EXE, runtime);
        let mut manager = Supervisor::new(&settings, Vec::new()).variable("NOTIFY_SOCKET", "vsock:2:1");
        manager.start().unwrap();
        assert_eq!(manager.wait().code(), Some(1));
        assert!(manager.output().contains("NOTIFY_SOCKET=vsock:2:1"), "{}", manager.output());
        std::fs::remove_file(settings.temporary_dir().join("notify")).unwrap();
        settings.clone().env("NOTIFY_SOCKET", "/nonexistent/notify").start().unwrap().stop().unwrap();
    }
}
