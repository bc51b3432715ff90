//! The folder of one test: logs and data of its processes. It is kept, and its path printed, when
//! the test fails.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

/// A test's folder. Make it first, so that it is dropped last.
pub struct TestEnv {
    folder: Option<TempDir>,
    files: AtomicU32,
}

impl TestEnv {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("linkroom-test-").tempdir().unwrap();
        Self { folder: Some(folder), files: AtomicU32::new(0) }
    }

    pub fn path(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// An unused path in the folder: `node-3`, with the given stem.
    pub fn fresh_path(&self, stem: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.path().join(format!("{stem}-{number}"))
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = self.folder.take().unwrap().keep();
            eprintln!("logs and keys of this test are kept in {}", path.display());
        }
    }
}
