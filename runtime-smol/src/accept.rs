//! One task per listener: accepts sockets while the core wants them.

use crate::driver::Driver;
use crate::executor::Executor;
use crate::peer;
use async_io::{Async, Timer};
use clawgate_proto::Peer;
use clawgate_proto::log::{Level, Record};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Never ends by itself.
pub(crate) async fn run(listener: Async<TcpListener>, driver: Arc<Driver>, executor: Executor) {
    let mut failing = false;
    loop {
        for _ in 0..ACCEPTS_IN_A_ROW {
            let accepted = match poll_fn(|cx| poll_accept(&listener, &driver, cx)).await {
                Ok((stream, remote)) => prepare(stream, remote),
                Err(error) => Err(error),
            };
            let (socket, peer) = match accepted {
                Ok(Some(accepted)) => accepted,
                Ok(None) => continue,
                Err(error) => {
                    // Most likely no descriptor is left. The listener stays readable, so a loop without a pause
                    // would spin; one line is enough for the whole spell.
                    if !failing {
                        driver.log(Record::new(Level::Error, "accept.failed").field("error", error));
                    }
                    failing = true;
                    Timer::after(FAILED_PAUSE).await;
                    continue;
                }
            };
            failing = false;
            match driver.open(peer) {
                Ok((conn, mailbox)) => {
                    executor.spawn(peer::run(Arc::clone(&driver), conn, mailbox, socket));
                }
                Err(_refused) => {
                    drop(socket);
                    Timer::after(REFUSED_PAUSE).await;
                }
            }
        }
        // A flood of connects must not keep a worker from everybody else.
        yield_now().await;
    }
}

fn poll_accept(
    listener: &Async<TcpListener>,
    driver: &Driver,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    loop {
        // Asked first each time, so that whoever lowered the flag sees no further socket accepted.
        if driver.accepting.poll_raised(cx).is_pending() {
            return Poll::Pending;
        }
        match listener.get_ref().accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {
                continue;
            }
            accepted => return Poll::Ready(accepted),
        }
        match listener.poll_readable(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Nothing when the peer is gone already; an error when the reactor cannot take the socket.
fn prepare(stream: TcpStream, remote: SocketAddr) -> io::Result<Option<(Async<TcpStream>, Peer)>> {
    // The core hands out whole answers; waiting for more of them only delays them.
    let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else { return Ok(None) };
    Ok(Some((Async::new(stream)?, Peer { remote, local })))
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Sockets before others get their turn.
const ACCEPTS_IN_A_ROW: usize = 16;

/// After a failure that is about us.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

/// After the core refused a socket.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);
