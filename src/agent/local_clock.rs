//! One refclock as the agent sees it: when to read it, and what its readings are worth.

use std::time::Duration;

use crate::config::{PhcDevice, RefclockDirective, RefclockKind};
use crate::core::{Generation, ReadError, Reading, Sample, Signal, SourceId};
use crate::units::{Instant, Offset, Poll, Reach, ReferenceId, Stratum, Timescale};

/// TAI minus UTC since 2017, used only when neither the device nor the kernel says.
const TAI_OFFSET_SINCE_2017: i16 = 37;
/// What a reading itself adds to the error when neither the device nor the user says.
const DEFAULT_PRECISION: Duration = Duration::from_nanos(100);
/// A clock that is worse than this is none.
const WORST_PRECISION: Duration = Duration::from_secs(16);
/// A clock that cannot be read is tried this much less often.
const ABSENT_POLL: Poll = Poll::new(4);

/// What one reading told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub(super) sample: Option<Sample>,
    pub(super) signal: Option<Signal>,
}

/// Words for what can be wrong with a reading.
pub(super) const FAILURES: [&str; 4] = ["absent", "denied", "unsupported", "invalid"];

#[derive(Debug)]
pub(super) struct LocalClock {
    id: SourceId,
    kind: &'static str,
    tells_time: bool,
    reference_id: ReferenceId,
    stratum: Stratum,
    poll: Poll,
    offset: Offset,
    delay: Duration,
    precision: Duration,
    timescale: Timescale,
    /// What the configuration says, which has the last word.
    stated: Option<Timescale>,
    next: Instant,
    reading: bool,
    reach: Reach,
    unanswered: u32,
    sent: u64,
    received: u64,
    failed: [u64; FAILURES.len()],
    error: Option<ReadError>,
    generation: Option<Generation>,
}

impl LocalClock {
    pub(super) fn new(id: SourceId, directive: &RefclockDirective, index: usize, now: Instant) -> Self {
        let (kind, tells_time, timescale) = match &directive.kind {
            RefclockKind::Phc { device, .. } => ("PHC", true, phc_timescale(device)),
            RefclockKind::Kvm => ("KVM", false, Timescale::Unknown),
            RefclockKind::Vmclock { .. } => ("VMCLOCK", true, Timescale::Utc),
        };
        let prefix = match kind {
            "PHC" => "PHC",
            "KVM" => "KVM",
            _ => "VMC",
        };
        let own_id = ReferenceId::from_name(&format!("{prefix}{}", index % 10)).unwrap_or_default();
        Self {
            id,
            kind,
            tells_time,
            reference_id: directive.refid.unwrap_or(own_id),
            stratum: directive.stratum,
            poll: directive.dpoll,
            offset: directive.offset,
            delay: directive.delay,
            precision: directive.precision.unwrap_or(DEFAULT_PRECISION).min(WORST_PRECISION),
            timescale: directive.timescale.unwrap_or(timescale),
            stated: directive.timescale,
            next: now,
            reading: false,
            reach: Reach::default(),
            unanswered: 0,
            sent: 0,
            received: 0,
            failed: [0; FAILURES.len()],
            error: None,
            generation: None,
        }
    }

    /// Whether it is time to read; the reading is then under way.
    pub(super) fn on_timer(&mut self, now: Instant) -> bool {
        if now < self.next || self.reading {
            return false;
        }
        let silent = self.unanswered > 8 && self.poll < ABSENT_POLL;
        let interval = if silent { ABSENT_POLL } else { self.poll }.interval();
        self.next = super::next_multiple(now, interval);
        self.reading = true;
        self.reach.poll();
        self.unanswered = self.unanswered.saturating_add(1);
        self.sent += 1;
        true
    }

    pub(super) fn on_reading(&mut self, result: Result<Reading, ReadError>, tai_offset: Option<i16>) -> Heard {
        self.reading = false;
        match result {
            Ok(reading) => {
                self.answered();
                let signal = reading.generation.and_then(|to| self.compare(to));
                let sample = self.tells_time.then(|| self.sample(&reading, tai_offset));
                Heard { sample, signal }
            }
            Err(ReadError::SignalOnly { generation, .. }) => {
                self.answered();
                self.tells_time = false;
                Heard { sample: None, signal: self.compare(generation) }
            }
            Err(error) => {
                let word = match error {
                    ReadError::Absent { .. } => 0,
                    ReadError::Denied { .. } => 1,
                    ReadError::Unsupported { .. } | ReadError::SignalOnly { .. } => 2,
                    ReadError::Invalid { .. } => 3,
                };
                self.failed[word] += 1;
                self.error = Some(error);
                Heard::default()
            }
        }
    }

    fn answered(&mut self) {
        self.reach.answered();
        self.unanswered = 0;
        self.received += 1;
        self.error = None;
    }

    fn compare(&mut self, to: Generation) -> Option<Signal> {
        let from = self.generation.replace(to)?;
        (from != to).then_some(Signal::Generation { from, to })
    }

    fn sample(&self, reading: &Reading, tai_offset: Option<i16>) -> Sample {
        let timescale = self.stated.or(reading.timescale).unwrap_or(self.timescale);
        let utc = match timescale {
            Timescale::Tai => {
                let seconds = reading.tai_offset.or(tai_offset).unwrap_or(TAI_OFFSET_SINCE_2017);
                reading.reference - Offset::from_nanos(i64::from(seconds) * 1_000_000_000)
            }
            Timescale::Utc | Timescale::Smeared | Timescale::Unknown => reading.reference,
        };
        Sample {
            source: self.id,
            at: reading.before.midpoint(reading.after),
            reference: utc + self.offset,
            delay: reading.after.elapsed_since(reading.before),
            dispersion: self.precision.saturating_add(reading.max_error),
            root_delay: self.delay,
            root_dispersion: Duration::ZERO,
            stratum: self.stratum,
            leap: reading.leap,
            reference_id: self.reference_id,
            timescale,
        }
    }

    /// Read at once: time was disrupted.
    pub(super) const fn hurry(&mut self, now: Instant) {
        self.next = now;
    }

    /// When it should be read next; `None` while a reading is under way.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.reading).then_some(self.next)
    }

    pub(super) fn name(&self) -> String {
        self.reference_id.name().unwrap_or_else(|| self.reference_id.to_string())
    }

    pub(super) const fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) const fn tells_time(&self) -> bool {
        self.tells_time
    }

    pub(super) const fn reference_id(&self) -> ReferenceId {
        self.reference_id
    }

    /// The configured correction that is in every sample.
    pub(super) const fn offset(&self) -> Offset {
        self.offset
    }

    pub(super) const fn stratum(&self) -> Stratum {
        self.stratum
    }

    pub(super) const fn timescale(&self) -> Timescale {
        self.timescale
    }

    pub(super) const fn poll(&self) -> Poll {
        self.poll
    }

    pub(super) const fn reach(&self) -> Reach {
        self.reach
    }

    pub(super) const fn unanswered(&self) -> u32 {
        self.unanswered
    }

    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        FAILURES.into_iter().zip(self.failed).filter(|&(_, n)| n > 0)
    }

    pub(super) const fn error(&self) -> Option<&ReadError> {
        self.error.as_ref()
    }
}

/// What a PTP clock's name says of its timescale; most say nothing.
fn phc_timescale(device: &PhcDevice) -> Timescale {
    match device {
        PhcDevice::Name(name) if name.starts_with("ena-ptp") => Timescale::Utc,
        PhcDevice::Name(name) if name.starts_with("Virtio PTP type 0") => Timescale::Utc,
        PhcDevice::Name(name) if name.starts_with("Virtio PTP type 1") => Timescale::Tai,
        PhcDevice::Name(name) if name.starts_with("Virtio PTP type 3") => Timescale::Smeared,
        PhcDevice::Name(_) | PhcDevice::Path(_) => Timescale::Unknown,
    }
}
