//! Any bytes as a configuration: accepted or refused with a reason, never a panic or an endless inclusion.
#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use paraclock::config::{Files, explain, load, parse_directives};

/// Every path holds the same text, and every directory the same two files.
struct Everywhere(String);

impl Files for Everywhere {
    fn read(&self, _path: &Path) -> Result<String, String> {
        Ok(self.0.clone())
    }

    fn list(&self, dir: &Path, suffix: &str) -> Result<Vec<PathBuf>, String> {
        Ok(["a", "b"].iter().map(|name| dir.join(format!("{name}{suffix}"))).collect())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let arguments: Vec<String> = text.lines().map(str::to_owned).collect();
    let files = Everywhere(text);
    match load(Path::new("/etc/paraclock.conf"), &files) {
        Ok(config) => assert_eq!(explain(&config).len(), config.lines.len()),
        Err(findings) => assert!(!findings.is_empty()),
    }
    let _ = parse_directives(&arguments, &files);
});
