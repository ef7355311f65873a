//! What the core asks of the machine, answered with ordinary blocking code: the device store on the disk, facts
//! about the machine, the log. Drivers call this off the gateway's lock.

pub mod facts;

use crate::config::live::LiveFile;
use crate::log::Logger;
use crate::storage::{Disk, Put, PutFault, Storage};
use bytes::Bytes;
use clawgate_proto::Host;
use clawgate_proto::host::config::{ConfigFault, ConfigOp, ConfigOutcome};
use clawgate_proto::host::{Document, HostFault, Load, StoreFault, Version, Write};
use clawgate_proto::log::Record;
use facts::Facts;
use std::path::PathBuf;
use std::sync::Arc;

/// The host of one state folder.
#[derive(Debug)]
pub struct StateHost<D> {
    storage: Arc<Storage<D>>,
    state_dir: PathBuf,
    facts: Facts,
    logger: Arc<Logger>,
    config: Option<LiveFile<D>>,
}

impl<D: Disk> StateHost<D> {
    /// A host whose documents live below `state_dir`.
    pub fn new(storage: Arc<Storage<D>>, state_dir: PathBuf, facts: Facts, logger: Arc<Logger>) -> Self {
        Self { storage, state_dir, facts, logger, config: None }
    }

    /// The same host, which also keeps a configuration file.
    pub fn with_config(mut self, config: LiveFile<D>) -> Self {
        self.config = Some(config);
        self
    }

    fn path(&self, document: Document) -> PathBuf {
        self.state_dir.join(document.path())
    }
}

impl<D: Disk> Host for StateHost<D> {
    fn version(&self, document: Document) -> Result<Version, HostFault> {
        self.storage.mark(&self.path(document)).map_err(HostFault)
    }

    fn read(&self, document: Document) -> Result<Option<(Vec<u8>, Version)>, HostFault> {
        self.storage.read_durable(&self.path(document)).map_err(HostFault)
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<Vec<Version>, StoreFault> {
        let paths: Vec<PathBuf> = writes.iter().map(|write| self.path(write.document)).collect();
        let puts: Vec<Put<'_>> = writes
            .iter()
            .zip(&paths)
            .map(|(write, path)| Put { path, expected: write.expected, content: write.content })
            .collect();
        self.storage.put(&puts).map_err(|fault| match fault {
            PutFault::Conflict(_) => StoreFault::Conflict,
            PutFault::Failed(why) => StoreFault::Failed(why),
        })
    }

    fn system_info(&self) -> Result<Bytes, HostFault> {
        self.facts
            .system_info(&self.state_dir)
            .map(|info| Bytes::from(info.to_string()))
            .map_err(|why| HostFault(format!("the system's facts cannot be read: {why}")))
    }

    fn load(&self) -> Result<Load, HostFault> {
        facts::load().map_err(|why| HostFault(format!("this process's load cannot be read: {why}")))
    }

    fn config(&self, op: &ConfigOp) -> Result<ConfigOutcome, ConfigFault> {
        match &self.config {
            Some(config) => config.perform(op),
            None => Err(ConfigFault::Failed("this gateway has no configuration file".to_owned())),
        }
    }

    fn log(&self, record: &Record) {
        self.logger.log(record);
    }
}
