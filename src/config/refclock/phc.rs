//! `refclock PHC DEVICE[:OPTION]...`: a PTP hardware clock, physical or offered by the hypervisor.

use std::path::PathBuf;

use super::super::line::{Line, Parsed, quoted};
use super::super::suggest::did_you_mean;
use super::super::{PhcDevice, RefclockKind};

/// Suffixes that chrony knows.
const SUFFIXES: &[&str] = &["nocrossts", "extpps", "pin", "channel", "clear"];

/// Parses the device and its suffixes.
pub(super) fn parse(line: &mut Line<'_>) -> Parsed<(RefclockKind, String)> {
    let word = line.required("refclock PHC", "a device such as `/dev/ptp0`, or a clock's name,")?;
    let mut parts = word.text.split(':');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() {
        return Err(word.problem("name the device before the colon, for example `/dev/ptp0:nocrossts`"));
    }
    let device = if name.starts_with('/') { PhcDevice::Path(PathBuf::from(name)) } else { PhcDevice::Name(name.to_owned()) };
    let mut nocrossts = false;
    for part in parts {
        let suffix = part.to_ascii_lowercase();
        match suffix.split('=').next().unwrap_or_default() {
            "nocrossts" => {
                nocrossts = true;
                line.note_unserved("`nocrossts` (cross timestamps are used if the device has them)");
            }
            "extpps" => line.note_unserved("`extpps` (the clock itself is read, not its pulse input)"),
            known @ ("pin" | "channel" | "clear") => line.note_unserved(format!("`{known}`")),
            unknown => {
                let guess = did_you_mean(unknown, SUFFIXES.iter().copied());
                line.note(word.problem(format!("unknown suffix {} of a PHC device{guess}", quoted(part))));
            }
        }
    }
    let which = match device {
        PhcDevice::Path(_) => format!("the PTP clock {name}"),
        PhcDevice::Name(_) => format!("the PTP clock named {name}"),
    };
    Ok((RefclockKind::Phc { device, nocrossts }, format!("read {which}")))
}
