//! One refclock as the agent sees it: when to read it, and what its readings are worth.

use std::time::Duration;

use crate::config::{RefclockDirective, RefclockKind};
use crate::core::{Generation, ReadError, Reading, Sample, Signal, SourceId};
use crate::units::{Instant, Offset, Poll, Reach, ReferenceId, Stratum, Timescale};

use super::windows::Windows;

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
    /// The reading seems to have been taken across a preemption.
    pub(super) torn: bool,
}

/// Words for what can be wrong with a reading.
pub(super) const FAILURES: [&str; 4] = ["absent", "denied", "unsupported", "invalid"];

#[derive(Debug)]
pub(super) struct LocalClock {
    id: SourceId,
    kind: &'static str,
    place: usize,
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
    /// What the device said with its last reading.
    said: Option<Timescale>,
    windows: Windows,
    next: Instant,
    reading: bool,
    /// To be read again as soon as the reading under way is over.
    again: bool,
    reach: Reach,
    unanswered: u32,
    sent: u64,
    received: u64,
    failed: [u64; FAILURES.len()],
    error: Option<ReadError>,
    generation: Option<Generation>,
}

impl LocalClock {
    /// Named after its place among the refclocks, unless the directive names it.
    pub(super) fn new(id: SourceId, directive: &RefclockDirective, place: usize, now: Instant) -> Self {
        let (kind, tells_time, timescale) = match &directive.kind {
            RefclockKind::Phc { .. } => ("PHC", true, Timescale::Unknown),
            RefclockKind::Kvm => ("KVM", false, Timescale::Unknown),
            RefclockKind::Vmclock { .. } => ("VMCLOCK", true, Timescale::Utc),
        };
        let own_id = own_id(&directive.kind, place);
        Self {
            id,
            kind,
            place,
            tells_time,
            reference_id: directive.refid.unwrap_or(own_id),
            stratum: directive.stratum,
            poll: directive.dpoll,
            offset: directive.offset,
            delay: directive.delay,
            precision: directive.precision.unwrap_or(DEFAULT_PRECISION).min(WORST_PRECISION),
            timescale: directive.timescale.unwrap_or(timescale),
            stated: directive.timescale,
            said: None,
            windows: Windows::default(),
            next: now,
            reading: false,
            again: false,
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
        if now < self.next {
            return false;
        }
        let silent = self.unanswered > 8 && self.poll < ABSENT_POLL;
        let interval = if silent { ABSENT_POLL } else { self.poll }.interval();
        self.next = super::next_multiple(now, interval);
        self.reach.poll();
        self.unanswered = self.unanswered.saturating_add(1);
        if self.reading {
            // A device that does not come back with its answer is missed like one that has none.
            return false;
        }
        self.reading = true;
        self.sent += 1;
        true
    }

    pub(super) fn on_reading(&mut self, result: Result<Reading, ReadError>, tai_offset: Option<i16>) -> Heard {
        self.reading = false;
        if std::mem::take(&mut self.again) {
            self.next = Instant::ZERO;
        }
        match result {
            Ok(reading) => {
                self.answered();
                let signal = reading.generation.and_then(|to| self.compare(to));
                self.said = reading.timescale;
                let torn = self.windows.take_in(reading.after.elapsed_since(reading.before));
                let sample = self.tells_time.then(|| self.sample(&reading, tai_offset));
                Heard { sample, signal, torn }
            }
            Err(ReadError::SignalOnly { generation, .. }) => {
                self.answered();
                self.tells_time = false;
                Heard { sample: None, signal: self.compare(generation), torn: false }
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
        let timescale = self.timescale();
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
            asks_us: false,
        }
    }

    /// Read at once: time was disrupted.
    pub(super) const fn hurry(&mut self, now: Instant) {
        self.next = now;
        self.again = self.reading;
    }

    /// Its device must not be read more often than this.
    pub(super) fn ration(&mut self, interval: Duration) {
        while self.poll.interval() < interval && self.poll < Poll::MAX {
            self.poll = self.poll.longer(Poll::MAX);
        }
    }

    /// When it should be read next.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// Whether its window tells that this reading was preempted, unless too many were already.
    pub(super) fn looks_torn(&self, reading: &Reading) -> bool {
        self.tells_time && self.windows.is_outlier(reading.after.elapsed_since(reading.before))
    }

    /// For its windows.
    pub(super) const fn windows(&mut self) -> &mut Windows {
        &mut self.windows
    }

    /// Readings set aside because they were taken across a preemption.
    pub(super) const fn preempted(&self) -> u64 {
        self.windows.preempted()
    }

    pub(super) fn name(&self) -> String {
        self.reference_id.name().unwrap_or_else(|| self.reference_id.to_string())
    }

    /// Its place among the refclocks.
    pub(super) const fn place(&self) -> usize {
        self.place
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

    /// As configured, else as the device says, else as its kind lets one suppose.
    pub(super) fn timescale(&self) -> Timescale {
        self.stated.or(self.said).unwrap_or(self.timescale)
    }

    /// Where that is known from.
    pub(super) const fn timescale_from(&self) -> &'static str {
        match (self.stated, self.said, self.timescale) {
            (Some(_), _, _) => "as configured",
            (None, Some(Timescale::Unknown), _) | (None, None, Timescale::Unknown) => "nobody says",
            (None, Some(_), _) => "the device says so",
            (None, None, _) => "as its kind does",
        }
    }

    /// The device itself went away.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.error, Some(ReadError::Absent { .. }))
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

/// The reference id of a clock without another: its kind and its place among the refclocks.
fn own_id(kind: &RefclockKind, place: usize) -> ReferenceId {
    let prefix = match kind {
        RefclockKind::Phc { .. } => "PHC",
        RefclockKind::Kvm => "KVM",
        RefclockKind::Vmclock { .. } => "VMC",
    };
    ReferenceId::from_name(&format!("{prefix}{}", place % 10)).unwrap_or_default()
}
