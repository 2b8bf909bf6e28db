//! The metrics of network cards that stamp packets.

use prometheus::Error;

use super::page::Page;
use crate::units::count;
use crate::wire::control::Report;

/// Nothing without `hwtimestamp`.
pub(super) fn add(page: &mut Page, report: &Report) -> Result<(), Error> {
    let Some(hardware) = &report.hardware else { return Ok(()) };
    let served = report.server.as_ref().map_or([0; 3], |s| [s.card_sent, s.card_received, s.card_refused]);
    let uses = [
        ("request", hardware.sent),
        ("answer", hardware.received),
        ("unplaced", hardware.unplaced),
        ("impossible", hardware.impossible),
        ("served_reply", served[0]),
        ("served_request", served[1]),
        ("served_refused", served[2]),
    ];
    page.counters(
        "paraclock_hardware_stamps_total",
        "Stamps of network cards, by what became of them: those of request, answer, served_request and served_reply were used.",
        &["use"],
        uses.into_iter().map(|(word, n)| ([word], count(n))),
    )?;
    page.gauges(
        "paraclock_hardware_clock_error_seconds",
        "How wrong a stamp of a network card can be; absent while too little is known of its clock.",
        &["interface", "clock"],
        hardware.cards.iter().filter_map(|card| card.error.map(|error| ([card.interface.as_str(), &card.clock], error))),
    )?;
    page.counters(
        "paraclock_hardware_clock_jumps_total",
        "Times that somebody set the clock of a network card.",
        &["interface", "clock"],
        hardware.cards.iter().map(|card| ([card.interface.as_str(), &card.clock], count(card.jumps))),
    )
}
