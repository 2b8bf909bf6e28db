//! The checks, the most harmful first. Each looks at the evidence and says what it finds.

mod clocksource;
mod daemons;
mod devices;
mod files;
mod network;
mod place;
mod sources;
mod timescales;
mod wrong;

use super::evidence::Evidence;
use super::finding::Finding;

/// One look at the evidence.
pub type Check = fn(&Evidence) -> Vec<Finding>;

/// All checks in order of harm.
pub const ALL: [Check; 22] = [
    wrong::date,
    wrong::offset,
    daemons::fighting,
    daemons::unseen_hand,
    daemons::rights,
    daemons::refused,
    daemons::nobody,
    sources::configuration,
    sources::nothing_to_follow,
    network::nobody_answers,
    sources::not_synchronised,
    clocksource::poor,
    clocksource::unstable,
    timescales::mixed,
    devices::unreadable,
    sources::not_used,
    network::some_do_not_answer,
    devices::missing,
    devices::offered,
    files::rtc_in_local_time,
    files::firewall,
    place::no_virtual_machine,
];
