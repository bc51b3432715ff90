//! Random input from outside: nothing panics, and nothing is misinterpreted.
//!
//! Each target is a function of bytes, which `fuzz/` passes to libFuzzer as well. Here it gets
//! every entry of its corpus, and mutated entries: cut, mixed and damaged. Inputs that found a bug
//! are added to the corpus.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "whoever runs the tests reads it")]

mod mutation;
mod targets {
    pub mod client_frame;
    pub mod forwarded;
    pub mod jwt;
    pub mod node_word;
    pub mod publication;
    pub mod settings;
    pub mod websocket;
    pub mod words;
}

use std::{collections::BTreeSet, fs, path::Path};

use proptest::test_runner::{Config, TestRunner};

/// Mutated entries for each target.
const CASES: u32 = 1500;

fn names_in(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap();
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(&entry.unwrap().path())).collect()
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    // In the same order everywhere, so that a seed is reproducible.
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn run(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|entry| check(entry));
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let spoiled = mutation::of(corpus);
    TestRunner::new(config)
        .run(&spoiled, |data| {
            check(&data);
            Ok(())
        })
        .unwrap();
}

/// A test for each target.
macro_rules! targets {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name), targets::$name::check);
            }
        )+

        #[test]
        fn every_target_has_a_corpus_and_a_program_for_libfuzzer() {
            let names = BTreeSet::from([$(stringify!($name).to_owned()),+]);
            assert_eq!(names_in("tests/fuzz/targets"), names);
            assert_eq!(names_in("fuzz/corpus"), names);
            assert_eq!(names_in("fuzz/fuzz_targets"), names);
        }
    };
}

targets!(client_frame forwarded jwt node_word publication settings websocket words);
