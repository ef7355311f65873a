//! The configuration file of a gateway as a document: how it is read, what it may say, what of it may be shown, and
//! how it is changed without losing a member.
//!
//! Nothing here opens a file, reads a variable or knows the time: texts come in, texts and values go out. So the same
//! code serves the program, the command line, the scenarios in memory and the fuzzer.
//!
//! | file | its one job |
//! | --- | --- |
//! | `value.rs`, `depth.rs` | JSON5 to values that keep their order, within bounds; back to text |
//! | `include.rs`, `expand.rs` | `$include` and `${NAME}` |
//! | `schema.rs`, `keys.txt` | what the reference's file may say: one table |
//! | `validate.rs` | that table against a document: every fault with its path and a suggestion |
//! | `describe.rs` | that table as JSON Schema, for `config.schema` and `config.schema.lookup` |
//! | `redact.rs` | secrets out of what is shown, and back into what is sent back |
//! | `merge.rs` | merge patches; references to variables kept where their value did not change |
//! | `reload.rs` | what a changed document does to a running gateway |
//! | `place.rs` | in which line a setting stands |
//! | `service.rs` | the `config.*` methods on a text |
#![forbid(unsafe_code)]

pub mod depth;
pub mod describe;
pub mod expand;
pub mod include;
pub mod merge;
pub mod place;
pub mod redact;
pub mod reload;
pub mod schema;
pub mod service;
mod shown;
pub mod validate;
pub mod value;

pub use value::Node;
