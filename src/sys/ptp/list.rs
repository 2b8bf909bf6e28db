//! Which PTP clocks this machine has, from `/sys/class/ptp`. The root of the file tree is a
//! parameter so that tests can bring their own.

use std::fs;
use std::path::{Path, PathBuf};

/// A PTP clock known to the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// N of `/dev/ptpN`; not stable over reboots.
    pub index: u32,
    /// The driver's name for it; this is what identifies a clock.
    pub name: String,
    /// The character device.
    pub path: PathBuf,
}

/// All PTP clocks by index; empty if there are none or sysfs is hidden.
#[must_use]
pub fn list(root: &Path) -> Vec<Entry> {
    let Ok(directory) = fs::read_dir(root.join("sys/class/ptp")) else { return Vec::new() };
    let mut entries: Vec<Entry> = directory
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let file_name = entry.file_name();
            let device = file_name.to_str()?;
            let index = device.strip_prefix("ptp")?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("clock_name")).ok()?.trim().to_owned();
            Some(Entry { index, name, path: root.join("dev").join(device) })
        })
        .collect();
    entries.sort_by_key(|entry| entry.index);
    entries
}

/// The device path of `wanted`: a path as it is, anything else the first clock of that name.
#[must_use]
pub fn find(root: &Path, wanted: &str) -> Option<PathBuf> {
    if wanted.starts_with('/') {
        return Some(PathBuf::from(wanted));
    }
    // The configuration's words hold no blanks: `KVM_virtual_PTP` means "KVM virtual PTP".
    let means = |name: &str| name == wanted || name.replace(' ', "_") == wanted;
    list(root).into_iter().find(|entry| means(&entry.name)).map(|entry| entry.path)
}

/// The device path of the clock with this very name: `usual` if that still is it, else the first one.
#[must_use]
pub fn find_named(root: &Path, name: &str, usual: &Path) -> Option<PathBuf> {
    if name_of(root, usual).as_deref() == Some(name) {
        return Some(usual.to_owned());
    }
    list(root).into_iter().find(|entry| entry.name == name).map(|entry| entry.path)
}

/// The clock name behind a device path, through symbolic links such as `/dev/ptp_kvm`.
#[must_use]
pub fn name_of(root: &Path, device: &Path) -> Option<String> {
    let device = fs::canonicalize(device).ok()?;
    list(root).into_iter().find(|entry| fs::canonicalize(&entry.path).is_ok_and(|path| path == device)).map(|entry| entry.name)
}

/// The file in which a device states its own error in nanoseconds, if it has one (ENA's
/// `phc_error_bound`). Its content changes: read it with each reading.
#[must_use]
pub fn error_bound_file(root: &Path, device: &Path) -> Option<PathBuf> {
    let device = fs::canonicalize(device).ok()?;
    let file = root.join("sys/class/ptp").join(device.file_name()?).join("device/phc_error_bound");
    file.exists().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dev")).unwrap();
        for (index, name) in [(10, "KVM virtual PTP\n"), (2, "ena-ptp-06\n"), (0, "KVM virtual PTP\n")] {
            let class = root.path().join(format!("sys/class/ptp/ptp{index}"));
            fs::create_dir_all(&class).unwrap();
            fs::write(class.join("clock_name"), name).unwrap();
            fs::write(root.path().join(format!("dev/ptp{index}")), "").unwrap();
        }
        fs::create_dir_all(root.path().join("sys/class/ptp/ptpx")).unwrap();
        std::os::unix::fs::symlink("ptp2", root.path().join("dev/ptp_ena")).unwrap();
        root
    }

    #[test]
    fn clocks_are_listed_by_number_and_found_by_name() {
        let root = tree();
        let found: Vec<u32> = list(root.path()).iter().map(|entry| entry.index).collect();
        assert_eq!(found, [0, 2, 10]);
        assert_eq!(find(root.path(), "KVM virtual PTP"), Some(root.path().join("dev/ptp0")));
        assert_eq!(find(root.path(), "/dev/ptp7"), Some(PathBuf::from("/dev/ptp7")));
        assert_eq!(find(root.path(), "hyperv"), None);
        assert_eq!(name_of(root.path(), &root.path().join("dev/ptp_ena")).as_deref(), Some("ena-ptp-06"));
        assert_eq!(name_of(root.path(), Path::new("/nonexistent")), None);
    }

    #[test]
    fn an_error_bound_belongs_to_its_device() {
        let root = tree();
        let file = root.path().join("sys/class/ptp/ptp2/device/phc_error_bound");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "17000\n").unwrap();
        assert_eq!(error_bound_file(root.path(), &root.path().join("dev/ptp_ena")), Some(file));
        assert_eq!(error_bound_file(root.path(), &root.path().join("dev/ptp0")), None);
    }

    #[test]
    fn a_machine_without_ptp_has_none() {
        assert_eq!(list(Path::new("/nonexistent")), []);
    }
}
