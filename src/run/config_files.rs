//! The configuration's view of the real file system.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::Files;

/// Reads through `std::fs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigFiles;

impl Files for ConfigFiles {
    /// Bytes that are not UTF-8 (in comments, mostly) become replacement characters.
    fn read(&self, path: &Path) -> Result<String, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn list(&self, dir: &Path, suffix: &str) -> Result<Vec<PathBuf>, String> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            let named = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(suffix));
            if named && path.is_file() {
                found.push(path);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_by_suffix_and_forgives_missing_directories() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.conf"), "rtcsync\n").unwrap();
        std::fs::write(dir.path().join("b.txt"), "").unwrap();
        std::fs::create_dir(dir.path().join("c.conf")).unwrap();
        assert_eq!(ConfigFiles.list(dir.path(), ".conf"), Ok(vec![dir.path().join("a.conf")]));
        assert_eq!(ConfigFiles.list(&dir.path().join("nowhere"), ".conf"), Ok(Vec::new()));
        assert_eq!(ConfigFiles.read(&dir.path().join("a.conf")).as_deref(), Ok("rtcsync\n"));
        assert!(ConfigFiles.read(&dir.path().join("nowhere")).is_err());
    }
}
