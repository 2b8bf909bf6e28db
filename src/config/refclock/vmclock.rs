//! `refclock VMCLOCK [DEVICE]`: a vmclock device, `/dev/vmclock0` unless said otherwise.

use std::path::PathBuf;

use super::super::RefclockKind;
use super::super::line::{Line, Parsed};

/// Parses the device, if there is one: it is a path, so no option is mistaken for it.
pub(super) fn parse(line: &mut Line<'_>) -> Parsed<(RefclockKind, String)> {
    let named = line.peek().is_some_and(|word| word.text.starts_with('/'));
    let device = if named { line.path("refclock VMCLOCK", "a device")? } else { PathBuf::from("/dev/vmclock0") };
    let beginning = format!("read the vmclock {}", device.display());
    Ok((RefclockKind::Vmclock { device }, beginning))
}
