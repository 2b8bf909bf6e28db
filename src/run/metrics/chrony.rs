//! The names under which chrony_exporter publishes chronyd's state, so that dashboards
//! and alerts made for it show Paraclock as well.
//!
//! Signs and labels are that exporter's: `system_time` is positive when the clock is slow,
//! a reference clock's address is its name read as four bytes.

use std::net::Ipv4Addr;

use prometheus::Error;

use super::flag;
use super::page::Page;
use super::sources::reach_ratio;
use crate::units::ReferenceId;
use crate::wire::control::{Report, Source};

/// The reference id of a clock that follows only itself, 127.127.1.1.
const LOCAL_REFERENCE: &str = "7F7F0101";

/// What chronyd reports as the age of a sample that never came.
const NO_SAMPLE: f64 = 4_294_967_295.0;

/// All of chrony_exporter's names that have a meaning here.
pub(super) fn add(page: &mut Page, report: &Report) -> Result<(), Error> {
    page.gauge("chrony_up", "Whether the daemon answers.", 1.0)?;
    tracking(page, report)?;
    sources(page, &report.sources)
}

fn tracking(page: &Page, report: &Report) -> Result<(), Error> {
    let t = &report.tracking;
    let followed = report.sources.iter().find(|source| source.mark == '*');
    let address = followed.map(|source| source.address.as_str()).filter(|address| !address.is_empty()).unwrap_or("0.0.0.0");
    let labels = ["tracking_address", "tracking_name", "tracking_refid"];
    page.gauges(
        "chrony_tracking_info",
        "The reference followed, always 1.",
        &labels,
        [([address, &t.reference_name, &t.reference_id], 1.0)],
    )?;
    [
        ("chrony_tracking_last_offset_seconds", "Offset of the last update.", t.last_offset),
        ("chrony_tracking_system_time_seconds", "Correction still to be made; positive if the clock is slow.", -t.system_offset),
        ("chrony_tracking_rms_offset_seconds", "Long-term average of the offset.", t.rms_offset),
        ("chrony_tracking_frequency_ppms", "Rate error of the uncorrected clock in ppm.", t.frequency_ppm),
        ("chrony_tracking_residual_frequency_ppms", "Last measured frequency less the one in use in ppm.", t.residual_frequency_ppm),
        ("chrony_tracking_skew_ppms", "Uncertainty of the frequency in ppm.", t.skew_ppm),
        ("chrony_tracking_root_delay_seconds", "Total delay to the primary clock.", t.root_delay),
        ("chrony_tracking_root_dispersion_seconds", "Total dispersion to the primary clock.", t.root_dispersion),
        ("chrony_tracking_remote_reference", "1 unless the clock follows only itself.", flag(t.reference_id != LOCAL_REFERENCE)),
        ("chrony_tracking_reference_timestamp_seconds", "Unix time of the last update.", t.reference_time),
        ("chrony_tracking_stratum", "Distance from a primary clock.", f64::from(t.stratum)),
        ("chrony_tracking_update_interval_seconds", "Seconds between the last two updates.", t.update_interval),
    ]
    .into_iter()
    .try_for_each(|(name, help, value)| page.gauge(name, help, value))
}

/// A source's number and how it is called.
type Gauge = (&'static str, &'static str, fn(&Source) -> f64);

const GAUGES: [Gauge; 7] = [
    ("chrony_sources_last_sample_age_seconds", "Age of the last good sample.", |s| s.last_sample_age.unwrap_or(NO_SAMPLE)),
    ("chrony_sources_last_sample_offset_seconds", "Offset of the last sample.", |s| s.last_offset),
    ("chrony_sources_last_sample_error_margin_seconds", "Margin of error of the last sample.", |s| s.last_error),
    ("chrony_sources_polling_interval_seconds", "Seconds between polls.", |s| f64::from(s.poll).exp2()),
    ("chrony_sources_reachability_ratio", "Share of the last eight polls that were answered.", reach_ratio),
    ("chrony_sources_reachability_success", "1 if the last poll was answered.", |s| flag(s.reach & 1 == 1)),
    ("chrony_sources_stratum", "The source's stratum.", |s| f64::from(s.stratum)),
];

fn sources(page: &Page, sources: &[Source]) -> Result<(), Error> {
    let addresses: Vec<String> = sources.iter().map(address).collect();
    let rows = || sources.iter().zip(&addresses);
    for (name, help, value) in GAUGES {
        let labels = ["source_address", "source_name"];
        page.gauges(name, help, &labels, rows().map(|(s, address)| ([address.as_str(), &s.name], value(s))))?;
    }
    page.gauges(
        "chrony_sources_state_info",
        "State and mode of the source, always 1.",
        &["source_address", "source_name", "source_state", "source_mode"],
        rows().map(|(s, address)| ([address.as_str(), &s.name, state(s), mode(s)], 1.0)),
    )
}

fn address(source: &Source) -> String {
    if !source.address.is_empty() {
        return source.address.clone();
    }
    ReferenceId::from_name(&source.name).map_or_else(|| source.name.clone(), |id| Ipv4Addr::from(id.0).to_string())
}

const fn state(source: &Source) -> &'static str {
    match source.mark {
        '*' => "sync",
        '+' => "candidate",
        '-' => "outlier",
        'x' => "falseticker",
        '~' => "jittery",
        _ => "unreach",
    }
}

fn mode(source: &Source) -> &'static str {
    if source.mode == "refclock" { "reference clock" } else { "client" }
}
