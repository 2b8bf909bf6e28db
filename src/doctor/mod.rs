//! Floor 8: what is wrong with time on this machine, and how to mend it.
//!
//! [`Evidence`] is everything that is looked at, as plain data; [`examine`] is a pure function of it that goes through
//! a list of small checks, the most harmful first. [`probe`] and [`System::read`] gather evidence. Nothing is changed.

pub mod checks;
mod evidence;
mod finding;
pub mod host;
pub mod probe;
mod system;

pub use evidence::{Daemon, Evidence, Looks, Plan, PlannedClock, PlannedServer};
pub use finding::{Finding, Severity};
pub use system::{Module, Node, System, User};

/// Everything that is wrong, in order of harm.
#[must_use]
pub fn examine(evidence: &Evidence) -> Vec<Finding> {
    let mut findings: Vec<Finding> = checks::ALL.iter().flat_map(|check| check(evidence)).collect();
    // Stable: within a severity the order of the checks holds.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
