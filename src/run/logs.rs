//! The files of `log` and `logdir`: what the agent noted, in the columns of chrony's logs, and the trace.
//!
//! One short append for each line, so that readers see it at once. A file that was moved away
//! (logrotate) is opened anew at the next heading. Nothing here stops the program: what cannot be
//! written is said once and left out.

mod trace;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::agent::{Considered, Estimated, Label, Measured, Note, Read, Updated};
use crate::config::LogKind;
use crate::ntp::{Rejection, StampedBy};
use crate::units::{Civil, Leap, Timestamp};
use trace::TraceFile;

/// A heading stands above every so many lines.
const HEADING_EVERY: u32 = 32;
/// What is written where no bound is known: RFC 5905's MAXDISP.
const NO_BOUND: f64 = 16.0;

/// A column's title and the place of its last character.
type Column = (&'static str, usize);

const MEASUREMENTS: &[Column] = &[
    ("IP Address", 33),
    ("L", 37),
    ("St", 40),
    ("123", 44),
    ("567", 48),
    ("ABCD", 53),
    ("LP", 57),
    ("RP", 60),
    ("Score", 66),
    ("Offset", 76),
    ("Peer del.", 87),
    ("Peer disp.", 98),
    ("Root del.", 109),
    ("Root disp.", 120),
    ("Refid", 126),
    ("MTxRx", 136),
];
const STATISTICS: &[Column] = &[
    ("IP Address", 33),
    ("Std dev'n", 46),
    ("Est offset", 57),
    ("Offset sd", 68),
    ("Diff freq", 79),
    ("Est skew", 90),
    ("Stress", 98),
    ("Ns", 102),
    ("Bs", 106),
    ("Nr", 110),
    ("Asym", 116),
];
const TRACKING: &[Column] = &[
    ("IP Address", 33),
    ("St", 38),
    ("Freq ppm", 49),
    ("Skew ppm", 60),
    ("Offset", 71),
    ("L", 73),
    ("Co", 76),
    ("Offset sd", 87),
    ("Rem. corr.", 98),
    ("Root delay", 109),
    ("Root disp.", 120),
    ("Max. error", 131),
];
const REFCLOCKS: &[Column] = &[("Refid", 32), ("DP", 36), ("L", 38), ("P", 40), ("Raw offset", 52), ("Cooked offset", 68), ("Disp.", 79)];
const SELECTION: &[Column] =
    &[("IP Address", 33), ("S", 37), ("EOpts", 43), ("Reach", 49), ("Score", 55), ("Last sample", 67), ("Low end", 76), ("High end", 87)];

/// The logs that are kept.
#[derive(Debug)]
pub struct Logs {
    measurements: Option<LogFile>,
    statistics: Option<LogFile>,
    tracking: Option<LogFile>,
    refclocks: Option<LogFile>,
    selection: Option<LogFile>,
    trace: Option<TraceFile>,
    stamps: (char, char),
    line: String,
}

impl Logs {
    /// Opens the files that `kinds` need in `dir`, which is made if it is not there. What cannot be opened is
    /// said once; `None` if nothing is left to write.
    #[must_use]
    pub fn open(dir: &Path, kinds: &[LogKind]) -> Option<Self> {
        let mut failures = Vec::new();
        let mut wanted = |name: &str, columns: &'static [Column], of: &[LogKind]| {
            if !of.iter().any(|kind| kinds.contains(kind)) {
                return None;
            }
            let path = dir.join(name);
            LogFile::open(path, columns).map_err(|error| failures.push((name.to_owned(), error))).ok()
        };
        if let Err(error) = fs::create_dir_all(dir) {
            tracing::warn!("logdir {}: {error}; going on without logs (choose a directory that can be written)", dir.display());
            return None;
        }
        let mut logs = Self {
            measurements: wanted("measurements.log", MEASUREMENTS, &[LogKind::Measurements, LogKind::RawMeasurements]),
            statistics: wanted("statistics.log", STATISTICS, &[LogKind::Statistics, LogKind::RawStatistics]),
            tracking: wanted("tracking.log", TRACKING, &[LogKind::Tracking]),
            refclocks: wanted("refclocks.log", REFCLOCKS, &[LogKind::Refclocks]),
            selection: wanted("selection.log", SELECTION, &[LogKind::Selection]),
            trace: None,
            stamps: ('D', 'D'),
            line: String::with_capacity(512),
        };
        if kinds.contains(&LogKind::Trace) {
            logs.trace = TraceFile::open(dir.join("trace.log")).map_err(|error| failures.push(("trace.log".to_owned(), error))).ok();
        }
        if let Some((_, error)) = failures.first() {
            let names: Vec<&str> = failures.iter().map(|(name, _)| name.as_str()).collect();
            tracing::warn!("logdir {}: {}: {error}; going on without", dir.display(), names.join(", "));
        }
        let files = [&logs.measurements, &logs.statistics, &logs.tracking, &logs.refclocks, &logs.selection];
        (logs.trace.is_some() || files.iter().any(|file| file.is_some())).then_some(logs)
    }

    /// Whose stamps the next answer was measured with.
    pub(super) const fn stamped(&mut self, sent: StampedBy, received: StampedBy) {
        self.stamps = (sent.letter(), received.letter());
    }

    /// Writes one note down.
    pub fn write(&mut self, note: &Note) {
        self.line.clear();
        let line = &mut self.line;
        let (file, done) = match note {
            Note::Measured(note) => (&mut self.measurements, measured(line, note, self.stamps)),
            Note::Estimated(note) => (&mut self.statistics, estimated(line, note)),
            Note::Updated(note) => (&mut self.tracking, updated(line, note)),
            Note::Read(note) => (&mut self.refclocks, read(line, note)),
            Note::Considered(note) => (&mut self.selection, considered(line, note)),
            Note::Traced(record) => {
                if let Some(trace) = &mut self.trace {
                    trace.append(record);
                }
                return;
            }
        };
        if let (Some(file), Ok(())) = (file, done) {
            file.append(line);
        }
    }
}

/// One file.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    heading: String,
    file: File,
    lines: u32,
    failed: bool,
}

impl LogFile {
    fn open(path: PathBuf, columns: &[Column]) -> io::Result<Self> {
        let file = append_to(&path)?;
        Ok(Self { path, heading: heading(columns), file, lines: 0, failed: false })
    }

    /// Appends what stands in `text`, one or more whole lines.
    fn append(&mut self, text: &str) {
        let written = if self.lines == 0 { self.begin() } else { Ok(()) }.and_then(|()| self.file.write_all(text.as_bytes()));
        self.lines = (self.lines + 1) % HEADING_EVERY;
        match written {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !self.failed {
                    tracing::warn!("{}: {error}; lines are missing until it can be written again", self.path.display());
                }
                self.failed = true;
            }
        }
    }

    /// A heading, in a new file if ours was moved away.
    fn begin(&mut self) -> io::Result<()> {
        if was_moved(&self.file, &self.path)? {
            self.file = append_to(&self.path)?;
        }
        self.file.write_all(self.heading.as_bytes())
    }
}

/// The file that is open is not the one of this name any more.
fn was_moved(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    Ok(fs::metadata(path).map_or(true, |there| (there.dev(), there.ino()) != (ours.dev(), ours.ino())))
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Titles between two rules.
fn heading(columns: &[Column]) -> String {
    let mut titles = "   Date (UTC) Time".to_owned();
    for (title, end) in columns {
        let width = end.saturating_sub(titles.len());
        // Where a title is too long for its column the next ones make up for it.
        let _ = write!(titles, "{title:>width$}");
    }
    let rule = "=".repeat(titles.len());
    format!("{rule}\n{titles}\n{rule}\n")
}

type Written = std::fmt::Result;

fn measured(line: &mut String, note: &Measured, (sent, received): (char, char)) -> Written {
    use Rejection::{Authentication, Delay, Kiss, Loop, Malformed, Mode, Origin, RootDistance, Stamp, Timestamp, Unsynchronised, Version};
    // RFC 5905's packet tests 1 to 3 and 5 to 7, then ours: delay, two that we do not have, loop.
    let tests = match note.fault {
        None => "111 111 1111",
        Some(Malformed | Mode | Version | Origin) => "101 111 1111",
        Some(Authentication) => "111 011 1111",
        Some(Timestamp | Stamp) => "110 111 1111",
        Some(Unsynchronised | Kiss) => "111 101 1111",
        Some(RootDistance) => "111 110 1111",
        Some(Delay) => "111 111 0111",
        Some(Loop) => "111 111 1110",
    };
    write!(line, "{} {:<15} {} {:>2} {tests} ", date(note.time), label(note.label), leap(note.leap), note.stratum)?;
    write!(line, "{:>3} {:>2} {:>4.2} {}", note.poll, note.server_poll, note.score.max(0.0), Exponent(note.offset))?;
    for value in [note.delay, note.dispersion, note.root_delay, note.root_dispersion] {
        write!(line, " {}", Exponent(value.as_secs_f64()))?;
    }
    writeln!(line, " {:08X} 4B {sent} {received}", u32::from_be_bytes(note.reference_id.0))
}

fn estimated(line: &mut String, note: &Estimated) -> Written {
    write!(line, "{} {:<15}", date(note.time), label(note.label))?;
    for value in [note.deviation, note.offset, note.offset_sigma, note.frequency.ratio(), note.skew.ratio()] {
        write!(line, " {}", Exponent(value))?;
    }
    writeln!(line, " {:>7} {:>3} {:>3} {:>3} {:>5.2}", scientific(note.stress, 1), note.samples, 0, note.runs, 0.0)
}

fn updated(line: &mut String, note: &Updated) -> Written {
    write!(line, "{} {:<15} {:>2}", date(note.time), label(note.label), note.stratum.get())?;
    write!(line, " {:>10.3} {:>10.3} {}", note.frequency.ppm(), note.skew.ppm(), Exponent(note.offset))?;
    write!(line, " {} {:>2} {} {}", leap(note.leap), note.combined, Exponent(note.offset_sigma), Exponent(note.remaining))?;
    let max_error = note.max_error.map_or(NO_BOUND, |error| error.as_secs_f64());
    for value in [note.root_delay.as_secs_f64(), note.root_dispersion.as_secs_f64(), max_error] {
        write!(line, " {}", Exponent(value))?;
    }
    line.push('\n');
    Ok(())
}

/// Two lines, as scripts expect a raw one and a filtered one: every reading is a sample of its own here.
fn read(line: &mut String, note: &Read) -> Written {
    let micros = note.time.parts().1 / 1000;
    let (date, label, leap) = (date(note.time), label(note.label), leap(note.leap));
    let (raw, cooked) = (scientific(note.raw, 6), scientific(note.cooked, 6));
    let dispersion = Exponent(note.dispersion.as_secs_f64());
    writeln!(line, "{date}.{micros:06} {label:<4} {:>4} {leap} 0 {raw:>13} {cooked:>13} {dispersion}", 0)?;
    writeln!(line, "{date}.{micros:06} {label:<4} {:>4} {leap} - {:^13} {cooked:>13} {dispersion}", '-', '-')
}

fn considered(line: &mut String, note: &Considered) -> Written {
    let marks = [(note.options.noselect, 'N'), (note.options.prefer, 'P'), (note.options.trust, 'T'), (note.options.require, 'R')];
    let options: String = marks.map(|(on, mark)| if on { mark } else { '-' }).iter().collect();
    write!(line, "{} {:<15} {} -{options} {:>4o}", date(note.time), label(note.label), note.state.letter(), note.reach.bits())?;
    writeln!(line, " {:>5.2} {} {} {}", 1.0, Exponent(note.age), Exponent(note.low), Exponent(note.high))
}

const fn leap(leap: Leap) -> char {
    match leap {
        Leap::Normal => 'N',
        Leap::Insert => '+',
        Leap::Delete => '-',
        Leap::Unsynchronised => '?',
    }
}

fn label(label: Label) -> String {
    match label {
        Label::Nobody => "0.0.0.0".to_owned(),
        Label::Address(address) => address.to_string(),
        Label::Clock(id) => id.name().unwrap_or_else(|| id.to_string()),
    }
}

/// `2026-11-20 12:03:29`; times before 1970 become 1970.
fn date(time: Timestamp) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(u64::try_from(time.parts().0).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// A number in ten columns: ` 1.234e-05`.
struct Exponent(f64);

impl std::fmt::Display for Exponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>10}", scientific(self.0, 3))
    }
}

/// As C writes it: a sign and two digits at least in the exponent.
fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(size) => format!("{mantissa}e-{size:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
        None => text,
    }
}

#[cfg(test)]
mod tests;
