//! Those who behave: operators that come for a moment, operators that stay and ask for much, nodes that work, and people
//! who decide.

use crate::ground::{COMMAND, Ground, NODES, Outcome, Tally};
use clawgate_proto::client::ClientEvent;
use clawgate_support::TestClient;
use serde_json::{Value, json};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// Comes in, asks a few things, and goes in one of four ways.
pub(crate) fn comer(ground: &Ground, number: usize, until: Instant) -> Outcome {
    let mut visit = number;
    while Instant::now() < until {
        visit += 1;
        // Every eighth has no device, as a script has none.
        let device = (!visit.is_multiple_of(8)).then_some(visit);
        let mut client = ground.enter(ground.operator(device))?;
        ground.call(&mut client, "health", json!({}))?;
        for method in ["status", "system-presence", "last-heartbeat", "node.list"].iter().take(visit % 5) {
            // Without a device there are no scopes.
            if device.is_some() {
                ground.call(&mut client, method, json!({}))?;
            }
        }
        match visit % 4 {
            0 | 1 => {
                let closed = client.close(1000, "done");
                if closed.as_ref().map(|closed| closed.code) != Some(1000) {
                    return Err(format!("a client that closed is told {closed:?}"));
                }
            }
            // The socket goes with whatever had arrived.
            2 => drop(client),
            _ => {
                client.stream().shutdown(Shutdown::Write).map_err(|why| why.to_string())?;
                client.wait_closed(BOUND).ok_or("who ended its half is never let go")?;
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Stays, and asks for all kinds of things.
pub(crate) fn asker(ground: &Ground, number: usize, until: Instant) -> Outcome {
    let mut client = ground.enter(ground.operator(Some(number)))?;
    let large = "x".repeat(LARGE_BYTES);
    let mut turn = number;
    while Instant::now() < until {
        turn += 1;
        match turn % 8 {
            0 => {
                let ids: Vec<String> = (0..100).map(|_| client.send("status", json!({}))).collect();
                for id in ids {
                    client.answer(&id).into_result().map_err(|why| format!("status: {why:?}"))?;
                    Tally::add(&ground.tally.calls);
                }
            }
            1 => {
                let text = format!("turn {turn} of {number}");
                ground.call(&mut client, "system-event", json!({ "text": text })).map(drop)?;
            }
            2 => {
                ground.refused(&mut client, "no.such.method", json!({ "text": large }), "INVALID_REQUEST")?
            }
            3 => ground.call(&mut client, "config.get", json!({})).map(drop)?,
            4 => ground.call(&mut client, "logs.tail", json!({ "limit": 100 })).map(drop)?,
            5 => ground.call(&mut client, "device.pair.list", json!({})).map(drop)?,
            _ => {
                for _ in 0..8 {
                    invoke(ground, &mut client, turn)?;
                }
            }
        }
        hear(&mut client)?;
        std::thread::sleep(PAUSE);
    }
    client.close(1000, "done").ok_or("an operator is not let go").map(drop).map_err(str::to_owned)
}

/// A command for some node, which may be away, or may not answer.
fn invoke(ground: &Ground, client: &mut TestClient, turn: usize) -> Outcome {
    Tally::add(&ground.tally.invokes);
    let key = format!("{turn}-{:?}-{}", Instant::now(), ground.node_id(turn % NODES));
    let params = json!({
        "nodeId": ground.node_id(turn % NODES),
        "command": COMMAND,
        "params": { "bins": ["sh"] },
        "timeoutMs": INVOKE_MS,
        "idempotencyKey": key,
    });
    match client.call("node.invoke", params) {
        Ok(_) => Ok(()),
        // The node is away, or kept silent.
        Err(error) if error["code"] == "UNAVAILABLE" => Ok(()),
        Err(error) => Err(format!("node.invoke is refused: {error}")),
    }
}

/// A node that comes, works, and goes.
pub(crate) fn node(ground: &Ground, number: usize, until: Instant) -> Outcome {
    let mut asked = 0_usize;
    while Instant::now() < until {
        let mut client = ground.enter(ground.node(number))?;
        let leaves = (Instant::now() + NODE_STAYS).min(until);
        let stats = json!({ "cpuCount": 2, "memoryFreeBytes": asked }).to_string();
        let params = json!({ "event": "node.host.stats", "payloadJSON": stats });
        ground.call(&mut client, "node.event", params)?;
        while Instant::now() < leaves {
            let Some(event) = client.wait_event("node.invoke.request", SHORT) else {
                hear(&mut client)?;
                continue;
            };
            asked += 1;
            if asked.is_multiple_of(16) {
                // This one ends by its deadline.
                continue;
            }
            let wanted = event.value();
            let result = json!({
                "id": wanted["id"],
                "nodeId": wanted["nodeId"],
                "ok": true,
                "payloadJSON": json!({ "bins": { "sh": "/bin/sh" } }).to_string(),
            });
            Tally::add(&ground.tally.calls);
            // The deadline may have come first: then nobody knows the id any more.
            let _ = client.call("node.invoke.result", result);
        }
        client.close(1000, "done").ok_or("a node is not let go")?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// A tool that asks for approval, and a person who decides.
pub(crate) fn pair(ground: &Ground, number: usize, until: Instant) -> Outcome {
    let mut tool = ground.enter(ground.operator(Some(number)))?;
    let mut person = ground.enter(ground.approver(number + 1))?;
    let mut turn = 0_usize;
    while Instant::now() < until {
        turn += 1;
        let id = format!("{number}-{turn}-{:?}", Instant::now());
        let asked = tool.send("exec.approval.request", json!({ "id": id, "command": format!("ls {turn}") }));
        let is_it = |event: &ClientEvent| match event {
            ClientEvent::Event(event) => event.name == "exec.approval.requested" && event.value()["id"] == id,
            ClientEvent::Challenge { .. }
            | ClientEvent::HelloOk(_)
            | ClientEvent::ConnectRefused(_)
            | ClientEvent::HttpRefused { .. }
            | ClientEvent::Response(_)
            | ClientEvent::Gap { .. }
            | ClientEvent::Unrecognised(_)
            | ClientEvent::Closed { .. } => false,
        };
        person.wait_for(BOUND, is_it).ok_or("nobody is asked for an approval")?;
        let decision = if turn.is_multiple_of(2) { "deny" } else { "allow-once" };
        ground.call(&mut person, "exec.approval.resolve", json!({ "id": id, "decision": decision }))?;
        let answer = tool.answer(&asked).into_result().map_err(|why| format!("an approval: {why:?}"))?;
        if answer.get("decision") != Some(&Value::from(decision)) {
            return Err(format!("decided was {decision}, and told is {answer}"));
        }
        hear(&mut tool)?;
        hear(&mut person)?;
        std::thread::sleep(PAUSE);
    }
    for client in [tool, person] {
        client.close(1000, "done").ok_or("an operator is not let go")?;
    }
    Ok(())
}

/// What a round ends with, and where memory is compared: many at once, each of whom asked for as much as anybody does, and
/// some do not read the answers. What the C library keeps of busier and quieter moments before is used here, whatever it is.
pub(crate) fn crest(ground: &Ground) -> Outcome<Vec<TestClient>> {
    let large = "x".repeat(LARGE_BYTES);
    let one = |number: usize| -> Outcome<TestClient> {
        let mut client = ground.enter(ground.operator(Some(number)))?;
        for _ in 0..CREST_TURNS {
            ground.refused(&mut client, "no.such.method", json!({ "text": large }), "INVALID_REQUEST")?;
            ground.call(&mut client, "logs.tail", json!({ "limit": 1_000 }))?;
            ground.call(&mut client, "config.get", json!({}))?;
        }
        // Some answers wait for a reader who does not come; the rest is heard.
        for _ in 0..if number.is_multiple_of(CREST_GLUTTONS) { GLUT } else { 0 } {
            client.send("status", json!({}));
        }
        Ok(client)
    };
    // Not more at a time than may be without a hello-ok from one address.
    let clients: Vec<Vec<TestClient>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CREST_THREADS)
            .map(|thread| {
                let numbers = (thread..CREST).step_by(CREST_THREADS);
                scope.spawn(move || numbers.map(one).collect::<Outcome<Vec<_>>>())
            })
            .collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap_or(Err("it panicked".to_owned())));
        ends.collect::<Outcome<Vec<_>>>()
    })?;
    Ok(clients.into_iter().flatten().collect())
}

/// Asks for more than it takes, and goes without having read it.
pub(crate) fn glutton(ground: &Ground, number: usize, until: Instant) -> Outcome {
    while Instant::now() < until {
        let mut client = ground.enter(ground.operator(Some(number)))?;
        for _ in 0..GLUT {
            client.send("status", json!({}));
        }
        std::thread::sleep(Duration::from_millis(500));
        drop(client);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Takes what has arrived. A client that behaves is never closed, and misses no event.
pub(crate) fn hear(client: &mut TestClient) -> Outcome {
    for _ in 0..HEARD_MAX {
        match client.next(Duration::ZERO) {
            None => return Ok(()),
            Some(event @ (ClientEvent::Closed { .. } | ClientEvent::Gap { .. })) => {
                return Err(format!("a good client is told {event:?}"));
            }
            Some(
                ClientEvent::Challenge { .. }
                | ClientEvent::HelloOk(_)
                | ClientEvent::ConnectRefused(_)
                | ClientEvent::HttpRefused { .. }
                | ClientEvent::Response(_)
                | ClientEvent::Event(_)
                | ClientEvent::Unrecognised(_),
            ) => {}
        }
    }
    Ok(())
}

/// Longest wait for anything that should come at once.
const BOUND: Duration = Duration::from_secs(20);
/// Between two visits: enough for hundreds in a round, and for others on this machine.
const PAUSE: Duration = Duration::from_millis(20);
const SHORT: Duration = Duration::from_millis(100);
const NODE_STAYS: Duration = Duration::from_secs(3);
/// What a caller gives a node.
const INVOKE_MS: u64 = 400;
const LARGE_BYTES: usize = 300 * 1024;
/// Requests of the glutton: the answers are more than its socket takes.
const GLUT: usize = 4_000;
/// Clients at once, more than there are at any other time.
pub(crate) const CREST: usize = 160;
/// Fewer than `limits.logTailsMax`.
const CREST_THREADS: usize = 6;
const CREST_TURNS: usize = 2;
/// One in so many asks for more than it takes.
const CREST_GLUTTONS: usize = 20;
/// Events taken at a time, so that nobody listens for ever.
const HEARD_MAX: usize = 10_000;
