//! Floor 3: the mind. filter -> select -> combine -> discipline, as a pure function of
//! (state, now, event).

mod event;

pub use event::{
    Adjustment, Announcement, Applied, ClockError, Correction, Course, Decision, Event, Generation, ReadError, Reading, Sample, Signal,
    SourceId, SourceState, Status,
};
