//! What stands for TLS in a build without it: everything says so.

use super::files::Files;
use super::{ABSENT, Met, Oldest, Shown, Trust};
use crate::log::Logger;
use crate::storage::{RealDisk, Storage};
use clawgate_proto::tls::{Acceptor, Connector};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

/// Cannot be made.
#[derive(Clone, Debug)]
pub enum Prepared {}

impl Prepared {
    /// Never called.
    pub fn shown(&self) -> &Shown {
        match *self {}
    }

    /// Never called.
    pub fn note(&self) -> Option<&str> {
        match *self {}
    }

    /// Never called.
    pub fn warnings(&self) -> &[String] {
        match *self {}
    }

    /// Never called.
    pub fn keeper<D>(&self, _storage: &Arc<Storage<D>>, _logger: &Arc<Logger>) -> Arc<Keeper<D>> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn acceptor<D>(&self, _keeper: &Arc<Keeper<D>>) -> Result<Acceptor, String> {
        match *self {}
    }
}

/// Cannot be made.
#[derive(Debug)]
pub struct Keeper<D>(Infallible, PhantomData<D>);

impl<D> Keeper<D> {
    /// Never called.
    pub fn digest(&self) -> Option<[u8; 32]> {
        match self.0 {}
    }

    /// Never called.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self.0 {}
    }

    /// Never called.
    pub fn is_behind(&self) -> bool {
        match self.0 {}
    }

    /// Never called.
    pub fn look(&self) {
        match self.0 {}
    }
}

/// Says that there is no TLS.
///
/// # Errors
/// Always.
pub fn prepare<D>(
    _files: &Files,
    _oldest: Oldest,
    _storage: &Storage<D>,
    _names: Option<&[String]>,
) -> Result<Option<Prepared>, String> {
    Err(format!("gateway.tls.enabled: {ABSENT}"))
}

/// The same.
///
/// # Errors
/// Always.
pub fn shown(_files: &Files, _storage: &Storage<RealDisk>) -> Result<Option<Shown>, String> {
    Err(ABSENT.to_owned())
}

/// The same.
///
/// # Errors
/// Always.
pub fn renew(_files: &Files, _storage: &Storage<RealDisk>, _names: &[String]) -> Result<Shown, String> {
    Err(ABSENT.to_owned())
}

/// Cannot be made.
#[derive(Clone, Debug)]
pub enum Secure {}

impl Secure {
    /// Never called.
    pub fn connector(&self) -> Connector {
        match *self {}
    }

    /// Never called.
    pub fn met(&self) -> Met {
        match *self {}
    }

    /// Never called.
    pub fn is_pinned(&self) -> bool {
        match *self {}
    }
}

/// Says that there is no TLS.
///
/// # Errors
/// Always.
pub fn secure(_trust: &Trust, _host: &str) -> Result<Secure, String> {
    Err("this build has no TLS: use a ws:// address through a tunnel, or take a build with the feature `tls`"
        .to_owned())
}
