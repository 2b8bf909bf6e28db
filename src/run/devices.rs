//! The devices behind refclocks: which there are, and how each is read without keeping the loop waiting.
//!
//! Every device is known by its source's id. One that takes long moves to a thread of its own, which lives as long as the
//! device is slow. [`Devices::look`] says what appeared and what went away; whoever calls it tells the agent.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use super::setup;
use crate::agent::DeviceFacts;
use crate::config::{RefclockDirective, RefclockKind};
use crate::core::{ReadError, Reading, SourceId};
use crate::platform::{self, FoundClock};
use crate::refclock::Refclock;
use crate::sys::time;
use crate::units::Instant;

mod apart;
mod pace;

use apart::Apart;
use pace::Pace;

/// Without any hint, devices are looked for this often.
const LOOK: Duration = Duration::from_secs(60);

/// What became of a device.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A clock appeared that autodetection takes.
    Found(RefclockDirective),
    /// A configured device is there again.
    Back(SourceId),
    /// A clock that autodetection took is gone.
    Gone(SourceId),
}

/// A reading that is over.
#[derive(Debug)]
pub struct Done {
    /// Which refclock.
    pub source: SourceId,
    /// What it said.
    pub result: Result<Reading, ReadError>,
    /// Refclocks that must not be read more often than this: told once after a rationed device was opened.
    pub rations: Vec<(SourceId, Duration)>,
    /// The device that could be read before is absent now.
    pub vanished: bool,
}

/// A reading that came back from a device's thread.
pub(super) struct Returned {
    source: SourceId,
    device: Box<dyn Refclock>,
    result: Result<Reading, ReadError>,
    took: Duration,
}

struct Entry {
    source: SourceId,
    kind: RefclockKind,
    /// How often the configuration wants it read.
    interval: Duration,
    /// It came by detection, not by a line.
    detected: bool,
    /// `None` while it is being read on its thread.
    device: Option<Box<dyn Refclock>>,
    apart: Option<Apart>,
    pace: Pace,
    absent: bool,
    /// The clocksource changed while it was away.
    reset: bool,
    facts: Option<DeviceFacts>,
}

/// The PTP clocks and the vmclock device that were there at one look.
type Seen = (Vec<FoundClock>, Option<PathBuf>);

/// The devices behind refclocks.
pub struct Devices {
    root: PathBuf,
    entries: Vec<Entry>,
    /// Whether what appears is taken, and whether the servers of this place smear.
    detect: bool,
    smeared_servers: bool,
    seen: Option<Seen>,
    looked: Instant,
    returns: (mpsc::Sender<Returned>, mpsc::Receiver<Returned>),
}

impl Devices {
    /// For refclocks whose sources have the ids 0, 1, 2, ..., in order; nothing is opened yet.
    #[must_use]
    pub fn new(refclocks: Vec<Box<dyn Refclock>>) -> Self {
        let mut devices = Self {
            root: PathBuf::from("/"),
            entries: Vec::new(),
            detect: false,
            smeared_servers: false,
            seen: None,
            looked: time::raw(),
            returns: mpsc::channel(64),
        };
        for (id, device) in (0..).zip(refclocks) {
            devices.add(SourceId(id), RefclockKind::Kvm, Duration::ZERO, false, device);
        }
        devices
    }

    /// For `refclock` lines of which those in `found` were detected, the others written down or watched for what they tell.
    #[must_use]
    pub fn from_lines(lines: &[RefclockDirective], found: &Range<usize>, detect: bool, smeared_servers: bool) -> Self {
        let mut devices = Self { detect, smeared_servers, ..Self::new(Vec::new()) };
        for (index, (id, line)) in (0..).zip(lines).enumerate() {
            devices.add(SourceId(id), line.kind.clone(), line.dpoll.interval(), found.contains(&index), setup::device(line));
        }
        devices.seen = Some(devices.list());
        devices
    }

    /// Devices that only root may open are opened by a first reading; what it says is thrown away.
    pub fn open_all(&mut self) {
        for device in self.entries.iter_mut().filter_map(|entry| entry.device.as_mut()) {
            let _ = device.read();
        }
    }

    /// The agent gave a found device this name.
    pub(super) fn open(&mut self, source: SourceId, line: &RefclockDirective) {
        self.add(source, line.kind.clone(), line.dpoll.interval(), true, setup::device(line));
    }

    fn add(&mut self, source: SourceId, kind: RefclockKind, interval: Duration, detected: bool, device: Box<dyn Refclock>) {
        self.entries.push(Entry {
            source,
            kind,
            interval,
            detected,
            device: Some(device),
            apart: None,
            pace: Pace::default(),
            absent: false,
            reset: false,
            facts: None,
        });
    }

    /// A device, unless it is just being read on its thread.
    pub(super) fn device(&self, source: SourceId) -> Option<&dyn Refclock> {
        self.entries.iter().find(|entry| entry.source == source).and_then(|entry| entry.device.as_deref())
    }

    /// Closes a device that is [gone](Change::Gone).
    pub(super) fn close(&mut self, source: SourceId) {
        self.entries.retain(|entry| entry.source != source);
    }

    /// Reads one. `None`: it is read on its own thread, and comes out of [`Devices::returned`].
    pub(super) fn read(&mut self, source: SourceId) -> Option<Done> {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.source == source) else {
            let absent = ReadError::Absent { device: "refclock".to_owned(), reason: "it was not opened".to_owned() };
            return Some(Done { source, result: Err(absent), rations: Vec::new(), vanished: false });
        };
        // The reading under way answers for this one too.
        let mut device = entry.device.take()?;
        if entry.pace.is_slow() && entry.apart.is_none() {
            entry.apart = Apart::begin(source, self.returns.0.clone());
        }
        if let Some(apart) = &entry.apart {
            match apart.read(device) {
                Ok(()) => return None,
                Err(back) => device = back,
            }
        }
        let (result, took) = timed(device.as_mut());
        Some(self.settle(Returned { source, device, result, took }))
    }

    /// The next reading that comes back from a thread.
    pub(super) async fn returned(&mut self) -> Option<Done> {
        let returned = self.returns.1.recv().await?;
        Some(self.settle(returned))
    }

    /// Takes a device back, with what its reading tells.
    fn settle(&mut self, returned: Returned) -> Done {
        let Returned { source, mut device, result, took } = returned;
        let mut done = Done { source, result, rations: Vec::new(), vanished: false };
        let label = device.label();
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.source == source) else { return done };
        if std::mem::take(&mut entry.reset) {
            device.on_clocksource_change();
        }
        let absent = matches!(done.result, Err(ReadError::Absent { .. }));
        done.vanished = absent && !std::mem::replace(&mut entry.absent, absent) && entry.facts.is_some();
        let name = label.as_ref().map_or_else(|| "a refclock".to_owned(), |label| label.path.display().to_string());
        if entry.pace.take_in(took) {
            if entry.pace.is_slow() {
                tracing::info!("{name} took {:.1} ms to read: from now on it is read on a thread of its own", took.as_secs_f64() * 1e3);
            } else {
                tracing::info!("{name} is quick again: it is read without a thread of its own");
                entry.apart = None;
            }
        }
        let within = device.disruption_within();
        let old = entry.facts.take();
        if let Some(within) = within.filter(|_| old.as_ref().is_none_or(|old| old.disruption_within != within)) {
            let hours = within.as_secs() / 3600;
            let span = if hours == 1 { "an hour".to_owned() } else { format!("{hours} hours") };
            tracing::warn!("{name}: the host announces a disruption within {span}");
        }
        entry.facts = label.map(|label| DeviceFacts {
            path: label.path.display().to_string(),
            name: label.name,
            reading: Some(took),
            apart: entry.apart.is_some(),
            smearing_hint: label.smearing_hint,
            disruption_within: within,
        });
        let opened = entry.facts.as_ref().is_some_and(|new| old.is_none_or(|old| old.path != new.path));
        let least = device.least_interval().filter(|_| opened);
        entry.device = Some(device);
        if let Some(least) = least {
            done.rations = self.ration(source, least, &name);
        }
        done
    }

    /// The lines that read the same device share what it gives.
    fn ration(&self, opened: SourceId, least: Duration, name: &str) -> Vec<(SourceId, Duration)> {
        let path_of = |entry: &Entry| entry.facts.as_ref().map(|facts| facts.path.clone());
        let path = self.entries.iter().find(|entry| entry.source == opened).and_then(path_of);
        let sharing: Vec<&Entry> = self.entries.iter().filter(|entry| path_of(entry) == path).collect();
        let interval = least.saturating_mul(u32::try_from(sharing.len()).unwrap_or(u32::MAX));
        if sharing.iter().any(|entry| entry.interval < interval) {
            tracing::warn!("{name} gives a limited number of readings: it is read at most once in {} ms", interval.as_millis());
        }
        sharing.iter().map(|entry| (entry.source, interval)).collect()
    }

    /// The kernel's clocksource changed: ways of reading that failed may work now.
    pub(super) fn on_clocksource_change(&mut self) {
        for entry in &mut self.entries {
            match &mut entry.device {
                Some(device) => device.on_clocksource_change(),
                None => entry.reset = true,
            }
        }
    }

    /// Whether it is time to look again without any hint.
    pub(super) fn is_look_due(&self, now: Instant) -> bool {
        self.seen.is_some() && now >= self.looked + LOOK
    }

    /// Which devices appeared or went away since the last look.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Change> {
        self.looked = now;
        let Some(before) = &self.seen else { return Vec::new() };
        let seen = self.list();
        let (clocks, vmclock) = (&seen.0, seen.1.as_deref());
        let there = |kind: &RefclockKind, seen: &Seen| match kind {
            RefclockKind::Phc { .. } => platform::clock_meant(kind, &seen.0).is_some(),
            RefclockKind::Vmclock { device } => seen.1.as_ref() == Some(device),
            // A page of the kernel's: it does not come and go.
            RefclockKind::Kvm => true,
        };
        let mut changes = Vec::new();
        for entry in &self.entries {
            if entry.detected && !there(&entry.kind, &seen) {
                changes.push(Change::Gone(entry.source));
            } else if entry.absent && there(&entry.kind, &seen) && (!entry.detected || *before != seen) {
                changes.push(Change::Back(entry.source));
            }
        }
        if self.detect && *before != seen {
            for line in setup::clock_directives(&setup::clock_lines(clocks, vmclock, self.smeared_servers)) {
                let meant = platform::clock_meant(&line.kind, clocks);
                let followed = self.entries.iter().any(|entry| match (&entry.kind, meant) {
                    (RefclockKind::Vmclock { device }, None) => line.kind == RefclockKind::Vmclock { device: device.clone() },
                    (kind, Some(clock)) => platform::clock_meant(kind, clocks) == Some(clock),
                    (_, None) => false,
                });
                if !followed {
                    changes.push(Change::Found(line));
                }
            }
        }
        for change in &changes {
            self.say(change);
        }
        self.seen = Some(seen);
        changes
    }

    fn say(&self, change: &Change) {
        match change {
            Change::Found(line) => tracing::info!("a clock appeared: {}", words(&line.kind)),
            Change::Gone(source) | Change::Back(source) => {
                let name = self.entries.iter().find(|entry| entry.source == *source).map(|entry| words(&entry.kind)).unwrap_or_default();
                let what = if matches!(change, Change::Gone(_)) { "a clock is gone" } else { "a clock is there again" };
                tracing::info!("{what}: {name}");
            }
        }
    }

    fn list(&self) -> Seen {
        (platform::find_clocks(&self.root), platform::find_vmclock(&self.root))
    }

    /// What is known of every device, for whoever shows it.
    pub(super) fn show(&self, shown: &mut Vec<(SourceId, DeviceFacts)>) {
        shown.clear();
        shown.extend(self.entries.iter().filter_map(|entry| Some((entry.source, entry.facts.clone()?))));
    }

    #[cfg(test)]
    pub(super) fn at(root: &std::path::Path, lines: &[RefclockDirective], written: usize, detect: bool) -> Self {
        let mut devices = Self { root: root.to_owned(), ..Self::from_lines(lines, &(written..lines.len()), detect, false) };
        devices.seen = Some(devices.list());
        devices
    }
}

/// A device in the words of its line.
fn words(kind: &RefclockKind) -> String {
    match kind {
        RefclockKind::Phc { device: crate::config::PhcDevice::Path(path), .. } => path.display().to_string(),
        RefclockKind::Phc { device: crate::config::PhcDevice::Name(name), .. } => name.clone(),
        RefclockKind::Vmclock { device } => device.display().to_string(),
        RefclockKind::Kvm => "the kvm-clock page".to_owned(),
    }
}

/// A reading, and how long it took.
fn timed(device: &mut dyn Refclock) -> (Result<Reading, ReadError>, Duration) {
    let before = time::raw();
    let result = device.read();
    (result, time::raw().elapsed_since(before))
}

#[cfg(test)]
mod tests;
