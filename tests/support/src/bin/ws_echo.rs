//! A WebSocket echo server over the core's own frame layer, for conformance suites:
//! `ws_echo [ADDRESS]`, by default `127.0.0.1:9100`. Serves until killed; one thread a connection.

use clawgate_support::echo;
use std::io;
use std::net::TcpListener;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9100".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let budget = echo::budget();
    for stream in listener.incoming() {
        let stream = stream?;
        let budget = budget.clone();
        std::thread::spawn(move || {
            if let Err(error) = echo::serve(stream, budget) {
                eprintln!("connection ended: {error}");
            }
        });
    }
    Ok(())
}
