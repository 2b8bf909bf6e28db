//! `refclock KVM`: the kvm-clock page. It has no parameter.

use super::super::RefclockKind;
use super::super::line::{Line, Parsed};

/// Nothing to parse: options follow at once.
pub(super) fn parse(_line: &mut Line<'_>) -> Parsed<(RefclockKind, String)> {
    Ok((RefclockKind::Kvm, "watch the kvm-clock of the hypervisor for disruptions (it carries no time of day)".to_owned()))
}
