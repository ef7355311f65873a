//! Who gets in: every combination of auth mode, bind, way (direct, behind a proxy and how it proves itself, behind
//! Tailscale Serve and what the daemon says), origin, client, device and credential, in both protocols, held against an
//! oracle and against rows written by hand. All three must agree on every cell.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cell;
mod oracle;

use cell::{Bind, Cell, Client, Device, Loopback, Mode, Origin, Proof, Shown, Way};
use clawgate_support::Place;

#[test]
fn every_cell_of_mode_none() {
    every_cell(Mode::None);
}

#[test]
fn every_cell_of_mode_token() {
    every_cell(Mode::Token);
}

#[test]
fn every_cell_of_mode_password() {
    every_cell(Mode::Password);
}

#[test]
fn every_cell_of_mode_trusted_proxy() {
    every_cell(Mode::TrustedProxy);
}

#[test]
fn the_oracle_agrees_with_every_row() {
    let rows = rows();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    for (cell, expected) in rows {
        assert_eq!(oracle::expect(&cell), expected, "{}", cell.words());
    }
}

#[test]
fn the_oracle_agrees_with_every_credential_behind_somebody() {
    let mut seen = Vec::new();
    for line in lines(include_str!("credentials.tsv")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [client, device, shown, ref outcomes @ ..] = columns[..] else { panic!("too short: {line}") };
        let (client, device, shown) = (Client::parse(client), Device::parse(device), Shown::parse(shown));
        assert_eq!(outcomes.len(), BEHIND.len(), "{line}");
        for (ways, outcome) in BEHIND.iter().zip(outcomes) {
            for &(mode, way, proof) in *ways {
                let origin = match client {
                    Client::Cli | Client::Node => Origin::None,
                    Client::Page if way.is_serve() => Origin::Own,
                    Client::Page => Origin::Listed,
                };
                let (bind, loopback) = (Bind::Loopback, Loopback::Doubted);
                let cell = Cell { mode, bind, way, proof, loopback, origin, client, device, shown };
                assert_eq!(oracle::expect(&cell), *outcome, "{}", cell.words());
            }
        }
        assert!(!seen.contains(&(client, device, shown)), "twice: {line}");
        seen.push((client, device, shown));
    }
    assert_eq!(seen.len(), Client::ALL.len() * Device::ALL.len() * Shown::ALL.len(), "none is missing");
}

/// What the columns of `credentials.tsv` are about.
const BEHIND: [&[(Mode, Way, Proof)]; 6] = [
    &[(Mode::Token, Way::Trusted, Proof::Unset), (Mode::Token, Way::Untrusted, Proof::Unset)],
    &[(Mode::TrustedProxy, Way::Trusted, Proof::Right)],
    &[(Mode::TrustedProxy, Way::Trusted, Proof::Wrong), (Mode::TrustedProxy, Way::Trusted, Proof::Absent)],
    &[(Mode::Token, Way::Serve, Proof::Unset)],
    &[(Mode::Token, Way::ServeLies, Proof::Unset)],
    &[(Mode::Token, Way::ServeAbsent, Proof::Unset)],
];

#[test]
fn every_row_holds_on_std() {
    every_row(Place::Std);
}

#[test]
fn every_row_holds_on_smol() {
    every_row(Place::Smol);
}

/// On a driver, sockets come from this host only: the rows of another bind are played in memory, with all cells.
fn every_row(place: Place) {
    let rows: Vec<_> = rows().into_iter().filter(|(cell, _)| cell.bind == Bind::Loopback).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    compare(place, &rows);
}

fn every_cell(mode: Mode) {
    let cells: Vec<_> = Cell::all(mode).into_iter().map(|cell| (cell, oracle::expect(&cell))).collect();
    let situations = match mode {
        Mode::None | Mode::Token | Mode::Password => 10,
        Mode::TrustedProxy => 32,
    };
    let credentials = Client::ALL.len() * Device::ALL.len() * Shown::ALL.len();
    assert_eq!(cells.len(), situations * Origin::ALL.len() * credentials);
    compare(Place::Simulated, &cells);
}

fn compare(place: Place, expected: &[(Cell, String)]) {
    let mut wrong = Vec::new();
    for (cell, expected) in expected {
        for protocol in [3, 4] {
            let outcome = cell.play(place, protocol);
            if outcome != *expected {
                wrong.push(format!("protocol {protocol}: {}: {outcome}, expected {expected}", cell.words()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The rows of `rows.tsv`.
fn rows() -> Vec<(Cell, String)> {
    lines(include_str!("rows.tsv"))
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [mode, bind, way, proof, loopback, origin, client, device, shown, outcome] = columns[..]
            else {
                panic!("not ten columns: {line}");
            };
            let cell = Cell {
                mode: Mode::parse(mode),
                bind: Bind::parse(bind),
                way: Way::parse(way),
                proof: Proof::parse(proof),
                loopback: Loopback::parse(loopback),
                origin: Origin::parse(origin),
                client: Client::parse(client),
                device: Device::parse(device),
                shown: Shown::parse(shown),
            };
            (cell, outcome.to_owned())
        })
        .collect()
}

/// The lines of a table, without remarks.
fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}
