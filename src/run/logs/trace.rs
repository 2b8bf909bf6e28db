//! `trace.log`: what went into the core, to be replayed. Every file, and every gap, begins with a heading.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::{append_to, was_moved};
use crate::trace::{Record, Recorder};

/// Whether the file was moved away is looked up before every so many records.
const LOOK_EVERY: u32 = 32;

/// The file, and what its next heading has to say.
#[derive(Debug)]
pub(super) struct TraceFile {
    path: PathBuf,
    file: File,
    recorder: Recorder,
    lines: u32,
    /// The next record needs a heading before it.
    fresh: bool,
    failed: bool,
    text: String,
}

impl TraceFile {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = append_to(&path)?;
        Ok(Self { path, file, recorder: Recorder::default(), lines: 0, fresh: false, failed: false, text: String::with_capacity(2048) })
    }

    /// Writes one record down.
    pub(super) fn append(&mut self, record: &Record) {
        let written = self.write(record);
        self.recorder.note(record);
        match written {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !self.failed {
                    tracing::warn!("{}: {error}; the trace has a gap until it can be written again", self.path.display());
                }
                self.failed = true;
                self.fresh = true;
            }
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        if self.lines == 0 && was_moved(&self.file, &self.path)? {
            self.file = append_to(&self.path)?;
            self.fresh = true;
        }
        self.lines = (self.lines + 1) % LOOK_EVERY;
        self.text.clear();
        let heads = matches!(record, Record::Heading(_));
        if (heads || self.fresh) && self.file.metadata()?.len() > 0 {
            // The line before may be torn.
            self.text.push('\n');
        }
        if let Some(heading) = self.recorder.heading().filter(|_| self.fresh && !heads) {
            Record::Heading(Box::new(heading.clone())).emit(&mut self.text);
        }
        record.emit(&mut self.text);
        self.file.write_all(self.text.as_bytes())?;
        self.fresh = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::core::{CoreOptions, Course, Event, SourceId, Status};
    use crate::trace::{Beginning, Decided, FORMAT, Heading, RunId, TracedSource};
    use crate::units::{Bound, Instant, Ppm, Timestamp};

    fn course() -> Course {
        Course { at: Instant::ZERO, time: Timestamp::UNIX_EPOCH, rate: Ppm::ZERO, until: None, error: Duration::ZERO }
    }

    fn heading() -> Record {
        let core = Beginning {
            options: CoreOptions::default(),
            at: Instant::ZERO,
            course: course(),
            drift: Some((Ppm::new(1.5), Ppm::new(0.25))),
            clock_is_a_guess: true,
            tai_offset: None,
        };
        let run = RunId { at: Instant::ZERO, time: Timestamp::UNIX_EPOCH };
        Record::Heading(Box::new(Heading { format: FORMAT, program: "x".into(), run, before: 0, core, sources: Vec::new() }))
    }

    fn tick(second: i64) -> Record {
        let decision = Decided { adjustment: None, next: None, status: Status::Unsynchronised, line: Bound::UNKNOWN };
        Record::Event { at: Instant::from_nanos(second), what: Event::Tick, decision }
    }

    fn records(path: &std::path::Path) -> Vec<Record> {
        fs::read_to_string(path).unwrap().lines().filter(|l| !l.is_empty()).map(|l| Record::parse(l).unwrap()).collect()
    }

    #[test]
    fn a_file_that_was_moved_away_goes_on_in_another_with_a_heading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.log");
        let mut file = TraceFile::open(path.clone()).unwrap();
        file.append(&heading());
        let source = TracedSource { id: SourceId(7), name: "a".into(), options: crate::config::SelectOptions::default(), local: false };
        file.append(&Record::Add { at: Instant::ZERO, source: source.clone() });
        file.append(&tick(5));
        fs::rename(&path, dir.path().join("trace.log.1")).unwrap();
        for second in 6..=40 {
            file.append(&tick(second));
        }
        let (old, new) = (records(&dir.path().join("trace.log.1")), records(&path));
        assert_eq!(old.len() + new.len(), 1 + 1 + 36 + 1, "one heading more than records");
        let Record::Heading(next) = &new[0] else { panic!("{:?}", new[0]) };
        assert_eq!(next.before, u64::try_from(old.len() - 1).unwrap());
        assert_eq!((&next.sources[..], next.core.drift, next.core.clock_is_a_guess), (&[source][..], None, false));
        // Another start appends.
        drop(file);
        TraceFile::open(path.clone()).unwrap().append(&heading());
        assert_eq!(records(&path).last(), Some(&heading()));
    }

    #[test]
    fn it_is_one_of_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = super::super::Logs::open(dir.path(), &[crate::config::LogKind::Trace]).unwrap();
        logs.write(&crate::agent::Note::Traced(Box::new(heading())));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["trace.log"]);
        assert_eq!(records(&dir.path().join("trace.log")), [heading()]);
    }

    #[test]
    fn a_gap_is_followed_by_a_heading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.log");
        let mut file = TraceFile::open(path.clone()).unwrap();
        file.append(&heading());
        let good = std::mem::replace(&mut file.file, std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        file.append(&tick(1));
        file.append(&tick(2));
        assert!(file.failed);
        file.file = good;
        // As a full disk leaves it.
        (&file.file).write_all(b"{\"eve").unwrap();
        file.append(&tick(3));
        assert!(!file.failed);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (4, "{\"eve"));
        let Ok(Record::Heading(next)) = Record::parse(lines[2]) else { panic!("{text}") };
        assert_eq!((next.before, Record::parse(lines[3])), (2, Ok(tick(3))));
    }
}
