//! Keeps the heading that a trace needs wherever a file begins.

use super::record::{Heading, Record};
use crate::core::{Applied, Event, Signal};

/// Follows the records of a run as they are written.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    heading: Option<Heading>,
}

impl Recorder {
    /// The heading of a file that begins here; `None` before the run's own.
    #[must_use]
    pub const fn heading(&self) -> Option<&Heading> {
        self.heading.as_ref()
    }

    /// A record was written, or lost.
    pub fn note(&mut self, record: &Record) {
        if let Record::Heading(heading) = record {
            self.heading = Some(heading.as_ref().clone());
            return;
        }
        let Some(heading) = &mut self.heading else { return };
        heading.before = heading.before.saturating_add(1);
        heading.core.at = record.at();
        // A file that is read alone begins with a cold core: nothing of a drift file or a guess is true any more.
        heading.core.drift = None;
        heading.core.clock_is_a_guess = false;
        match record {
            Record::Add { source, .. } => heading.sources.push(source.clone()),
            Record::Remove { id, .. } => heading.sources.retain(|s| s.id != *id),
            Record::Ignore { id, .. } => {
                if let Some(source) = heading.sources.iter_mut().find(|s| s.id == *id) {
                    source.options.noselect = true;
                }
            }
            Record::Event { what, .. } => match what {
                Event::Applied(Applied { course, .. }) | Event::Course(course) | Event::Signal(Signal::ClockSet { course, .. }) => {
                    heading.core.course = *course;
                }
                _ => {}
            },
            Record::Heading(_) | Record::Start { .. } => {}
        }
    }
}
