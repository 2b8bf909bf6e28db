//! Floor 3: the mind. filter -> select -> combine -> discipline, as a pure function of
//! (state, now, event).
//!
//! - [`event`](self): what comes in and goes out.
//! - `filter`: one source's estimate. `select`: who tells the truth. `pipeline`: the [`Core`] that
//!   puts them together. `discipline`: from an offset to an order for the clock.

mod discipline;
mod event;
mod filter;
mod line;
mod pipeline;
mod select;

pub use event::{
    Adjustment, Announcement, Applied, ClockError, Correction, Course, Decision, Event, Generation, ReadError, Reading, Sample, Signal,
    SourceId, SourceState, Status,
};
pub use filter::{Filter, Update};
pub use line::Line;
pub use pipeline::{Core, CoreOptions, Reference, SourceView};
pub use select::{Agreement, Claim, intersect};
