//! Who gets in: every combination of auth mode, bind, way, origin, client, device and credential, in both protocols,
//! held against an oracle and against rows written by hand. All three must agree on every cell.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cell;
mod oracle;

use cell::{Bind, Cell, Client, Device, Mode, Origin, Shown, Way};
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
    let cells = Cell::all(mode).into_iter().map(|cell| (cell, oracle::expect(&cell)));
    compare(Place::Simulated, &cells.collect::<Vec<_>>());
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
    let lines = include_str!("rows.tsv").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [mode, bind, way, origin, client, device, shown, outcome] = columns[..] else {
                panic!("not eight columns: {line}");
            };
            let cell = Cell {
                mode: Mode::parse(mode),
                bind: Bind::parse(bind),
                way: Way::parse(way),
                origin: Origin::parse(origin),
                client: Client::parse(client),
                device: Device::parse(device),
                shown: Shown::parse(shown),
            };
            (cell, outcome.to_owned())
        })
        .collect()
}
