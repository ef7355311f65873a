//! Orders on their way from the gateway to one connection's task.
//!
//! A leaf lock: it is taken under the gateway's lock by whoever posts, and by the task alone. Posting never
//! blocks and never fails; the core counts queued bytes and so bounds the box.

use clawgate_proto::Order;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// One connection's orders, oldest first.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<State>);

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    /// Set while the task sleeps.
    sleeper: Option<Waker>,
}

impl Mailbox {
    /// Adds an order. The caller wakes the sleeping task, if it gets one, once it holds no lock.
    #[must_use]
    pub(crate) fn post(&self, order: Order) -> Option<Waker> {
        let mut state = lock(&self.0);
        state.orders.push_back(order);
        state.sleeper.take()
    }

    /// Takes all orders. The box is left without memory of its own.
    pub(crate) fn take(&self) -> VecDeque<Order> {
        std::mem::take(&mut lock(&self.0).orders)
    }

    /// Goes to sleep on an empty box. `false`, and nobody sleeps, when there are orders.
    #[must_use]
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.0);
        let empty = state.orders.is_empty();
        if empty {
            state.sleeper = Some(waker.clone());
        }
        empty
    }
}

/// Locks a leaf. What it guards is whole even after a panic, since nothing below it can stop half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_out_as_they_went_in_and_wake_a_sleeper_once() {
        let mailbox = Mailbox::default();
        assert!(mailbox.sleep(Waker::noop()));
        assert!(mailbox.post(Order::Read(false)).is_some());
        assert!(mailbox.post(Order::Read(true)).is_none());
        assert!(!mailbox.sleep(Waker::noop()));
        assert!(mailbox.post(Order::Abort).is_none(), "nobody sleeps beside orders");
        let orders: Vec<_> = mailbox.take().into();
        assert!(matches!(orders[..], [Order::Read(false), Order::Read(true), Order::Abort]));
        assert!(mailbox.take().is_empty());
    }
}
