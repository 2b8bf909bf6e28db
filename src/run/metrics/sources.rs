//! The metrics of each source, labelled with its name and address.

use prometheus::Error;

use super::page::Page;
use super::{PPM, flag};
use crate::units::count;
use crate::wire::control::{Report, Source};

/// What tells sources apart: those of a pool share a name.
const LABELS: [&str; 2] = ["source", "address"];

/// A source's number and how it is called.
type Gauge = (&'static str, &'static str, fn(&Source) -> f64);

const GAUGES: [Gauge; 12] = [
    ("paraclock_source_offset_seconds", "Estimated offset; positive if the clock is ahead of the source.", |s| s.offset),
    ("paraclock_source_offset_uncertainty_seconds", "One sigma of the estimated offset.", |s| s.offset_sigma),
    ("paraclock_source_last_sample_offset_seconds", "Offset of the last sample against the clock as it is now.", |s| s.last_offset),
    ("paraclock_source_last_sample_error_seconds", "Margin of error of the last sample.", |s| s.last_error),
    ("paraclock_source_delay_seconds", "Round-trip delay of the last sample.", |s| s.delay),
    ("paraclock_source_jitter_seconds", "Standard deviation of the samples.", |s| s.jitter),
    ("paraclock_source_root_distance_seconds", "How wrong the source can be, with the path to us.", |s| s.root_distance),
    ("paraclock_source_frequency_error_ratio", "By how much the corrected clock runs fast against the source.", |s| s.frequency_ppm * PPM),
    ("paraclock_source_stratum", "The source's stratum.", |s| f64::from(s.stratum)),
    ("paraclock_source_poll_interval_seconds", "Seconds between polls.", |s| f64::from(s.poll).exp2()),
    ("paraclock_source_reach", "The reachability register: one bit for each of the last eight polls.", |s| f64::from(s.reach)),
    ("paraclock_source_reach_ratio", "Share of the last eight polls that were answered.", reach_ratio),
];

/// Bits set of eight.
pub(super) fn reach_ratio(source: &Source) -> f64 {
    count(u64::from(source.reach.count_ones())) / 8.0
}

fn labels(source: &Source) -> [&str; 2] {
    [&source.name, &source.address]
}

/// All sources' metrics.
pub(super) fn add(page: &mut Page, report: &Report) -> Result<(), Error> {
    let sources = &report.sources;
    for (name, help, value) in GAUGES {
        page.gauges(name, help, &LABELS, sources.iter().map(|s| (labels(s), value(s))))?;
    }
    page.gauges(
        "paraclock_source_last_sample_age_seconds",
        "Seconds since the last good sample; absent if there was none.",
        &LABELS,
        sources.iter().filter_map(|s| s.last_sample_age.map(|age| (labels(s), age))),
    )?;
    page.gauges(
        "paraclock_source_selected",
        "1 if the source is followed, alone or with others, else 0.",
        &LABELS,
        sources.iter().map(|s| (labels(s), flag(matches!(s.mark, '*' | '+')))),
    )?;
    page.gauges(
        "paraclock_source_state",
        "The source's state and its reason, always 1.",
        &["source", "address", "state", "reason"],
        sources.iter().map(|s| ([s.name.as_str(), &s.address, &s.state, &s.reason], 1.0)),
    )?;
    page.gauges(
        "paraclock_source_info",
        "What the source is, always 1.",
        &["source", "address", "mode", "kind", "timescale", "reference_id"],
        sources.iter().map(|s| ([s.name.as_str(), &s.address, &s.mode, &s.kind, &s.timescale, &s.reference_id], 1.0)),
    )?;
    page.gauges(
        "paraclock_source_stamps_info",
        "Whose stamps the last sample was measured with, of the request and of the answer: daemon, kernel or hardware; always 1.",
        &["source", "address", "transmit", "receive"],
        sources
            .iter()
            .filter(|s| !s.transmit_stamp.is_empty())
            .map(|s| ([s.name.as_str(), &s.address, &s.transmit_stamp, &s.receive_stamp], 1.0)),
    )?;
    devices(page, sources)?;
    traffic(page, sources)
}

/// What only clocks of this machine have.
fn devices(page: &Page, sources: &[Source]) -> Result<(), Error> {
    let clocks = || sources.iter().filter(|s| s.mode == "refclock");
    page.gauges(
        "paraclock_refclock_info",
        "The device behind a clock of this machine, always 1.",
        &["source", "device", "clock_name", "timescale", "timescale_from"],
        clocks().map(|s| ([s.name.as_str(), &s.device, &s.clock_name, &s.timescale, &s.timescale_from], 1.0)),
    )?;
    page.gauges(
        "paraclock_refclock_reading_duration_seconds",
        "How long the last reading of the clock took.",
        &["source"],
        clocks().filter_map(|s| s.reading_seconds.map(|seconds| ([s.name.as_str()], seconds))),
    )?;
    page.gauges(
        "paraclock_refclock_own_thread",
        "1 if the clock is slow and read on a thread of its own, else 0.",
        &["source"],
        clocks().map(|s| ([s.name.as_str()], flag(s.own_thread))),
    )?;
    page.counters(
        "paraclock_refclock_readings_preempted_total",
        "Readings set aside because they were taken across a preemption of the CPU.",
        &["source"],
        clocks().map(|s| ([s.name.as_str()], count(s.preempted))),
    )
}

fn traffic(page: &Page, sources: &[Source]) -> Result<(), Error> {
    page.counters(
        "paraclock_source_sent_total",
        "Requests sent or readings made.",
        &LABELS,
        sources.iter().map(|s| (labels(s), count(s.sent))),
    )?;
    page.counters(
        "paraclock_source_received_total",
        "Valid answers or readings.",
        &LABELS,
        sources.iter().map(|s| (labels(s), count(s.received))),
    )?;
    page.counters(
        "paraclock_source_rejected_total",
        "Answers and readings thrown away.",
        &["source", "address", "reason"],
        sources.iter().flat_map(|s| s.rejected.iter().map(|(reason, &n)| ([s.name.as_str(), &s.address, reason], count(n)))),
    )
}
