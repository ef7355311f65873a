//! Channels, voice and web login: rows of the method table.

use super::access::Access;
use super::{Method, PAIRING, READ, TALK, V4, closed, row, shapes, system_params, told, told_open};
use crate::dialect::{BOTH, lists};
use crate::gateway::channels::status;
use crate::gateway::voice;

pub(super) const ROWS: &[Method] = &[
    told("channels.pairing.list", V4, PAIRING, &shapes::CHANNELS_PAIRING, lists::CHANNELS_PAIRING),
    closed("channels.status", BOTH, READ, &shapes::CHANNELS_STATUS, status),
    told("talk.catalog", V4, READ, &shapes::NOTHING, lists::TALK_CATALOG),
    told("talk.config", BOTH, Access::ByParams, &shapes::TALK_CONFIG, lists::TALK_CONFIG),
    row("talk.mode", BOTH, TALK, system_params::talk_mode, voice::talk_mode),
    told_open("tts.personas", V4, READ, lists::PERSONAS),
    told_open("tts.providers", BOTH, READ, lists::VOICES),
    told_open("tts.status", BOTH, READ, lists::SPEECH),
];
