//! What is kept between runs: the drift file, in chrony's format, and with its age the time.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sys::time;
use crate::units::{Ppm, Timestamp};

/// The drift file.
#[derive(Clone, Debug)]
pub struct DriftFile {
    path: PathBuf,
}

/// Why there is no frequency from a drift file.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// It cannot be read.
    #[error("{path}: {reason}; starting without a known frequency")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: io::Error,
    },
    /// It does not hold two numbers.
    #[error("{path}: expected two numbers (frequency and skew in ppm), found {found:?}; kept as {path}.bad, starting without")]
    Corrupt {
        /// The file.
        path: String,
        /// Its beginning.
        found: String,
    },
}

impl DriftFile {
    /// Touches nothing yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// By how much the counter runs fast, and the uncertainty; `None` if there is no file yet.
    pub fn load(&self) -> Result<Option<(Ppm, Ppm)>, DriftError> {
        let path = || self.path.display().to_string();
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(DriftError::Unreadable { path: path(), reason }),
        };
        let text = String::from_utf8_lossy(&bytes);
        parse(&text).map(Some).ok_or_else(|| {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".bad");
            // If it cannot be kept aside it stays where it is, and is overwritten when we know better.
            let _ = fs::rename(&self.path, aside);
            DriftError::Corrupt { path: path(), found: text.chars().take(40).collect() }
        })
    }

    /// Replaces the file; a crash leaves either the old or the new one whole.
    pub fn save(&self, frequency: Ppm, skew: Ppm) -> io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".tmp");
        let beside = PathBuf::from(beside);
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&beside)?;
            writeln!(file, "{:20.6} {:20.6}", frequency.ppm(), skew.ppm())?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
    }

    /// When it was written last: time is not earlier than that.
    #[must_use]
    pub fn saved_at(&self) -> Option<Timestamp> {
        let modified = fs::metadata(&self.path).ok()?.modified().ok()?;
        let age = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Timestamp::UNIX_EPOCH + age)
    }
}

fn parse(text: &str) -> Option<(Ppm, Ppm)> {
    let mut words = text.split_ascii_whitespace();
    let frequency: f64 = words.next()?.parse().ok()?;
    let skew: f64 = words.next()?.parse().ok()?;
    let sane = frequency.abs() < 500_000.0 && skew.is_finite() && skew >= 0.0;
    sane.then(|| (Ppm::new(frequency), Ppm::new(skew)))
}

/// Time is not earlier than this: the build of this program, or the last time saved.
#[must_use]
pub fn floor(drift: Option<&DriftFile>) -> Timestamp {
    let built = env!("PARACLOCK_BUILD_EPOCH").parse().map_or(Timestamp::UNIX_EPOCH, |seconds| Timestamp::from_parts(seconds, 0));
    // A file "saved" in the far future was saved by a clock that was wrong.
    let horizon = Timestamp::from_nanos(time::realtime().max(built).nanos().saturating_add(20 * 365 * 86_400 * 1_000_000_000));
    let saved = drift.and_then(DriftFile::saved_at).filter(|&at| at < horizon);
    saved.map_or(built, |at| at.max(built))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = DriftFile::new(dir.path().join("drift"));
        assert!(file.load().unwrap().is_none());
        file.save(Ppm::new(-12.25), Ppm::new(0.5)).unwrap();
        assert_eq!(file.load().unwrap(), Some((Ppm::new(-12.25), Ppm::new(0.5))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(file.saved_at().unwrap() > Timestamp::from_parts(1_700_000_000, 0));
    }

    #[test]
    fn chronys_own_file_is_understood() {
        assert_eq!(parse("            -2.345600             0.012345\n"), Some((Ppm::new(-2.3456), Ppm::new(0.012_345))));
    }

    #[test]
    fn a_corrupt_file_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "banana", "1.0", "nan 1", "1e9 1", "1 inf"] {
            let path = dir.path().join("drift");
            fs::write(&path, text).unwrap();
            let error = DriftFile::new(path.clone()).load().unwrap_err();
            assert!(error.to_string().contains("expected two numbers"), "{text:?}: {error}");
            assert!(!path.exists());
            assert_eq!(fs::read_to_string(dir.path().join("drift.bad")).unwrap(), text);
        }
    }

    #[test]
    fn an_unwritable_directory_is_an_error_and_leaves_nothing() {
        let file = DriftFile::new(PathBuf::from("/proc/nonexistent/drift"));
        assert!(file.save(Ppm::ZERO, Ppm::ZERO).is_err());
        assert!(file.load().unwrap().is_none());
    }

    #[test]
    fn time_never_starts_before_the_build() {
        assert!(floor(None) > Timestamp::from_parts(1_700_000_000, 0));
    }
}
