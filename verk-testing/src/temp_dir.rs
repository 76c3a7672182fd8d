//! A directory that lives as long as its value: [`TempDir`].

use std::{
    env,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// A directory that only this user can read. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Makes an empty directory, whose name begins with `prefix`.
    pub(crate) fn new(prefix: &str) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{prefix}-{}-{number}", process::id());
            let path = env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                // A process that was killed had this id, or another container has it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(path)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What is left is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_has_a_directory_of_its_own_until_it_is_dropped() {
        let (one, other) = (TempDir::new("verk").unwrap(), TempDir::new("verk").unwrap());
        fs::write(one.path().join("file"), "text").unwrap();
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        let mode = fs::metadata(one.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }

    #[test]
    fn a_directory_that_exists_is_left_alone() {
        let one = TempDir::new("verk-taken").unwrap();
        let name = one.path().file_name().unwrap().to_str().unwrap();
        let number: u64 = name.rsplit('-').next().unwrap().parse().unwrap();
        let next = format!("verk-taken-{}-{}", process::id(), number + 1);
        let taken = env::temp_dir().join(next);
        fs::create_dir(&taken).unwrap();
        let other = TempDir::new("verk-taken").unwrap();
        assert_ne!(other.path(), taken);
        fs::remove_dir(&taken).unwrap();
    }
}
