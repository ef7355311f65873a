//! Devices and nodes: rows of the method table.

use super::access::Access;
use super::{Method, params, row};
use crate::dialect::BOTH;
use crate::gateway::pair;
use crate::scope;

const PAIRING: Access = Access::Operator(scope::PAIRING);

pub(super) const ROWS: &[Method] = &[
    row("device.pair.approve", BOTH, PAIRING, params::request_id, pair::approve),
    row("device.pair.list", BOTH, PAIRING, params::none_closed, pair::list),
    row("device.pair.reject", BOTH, PAIRING, params::request_id, pair::reject),
    row("device.pair.remove", BOTH, PAIRING, params::device_id, pair::remove),
    row("device.token.revoke", BOTH, PAIRING, params::device_role, pair::revoke),
    row("device.token.rotate", BOTH, PAIRING, params::device_role_scopes, pair::rotate),
];
