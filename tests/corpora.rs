//! Replays every seed of every fuzz target, without libFuzzer: the corpora stay valid, and what was found stays mended.

use clawgate_support::fuzz_targets::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("names here are text");
    entries.map(|entry| name(entry.expect("a folder can be read"))).collect()
}

#[test]
fn every_target_has_a_corpus_a_program_and_nothing_else() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in(&corpora()), targets);
    let programs = names_in(&corpora().with_file_name("fuzz_targets"));
    let wanted: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(programs, wanted);
}

#[test]
fn every_seed_runs() {
    for (target, body) in TARGETS {
        let folder = corpora().join(target);
        let seeds = names_in(&folder);
        assert!(!seeds.is_empty(), "{target} has no seed");
        for seed in seeds {
            // A seed tells by its name what it reaches; a fuzzer's own findings are called by their hashes.
            let is_hash = seed.len() >= 40 && seed.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(!is_hash, "{target}/{seed} has no name");
            let bytes = fs::read(folder.join(&seed)).unwrap_or_else(|why| panic!("{target}/{seed}: {why}"));
            assert!(bytes.len() <= SEED_BYTES_MAX, "{target}/{seed} is too large");
            println!("{target}/{seed}");
            body(&bytes);
        }
    }
}

/// Seeds are small; a large one is slow to mutate and says little.
const SEED_BYTES_MAX: usize = 8 * 1024;
