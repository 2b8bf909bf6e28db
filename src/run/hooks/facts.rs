//! What a hook is told: its environment, and nothing else of ours.

use crate::agent::DisruptionKind;
use crate::config::HookEvent;
use crate::core::Status;

/// Where programs that the hook starts are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The facts of one event. Times are seconds.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Facts {
    pub(super) event: HookEvent,
    pub(super) status: Status,
    /// What broke time.
    pub(super) cause: &'static str,
    /// Unix time on the line at which the status began.
    pub(super) since: f64,
    /// For how long time was not right; `sync` alone knows.
    pub(super) lasted: Option<f64>,
    /// How far the clock is ahead of the line.
    pub(super) offset: f64,
    /// How wrong the clock can be; `None` while nothing is known.
    pub(super) bound: Option<f64>,
    /// How far we stepped the clock since time was right last.
    pub(super) stepped: f64,
    /// The source followed; empty if none is.
    pub(super) source: String,
}

impl Facts {
    /// The whole environment: what is not known is there and empty.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let seconds = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.9}"));
        vec![
            ("PATH", PATH.to_owned()),
            ("PARACLOCK_EVENT", self.event.as_str().to_owned()),
            ("PARACLOCK_STATUS", self.status.as_str().to_owned()),
            ("PARACLOCK_CAUSE", self.cause.to_owned()),
            ("PARACLOCK_SINCE", format!("{:.6}", self.since)),
            ("PARACLOCK_LASTED_SECONDS", seconds(self.lasted)),
            ("PARACLOCK_OFFSET_SECONDS", seconds(Some(self.offset))),
            ("PARACLOCK_BOUND_SECONDS", seconds(self.bound)),
            ("PARACLOCK_STEPPED_SECONDS", seconds(Some(self.stepped))),
            ("PARACLOCK_SOURCE", self.source.clone()),
        ]
    }
}

/// What broke time, or why it was not right before: `start`, `holdover`.
pub(super) fn cause(event: HookEvent, before: Status, kind: Option<DisruptionKind>) -> &'static str {
    match (event, before) {
        (HookEvent::Sync, Status::Unsynchronised) => "start",
        (HookEvent::Sync, Status::Holdover) => "holdover",
        _ => kind.map_or("unknown", DisruptionKind::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_what_broke_time_or_why_it_was_not_right_yet() {
        use HookEvent::{Disruption, Sync};
        assert_eq!(cause(Sync, Status::Unsynchronised, None), "start");
        assert_eq!(cause(Sync, Status::Holdover, Some(DisruptionKind::Restore)), "holdover");
        assert_eq!(cause(Sync, Status::Disrupted, Some(DisruptionKind::Migration)), "migration");
        assert_eq!(cause(Disruption, Status::Holdover, Some(DisruptionKind::Jump)), "jump");
        assert_eq!(cause(Disruption, Status::Synchronised, None), "unknown");
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let facts = Facts {
            event: HookEvent::Disruption,
            status: Status::Disrupted,
            cause: "restore",
            since: 1.5,
            lasted: None,
            offset: -0.25,
            bound: None,
            stepped: 0.0,
            source: String::new(),
        };
        let environment = facts.environment();
        let value = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("PARACLOCK_EVENT"), Some("disruption"));
        assert_eq!(value("PARACLOCK_BOUND_SECONDS"), Some(""));
        assert_eq!(value("PARACLOCK_LASTED_SECONDS"), Some(""));
        assert_eq!(value("PARACLOCK_OFFSET_SECONDS"), Some("-0.250000000"));
        assert_eq!(value("PARACLOCK_SINCE"), Some("1.500000"));
    }
}
