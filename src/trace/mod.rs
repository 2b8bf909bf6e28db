//! Floor 4: a trace of what went into the core, as lines of text, and its replay through the same core.
//!
//! - [`record`](self): what a line says, [`Record::emit`] and [`Record::parse`].
//! - `recorder`: the [`Heading`] that a file begins with, when a trace begins and when it goes on in another file.
//! - `reader`: lines with their numbers to records; says what is wrong with a line and how to mend it.
//! - `replay`: records to decisions, compared with those recorded.
//! - `story`: what of that a person wants to see; `curve`: the same over time, for a picture.
//!
//! Pure: the files belong to `run`, which writes them, and to `cli`, which reads them. `docs/traces.md` describes the lines.

mod curve;
mod reader;
mod record;
mod recorder;
mod replay;
mod story;

pub use curve::{Column, Curve, Range};
pub use reader::{Located, MAX_LINE, Reader, Wrong};
pub use record::{Beginning, Decided, FORMAT, Fault, Heading, Record, RunId, TracedSource};
pub use recorder::Recorder;
pub use replay::{Moment, Replay, Start};
pub use story::{Difference, End, Happening, Innovation, Notable, SourceStory, Story};

#[cfg(test)]
mod tests;
