//! The agent's state as Prometheus metrics: a [`Report`] in, the text format out.
//!
//! The page is built anew for every scrape, so that a source that went away leaves no
//! stale series. Names use base units (seconds, ratios) and end in `_total` where they
//! count. Serving them over HTTP is [`serve`]'s job, chrony_exporter's names are `chrony`'s.

mod chrony;
mod hardware;
mod page;
mod server;
mod server_side;
mod sources;
#[cfg(test)]
mod tests;

pub use server::serve;

use crate::core::Status;
use crate::units::count;
use crate::wire::control::{BoundReport, Disruption, Report};
use page::Page;

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Parts per million as a ratio.
const PPM: f64 = 1e-6;

/// The whole page; `chrony` adds the names that chrony_exporter's dashboards use.
///
/// # Errors
/// When a name or label is not valid in Prometheus, which is a fault of this program.
pub fn render(report: &Report, chrony: bool) -> Result<String, prometheus::Error> {
    let mut page = Page::default();
    clock(&mut page, report)?;
    reference(&mut page, report)?;
    sources::add(&mut page, report)?;
    counters(&mut page, report)?;
    server_side::add(&mut page, report)?;
    hardware::add(&mut page, report)?;
    platform(&mut page, report)?;
    if chrony {
        chrony::add(&mut page, report)?;
    }
    page.text()
}

fn clock(page: &mut Page, report: &Report) -> Result<(), prometheus::Error> {
    let t = &report.tracking;
    let one = |name: &str, help: &str, value: f64| page.gauge(name, help, value);
    [
        ("paraclock_offset_seconds", "How far the system clock is ahead of the line, the best knowledge of the time.", t.system_offset),
        ("paraclock_last_offset_seconds", "Offset that the last update measured; positive if the clock was ahead.", t.last_offset),
        ("paraclock_rms_offset_seconds", "Long-term root mean square of the updates' offsets.", t.rms_offset),
        ("paraclock_frequency_error_ratio", "By how much the uncorrected clock runs fast.", t.frequency_ppm * PPM),
        (
            "paraclock_residual_frequency_error_ratio",
            "Difference between the last measured frequency and the one in use.",
            t.residual_frequency_ppm * PPM,
        ),
        ("paraclock_frequency_skew_ratio", "Uncertainty of the frequency.", t.skew_ppm * PPM),
        ("paraclock_slew_ratio", "Rate of the slew in progress; 0 if there is none.", t.slewing_ppm * PPM),
        ("paraclock_synchronized", "1 while sources are followed, else 0.", flag(t.status == Status::Synchronised.as_str())),
        ("paraclock_status_since_timestamp_seconds", "Unix time since which the status holds.", t.status_since),
        ("paraclock_time_seconds", "Unix time on the line when the page was made.", report.time),
        ("paraclock_uptime_seconds", "Seconds since the agent started.", report.uptime),
        ("paraclock_problems", "How many things are wrong, as listed by `paraclock status`.", length(report.problems.len())),
    ]
    .into_iter()
    .try_for_each(|(name, help, value)| one(name, help, value))?;

    page.gauges(
        "paraclock_max_error_seconds",
        "How wrong the line, or the system clock, can be; +Inf while nothing is known.",
        &["of"],
        [(["line"], limit(t.line)), (["clock"], limit(t.clock))],
    )?;
    page.gauges(
        "paraclock_max_error_growth_ratio",
        "How fast the error bound grows until the next update.",
        &["of"],
        [(["line"], t.line.growth_ppm * PPM), (["clock"], t.clock.growth_ppm * PPM)],
    )?;
    let states = [Status::Unsynchronised, Status::Synchronised, Status::Holdover, Status::Disrupted].map(Status::as_str);
    page.gauges(
        "paraclock_status",
        "The state of time: 1 for the one that holds, 0 for the others.",
        &["status"],
        states.map(|state| ([state], flag(t.status == state))),
    )?;
    let conflict = report.conflict.iter().map(|c| ([c.program.as_str(), if c.yielding { "yielding" } else { "undoing" }], 1.0));
    page.gauges("paraclock_conflict", "1 while another program steers the system clock too.", &["program", "policy"], conflict)?;
    page.info("paraclock_clock_info", "Which clock is steered: kernel, shadow or simulated.", &["kind"], [&t.clock_kind])?;
    page.info("paraclock_build_info", "The program.", &["version"], [&report.version])
}

fn reference(page: &mut Page, report: &Report) -> Result<(), prometheus::Error> {
    let t = &report.tracking;
    page.gauge("paraclock_stratum", "Distance from a primary clock; 16 if unsynchronised.", f64::from(t.stratum))?;
    page.gauge("paraclock_root_delay_seconds", "Total delay to the primary clock.", t.root_delay)?;
    page.gauge(
        "paraclock_root_dispersion_seconds",
        "Total dispersion to the primary clock, at the time of the scrape.",
        t.root_dispersion,
    )?;
    page.gauge("paraclock_reference_timestamp_seconds", "Unix time of the last update; 0 if never.", t.reference_time)?;
    page.gauge("paraclock_update_interval_seconds", "Seconds between the last two updates.", t.update_interval)?;
    page.info(
        "paraclock_reference_info",
        "The source followed.",
        &["reference_id", "reference_name", "leap"],
        [&t.reference_id, &t.reference_name, &t.leap],
    )
}

fn counters(page: &mut Page, report: &Report) -> Result<(), prometheus::Error> {
    let c = &report.counters;
    page.counter("paraclock_clock_steps_total", "Steps that we made.", count(c.steps))?;
    page.counter("paraclock_clock_slews_total", "Slews that we began.", count(c.slews))?;
    page.counter("paraclock_foreign_steps_total", "Steps of the clock by somebody else.", count(c.foreign_steps))?;
    page.counter("paraclock_clock_errors_total", "Adjustments that the kernel refused.", count(c.clock_errors))?;
    page.counter("paraclock_stray_packets_total", "Packets that matched no source.", count(c.stray_packets))?;
    page.counter("paraclock_wakeups_total", "Wake-ups of the event loop.", count(c.wakeups))?;
    page.counters(
        "paraclock_hook_runs_total",
        "Runs of the programs of `ondisruption` and `onsync`, by result.",
        &["hook", "result"],
        report.hooks.iter().flat_map(|h| h.runs.iter().map(|(result, &n)| ([h.hook.as_str(), result.as_str()], count(n)))),
    )?;
    page.counters(
        "paraclock_disruptions_total",
        "Events that broke time: restores, migrations, suspends, jumps.",
        &["kind"],
        c.disruptions.iter().map(|(kind, &n)| ([kind.as_str()], count(n))),
    )?;
    report.disruption.as_ref().map_or(Ok(()), |event| disruption(page, event))
}

/// The last one, there only once there was one.
fn disruption(page: &mut Page, event: &Disruption) -> Result<(), prometheus::Error> {
    page.gauges(
        "paraclock_last_disruption_age_seconds",
        "Seconds since the last disruption was noticed.",
        &["kind"],
        [([event.kind.as_str()], event.age)],
    )?;
    page.gauges(
        "paraclock_last_disruption_witness_seconds",
        "How many seconds after the first each witness told of the last disruption.",
        &["witness"],
        event.witnesses.iter().map(|(witness, &after)| ([witness.as_str()], after)),
    )?;
    page.gauge(
        "paraclock_last_disruption_recovery_seconds",
        "Seconds from noticing the last disruption until sources agreed on the time; not there while they do not.",
        event.recovered_after.unwrap_or(f64::NAN),
    )?;
    page.gauge("paraclock_last_disruption_step_seconds", "The step of the clock that it needed.", event.stepped.unwrap_or(0.0))
}

fn platform(page: &mut Page, report: &Report) -> Result<(), prometheus::Error> {
    let p = &report.platform;
    page.info("paraclock_platform_info", "The machine.", &["hypervisor", "cloud"], [&p.hypervisor, &p.cloud])?;
    page.info("paraclock_clocksource_info", "The kernel's clocksource.", &["clocksource"], [&p.clocksource])?;
    if let Some(pvclock) = p.pvclock {
        let version = f64::from(pvclock.version);
        page.gauge("paraclock_pvclock_version", "Version of the kvm-clock page; rises by two at each rewrite.", version)?;
        page.gauge("paraclock_pvclock_flags", "Flags of the kvm-clock page: 1 stable, 2 guest stopped.", f64::from(pvclock.flags))?;
        page.gauge("paraclock_pvclock_frequency_hertz", "The counter's frequency by the kvm-clock page.", pvclock.frequency_hz)?;
    }
    if let Some(seconds) = p.announced_disruption {
        page.gauge("paraclock_announced_disruption_seconds", "The host announces that time will be disrupted within this.", seconds)?;
    }
    match p.steal_seconds {
        Some(seconds) => page.counter("paraclock_steal_seconds_total", "CPU time that the hypervisor took, all CPUs.", seconds),
        None => Ok(()),
    }
}

/// 1 or 0.
fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// The error bound; infinite while unknown.
fn limit(bound: BoundReport) -> f64 {
    bound.error.unwrap_or(f64::INFINITY)
}

/// The length of a list.
fn length(n: usize) -> f64 {
    count(u64::try_from(n).unwrap_or(u64::MAX))
}
