//! Recorded machines for tests: the file tree of a machine in one readable file.
//!
//! A line `== path` or `== path mode=0600` begins a file, whose lines follow up to the next such line. A path that ends
//! with `/` is a directory. Lines before the first are comments.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Detection, detect_with};
use crate::sys::cpuid::Signature;
use crate::wire::control::Pvclock;

/// A machine's file tree in a directory that goes away with it.
pub(crate) struct Recorded {
    root: tempfile::TempDir,
    /// What the CPU says.
    signatures: Vec<Signature>,
}

/// Where recorded machines of `kind` are kept.
pub(crate) fn place(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind)
}

/// The names of all recorded machines of `kind`, in order.
pub(crate) fn names(kind: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(place(kind)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Compares `text` with the file; with `PARACLOCK_BLESS` set, writes it instead.
pub(crate) fn assert_golden(path: &Path, text: &str) {
    if std::env::var_os("PARACLOCK_BLESS").is_some() {
        fs::write(path, text).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    assert!(golden == text, "{} is not what is printed now:\n{text}", path.display());
}

impl Recorded {
    /// Unpacks the file named `tree` in `dir`. The file `cpuid` in it is what the CPU says, a signature a line.
    pub(crate) fn open(dir: &Path) -> Self {
        let text = fs::read_to_string(dir.join("tree")).unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut signatures = Vec::new();
        for part in format!("\n{text}").split("\n== ").skip(1) {
            let (head, body) = part.split_once('\n').unwrap_or((part, ""));
            let (path, mode) = head.split_once(" mode=").unwrap_or((head, ""));
            if path == "cpuid" {
                signatures = body.lines().map(signature).collect();
                continue;
            }
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            if path.ends_with('/') {
                fs::create_dir_all(&file).unwrap();
                continue;
            }
            let end = if body.is_empty() || body.ends_with('\n') { "" } else { "\n" };
            fs::write(&file, format!("{body}{end}")).unwrap();
            if !mode.is_empty() {
                fs::set_permissions(&file, fs::Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap())).unwrap();
            }
        }
        Self { root, signatures }
    }

    /// The directory that stands for `/`.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// What is detected there.
    pub(crate) fn detect(&self, pvclock: Option<Pvclock>) -> Detection {
        detect_with(self.root(), &self.signatures, pvclock)
    }

    /// `text` without the directory's name, which differs each time.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.root().display()), "/")
    }
}

fn signature(text: &str) -> Signature {
    let mut bytes = Signature::default();
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}
