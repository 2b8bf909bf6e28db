//! Everything the agent knows, as the control protocol shows it.
//!
//! Signs turn here from "what to add to the clock" to chrony's "how far the clock is ahead".

use std::collections::BTreeMap;
use std::time::Duration;

use super::orphan;
use super::{Agent, Disruption, Kind, Source};
use crate::config::SelectOptions;
use crate::core::{SourceId, SourceState, SourceView, Status};
use crate::units::{Bound, Instant, Leap, Offset, Stratum, Timescale, shown};
use crate::wire::control::{
    BoundReport, Conflict, Counters, Disruption as DisruptionReport, Hardware, Hook, Platform, Report, Server, Source as SourceReport,
    Tracking,
};

/// What a report tells of the world around the agent; the executor knows it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `kernel`, `shadow` or `simulated`.
    pub clock_kind: &'static str,
    /// The machine.
    pub platform: Platform,
    /// What is served to others.
    pub server: Option<Server>,
    /// Who else steers the system clock.
    pub conflict: Option<Conflict>,
    /// The programs that it runs.
    pub hooks: Vec<Hook>,
    /// Network cards that stamp.
    pub hardware: Option<Hardware>,
    /// What the executor found wrong.
    pub problems: Vec<String>,
    /// The devices behind refclocks.
    pub devices: Vec<(SourceId, DeviceFacts)>,
}

/// What the executor knows of the device behind a refclock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceFacts {
    /// Its file.
    pub path: String,
    /// The name that its driver gives it.
    pub name: String,
    /// How long the last reading took.
    pub reading: Option<Duration>,
    /// It is slow, and read on a thread of its own.
    pub apart: bool,
    /// How the host would smear leap seconds, in a word; empty if it does not say.
    pub smearing_hint: &'static str,
    /// The host announces that time will be disrupted within this.
    pub disruption_within: Option<Duration>,
}

/// Said of a source that disagrees and whose timescale nobody knows.
const UNKNOWN_TIMESCALE: &str = "its timescale is not known: if it smears leap seconds and the others do not, `timescale smeared` says so";

impl Agent {
    /// The whole report as of `now`.
    #[must_use]
    pub fn report(&self, now: Instant, surroundings: &Surroundings) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: self.core.line().at(now).unix_seconds(),
            uptime: now.since(self.started).seconds(),
            tracking: self.tracking(now, surroundings),
            sources: self.sources.iter().filter(|s| !s.hidden).map(|s| self.source_report(now, s, surroundings)).collect(),
            counters: self.counters(),
            disruption: self.disruption().map(|event| disruption_report(event, now)),
            platform: Platform {
                announced_disruption: surroundings.devices.iter().filter_map(|(_, d)| d.disruption_within).min().map(|d| d.as_secs_f64()),
                ..surroundings.platform.clone()
            },
            conflict: surroundings.conflict.clone(),
            hooks: surroundings.hooks.clone(),
            hardware: surroundings.hardware.clone(),
            server: surroundings.server.clone(),
            smoothing: self.smoothing.report(&self.published.snapshot, now),
            problems: self.problems(&surroundings.problems),
        }
    }

    fn tracking(&self, now: Instant, surroundings: &Surroundings) -> Tracking {
        let published = self.published();
        let (line, clock) = self.core.bounds(now);
        let reference = self.core.reference();
        let (status, since) = self.core.status();
        let ahead = self.core.line().ahead_of(self.core.course().at(now), now);
        let rate = self.core.course().rate.ppm() - self.core.line().frequency().ppm();
        let snapshot = &published.snapshot;
        let face = snapshot.face(now);
        let known = face.stratum != Stratum::UNSYNCHRONISED;
        Tracking {
            status: status.as_str().to_owned(),
            status_since: self.core.line().at(since).unix_seconds(),
            reference_id: if known { face.reference_id.to_string() } else { "00000000".to_owned() },
            reference_name: published.selected.and_then(|id| self.source_name(id)).unwrap_or_default().to_owned(),
            stratum: if known { face.stratum.get() } else { 0 },
            reference_time: reference.map_or(0.0, |r| self.core.line().at(r.at).unix_seconds()),
            system_offset: 0.0 - ahead,
            last_offset: reference.map_or(0.0, |r| -r.last_offset),
            rms_offset: reference.map_or(0.0, |r| r.mean_square.sqrt()),
            frequency_ppm: -self.core.line().frequency().ppm(),
            residual_frequency_ppm: reference.map_or(0.0, |r| 0.0 - r.residual.ppm()),
            skew_ppm: if reference.is_some() { self.core.skew().ppm() } else { 0.0 },
            root_delay: snapshot.root_delay.as_secs_f64(),
            root_dispersion: reference.map_or(0.0, |r| {
                let age = now.since(r.at).seconds();
                r.root_dispersion.as_secs_f64() + age * line.growth.ratio()
            }),
            update_interval: reference.map_or(0.0, |r| r.interval),
            leap: if known { face.leap } else { Leap::Unsynchronised }.as_str().to_owned(),
            line: bound_report(&line, now),
            clock: bound_report(&clock, now),
            clock_kind: surroundings.clock_kind.to_owned(),
            slewing_ppm: if self.core.course().until.is_some() { rate } else { 0.0 },
        }
    }

    fn source_report(&self, now: Instant, source: &Source, surroundings: &Surroundings) -> SourceReport {
        let view = self.core.source(source.id, now);
        let last = view.and_then(|v| v.last);
        let state = if source.denied { SourceState::Unreachable } else { view.map_or(SourceState::Waiting, |v| v.state) };
        let (poll, reach, counts, kind, address) = match &source.kind {
            Kind::Ntp(a) => (a.poll(), a.reach(), a.counts(), "NTP", shown(a.address().ip())),
            Kind::Local(c) => (c.poll(), c.reach(), c.counts(), c.kind(), String::new()),
        };
        let rejected: BTreeMap<String, u64> = match &source.kind {
            Kind::Ntp(a) => a.rejected().map(|(reason, n)| (reason.as_str().to_owned(), n)).collect(),
            Kind::Local(c) => c.failed().map(|(reason, n)| (reason.to_owned(), n)).collect(),
        };
        let aside = source.orphan.is_some() && state == SourceState::Unsynchronised;
        let (error, stratum, reference_id) = match &source.kind {
            Kind::Ntp(_) if source.denied => {
                ("the server refuses to answer us (kiss-o'-death DENY or RSTR)".to_owned(), Stratum::new(0), None)
            }
            Kind::Ntp(_) => (String::new(), Stratum::new(0), None),
            Kind::Local(c) => (c.error().map(ToString::to_string).unwrap_or_default(), c.stratum(), Some(c.reference_id())),
        };
        let reason = match &source.kind {
            _ if source.denied => "the server refuses to answer us".to_owned(),
            _ if aside => orphan::ASIDE.to_owned(),
            Kind::Local(c) if !c.tells_time() && c.error().is_none() => "it carries no time of day: watched for disruptions".to_owned(),
            Kind::Local(c) if state == SourceState::Waiting && c.error().is_some() => error.clone(),
            Kind::Local(c) if state == SourceState::Unreachable && c.is_absent() => "its device is not there".to_owned(),
            _ => state.reason().to_owned(),
        };
        let (timescale, timescale_from) = self.timescale(source);
        let unexplained = matches!(state, SourceState::Falseticker | SourceState::NoMajority) && timescale == Timescale::Unknown;
        let reason = if unexplained { format!("{reason}; {UNKNOWN_TIMESCALE}") } else { reason };
        let mutual = matches!(state, SourceState::Combined | SourceState::Outclassed) && last.is_some_and(|s| s.asks_us);
        let reason = if mutual { format!("{reason}; it asks us too, and is told what we know without it") } else { reason };
        let device = surroundings.devices.iter().find(|(id, _)| *id == source.id).map(|(_, facts)| facts.clone()).unwrap_or_default();
        let preempted = if let Kind::Local(c) = &source.kind { c.preempted() } else { 0 };
        let (samples, runs, span) = view.map_or((0, 0, 0.0), |v| (v.statistics.0, v.statistics.1, v.statistics.2.as_secs_f64()));
        let stamps = if let Kind::Ntp(a) = &source.kind { a.stamps() } else { None };
        let line_frequency = self.core.line().frequency().ppm();
        SourceReport {
            name: source.name.clone(),
            address,
            mode: if matches!(source.kind, Kind::Ntp(_)) { "server" } else { "refclock" }.to_owned(),
            kind: kind.to_owned(),
            state: state.as_str().to_owned(),
            mark: state.mark(),
            letter: state.letter(),
            reason,
            reference_id: last.map(|s| s.reference_id).or(reference_id).unwrap_or_default().to_string(),
            stratum: last.map_or(stratum, |s| s.stratum).get(),
            poll: poll.log2(),
            reach: reach.bits(),
            last_sample_age: last.map(|s| now.since(s.at).seconds()),
            last_offset: last.map_or(0.0, |s| self.clock_ahead_of(now, &s)),
            measured_offset: view.map_or(0.0, |v| 0.0 - v.measured),
            last_error: last.map_or(0.0, |s| (s.delay / 2 + s.dispersion + s.root_delay / 2 + s.root_dispersion).as_secs_f64()),
            root_distance: view.map_or(0.0, |v| v.distance),
            interval: view.filter(|v| v.distance > 0.0).map(|v| (0.0 - v.interval.1, 0.0 - v.interval.0)),
            score: view.map_or(1.0, |v| self.score(now, &v)),
            offset: view.map_or(0.0, |v| 0.0 - v.offset),
            offset_sigma: view.map_or(0.0, |v| v.sigma),
            delay: last.map_or(0.0, |s| s.delay.as_secs_f64()),
            jitter: view.map_or(0.0, |v| v.jitter),
            samples: u32::try_from(samples).unwrap_or(u32::MAX),
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
            span,
            frequency_ppm: view.map_or(0.0, |v| line_frequency - v.frequency.0.ppm()),
            skew_ppm: view.map_or(0.0, |v| v.frequency.1.ppm()),
            timescale: timescale.as_str().to_owned(),
            timescale_from,
            device: device.path,
            clock_name: device.name,
            reading_seconds: device.reading.map(|d| d.as_secs_f64()),
            own_thread: device.apart,
            smearing_hint: device.smearing_hint.to_owned(),
            preempted,
            leap: last.map_or(Leap::Unsynchronised, |s| s.leap).as_str().to_owned(),
            transmit_stamp: stamps.map(|s| s.0.as_str()).unwrap_or_default().to_owned(),
            receive_stamp: stamps.map(|s| s.1.as_str()).unwrap_or_default().to_owned(),
            authenticated: matches!(&source.kind, Kind::Ntp(a) if a.is_authenticated()),
            sent: counts.0,
            received: counts.1,
            rejected,
            options: options(source.select),
            effective_options: options(view.map_or(source.select, |v| v.options)),
            error,
        }
    }

    /// The timescale of a source, and where that is known from.
    fn timescale(&self, source: &Source) -> (Timescale, String) {
        let (timescale, from) = match &source.kind {
            // Of a clock that tells no time there is nothing to know.
            Kind::Local(clock) => (clock.timescale(), if clock.tells_time() { clock.timescale_from() } else { "" }),
            Kind::Ntp(_) if source.timescale == Timescale::Utc => (Timescale::Utc, "as NTP servers do"),
            Kind::Ntp(_) => (source.timescale, "known of this server"),
        };
        match self.counts_as(source.id) {
            Some((counted, other)) if timescale == Timescale::Unknown => (counted, format!("it agrees with {other}")),
            _ => (timescale, from.to_owned()),
        }
    }

    /// How close a source that agrees is, beside the one followed: above 1 where it is closer.
    fn score(&self, now: Instant, view: &SourceView) -> f64 {
        use SourceState::{Combined, NotPreferred, Outclassed};
        let best = self.published.selected.and_then(|id| self.core.source(id, now));
        match best {
            Some(best) if matches!(view.state, Combined | NotPreferred | Outclassed) && view.distance > 0.0 => {
                best.distance / view.distance
            }
            _ => 1.0,
        }
    }

    /// The last sample against the clock as it runs now, carried back to the sample.
    fn clock_ahead_of(&self, now: Instant, sample: &crate::core::Sample) -> f64 {
        let away = self.core.line().ahead_of(self.core.course().at(now), now);
        let residual = self.core.line().ahead_of(sample.reference, sample.at);
        residual - away
    }

    fn counters(&self) -> Counters {
        let t = self.totals;
        let kinds = [
            ("restore", t.restores),
            ("migration", t.migrations),
            ("suspend", t.suspends),
            ("jump", t.jumps),
            ("foreign_step", t.foreign_steps),
            ("clocksource", t.clocksource_changes),
            ("stall", t.stalls),
        ];
        Counters {
            steps: t.steps,
            slews: t.slews,
            foreign_steps: t.foreign_steps,
            disruptions: kinds.into_iter().map(|(kind, n)| (kind.to_owned(), n)).collect(),
            clock_errors: t.clock_errors,
            stray_packets: t.stray_packets,
            wakeups: t.wakeups,
        }
    }

    fn problems(&self, known: &[String]) -> Vec<String> {
        let mut problems = known.to_vec();
        match self.core.status().0 {
            Status::Synchronised => {}
            Status::Unsynchronised => problems.push("not synchronised yet".to_owned()),
            Status::Holdover => problems.push("no source can be followed: running on the learned frequency (hold-over)".to_owned()),
            Status::Disrupted => problems.push("time was disrupted: waiting for the first agreement of sources".to_owned()),
        }
        if self.sources.is_empty() && self.names.is_empty() {
            problems.push("no source is configured: add a server, pool or refclock".to_owned());
        }
        for name in self.names.iter().filter(|n| n.failed()) {
            problems.push(format!("{} cannot be resolved: check the name and the resolver", name.directive.name));
        }
        for source in self.sources.iter().filter(|s| !s.hidden) {
            if let Kind::Local(clock) = &source.kind {
                if let Some(error) = clock.error() {
                    problems.push(error.to_string());
                }
            } else if source.denied {
                problems.push(format!("{} refuses to answer us", source.name));
            } else if !source.was_reachable {
                problems.push(format!("{} does not answer: check that it serves us and that UDP is not blocked", source.name));
            }
        }
        if let Some(error) = &self.clock_error {
            problems.push(error.to_string());
        }
        problems
    }
}

fn disruption_report(event: &Disruption, now: Instant) -> DisruptionReport {
    DisruptionReport {
        number: event.number,
        kind: event.kind.as_str().to_owned(),
        age: now.since(event.since).seconds(),
        witnesses: event.witnesses().map(|(witness, after)| (witness.as_str().to_owned(), after.as_secs_f64())).collect(),
        recovered_after: event.recovered.map(|at| at.since(event.since).seconds()),
        stepped: event.stepped.map(Offset::seconds),
    }
}

fn bound_report(bound: &Bound, now: Instant) -> BoundReport {
    BoundReport { error: bound.is_known().then(|| bound.at(now).as_secs_f64()), growth_ppm: bound.growth.ppm() }
}

fn options(select: SelectOptions) -> Vec<String> {
    let words = [(select.prefer, "prefer"), (select.trust, "trust"), (select.require, "require"), (select.noselect, "noselect")];
    words.into_iter().filter(|w| w.0).map(|w| w.1.to_owned()).collect()
}
