//! `paraclock simulate --replay TRACE...`: what was recorded goes through the same core again, and what happened is told.

mod picture;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::format;
use crate::core::Signal;
use crate::trace::{Happening, MAX_LINE, Reader, Replay, Story};
use crate::units::Timestamp;

/// More rows than this are left to `--json`.
const MOST_ROWS: usize = 200;
/// What gzip's files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{file}: {reason}")]
    Unreadable { file: String, reason: io::Error },
    #[error("{file}: it is compressed: replay it with `zcat {file} | paraclock simulate --replay -`")]
    Compressed { file: String },
    #[error("{file}:{line}: {what}")]
    Wrong { file: String, line: u64, what: String },
    #[error("{file} cannot be written: {reason}")]
    Unwritable { file: String, reason: io::Error },
    #[error("{files}: there is no record in it: a trace is written with `log trace` and `logdir`")]
    Empty { files: String },
}

/// A replay and where it came from.
#[derive(Debug, Serialize)]
struct Replayed {
    /// In order; `-` is standard input.
    files: Vec<String>,
    /// Files and lines that were torn, and left out.
    left_out: Vec<(usize, u64)>,
    #[serde(flatten)]
    story: Story,
}

/// Replays the files in order, `-` being standard input, and draws what was seen into the file `plot` (SVG). Fails
/// too if a decision is not the one recorded.
pub(super) fn run(paths: &[PathBuf], json: bool, plot: Option<&Path>) -> ExitCode {
    match replay(paths).and_then(|replayed| draw(&replayed, plot).map(|()| replayed)) {
        Ok(replayed) => {
            let same = replayed.story.different == 0;
            let printed = super::print(&if json { super::to_json(&replayed) } else { render(&replayed) });
            if same { printed } else { ExitCode::FAILURE }
        }
        Err(failure) => super::complain(&failure),
    }
}

fn replay(paths: &[PathBuf]) -> Result<Replayed, Failure> {
    let (mut replay, mut story, mut left_out) = (Replay::default(), Story::default(), Vec::new());
    let files: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    for (index, path) in paths.iter().enumerate() {
        let torn = read(index, path, &files[index], &mut replay, &mut story)?;
        left_out.extend(torn.into_iter().map(|line| (index, line)));
    }
    if story.span.is_none() {
        return Err(Failure::Empty { files: files.join(", ") });
    }
    Ok(Replayed { files, left_out, story })
}

fn draw(replayed: &Replayed, plot: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = plot else { return Ok(()) };
    let begin = replayed.story.span.map_or(Timestamp::UNIX_EPOCH, |span| span.0);
    let title = format!("{}, from {} UTC", replayed.files.join(", "), stamp(begin));
    fs::write(path, picture::draw(&title, &replayed.story))
        .map_err(|reason| Failure::Unwritable { file: path.display().to_string(), reason })
}

/// One file through the replay; gives the lines left out.
fn read(index: usize, path: &Path, file: &str, replay: &mut Replay, story: &mut Story) -> Result<Vec<u64>, Failure> {
    let unreadable = |reason| Failure::Unreadable { file: file.to_owned(), reason };
    let wrong = |w: crate::trace::Wrong| Failure::Wrong { file: file.to_owned(), line: w.line, what: w.what };
    let mut input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    let mut reader = Reader::new(index);
    let mut line = Vec::new();
    let mut whole = true;
    // A little more than the longest line, so that a longer one is seen to be too long.
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 2;
    loop {
        line.clear();
        if input.by_ref().take(limit).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        if line.starts_with(&GZIP) {
            return Err(Failure::Compressed { file: file.to_owned() });
        }
        whole = line.last() == Some(&b'\n');
        if whole {
            line.pop();
        }
        if let Some(located) = reader.line(&line).map_err(wrong)? {
            let moment = replay.take(&located).map_err(wrong)?;
            story.see(&located, &moment, replay);
        }
    }
    reader.finish(whole).map_err(wrong)
}

fn render(replayed: &Replayed) -> String {
    let Replayed { files, left_out, story } = replayed;
    let mut text = head(files, left_out, story);
    let place = |file: usize, line: u64| match files.len() {
        1 => line.to_string(),
        _ => format!("{}:{line}", file + 1),
    };
    text += "\nTime (UTC)                Line      What happened\n";
    text += &format!("{}\n", "=".repeat(78));
    for notable in story.notable.iter().take(MOST_ROWS) {
        text += &format!("{:<24}  {:<8}  {}\n", stamp(notable.time), place(notable.file, notable.line), words(&notable.what));
    }
    let more = u64::try_from(story.notable.len().saturating_sub(MOST_ROWS)).unwrap_or(u64::MAX).saturating_add(story.unlisted);
    if more > 0 {
        text += &format!("and {more} more: --json has {}\n", if story.unlisted > 0 { "the first ten thousand" } else { "all" });
    }
    if !story.surprises.is_empty() {
        text += "\nFarthest samples          Line      Source                       Offset    Delay\n";
        text += &format!("{}\n", "=".repeat(78));
        for s in &story.surprises {
            let (offset, delay) = (format::signed_seconds(s.offset), format::seconds(s.delay));
            text += &format!("{:<24}  {:<8}  {:<25}  {offset}   {delay}\n", stamp(s.time), place(s.file, s.line), format::name(&s.name));
        }
    }
    text += "\nName/IP Address           Samples  Followed  False  Unusable     RMS   Worst   Delay  At the end\n";
    text += &format!("{}\n", "=".repeat(95));
    for s in &story.sources {
        let amount = |value: f64| if s.samples == 0 { "     -".to_owned() } else { format::seconds(value) };
        text += &format!(
            "{:<25} {:>7}      {}   {}      {}  {}  {}  {}  {}\n",
            format::name(&s.name),
            s.samples,
            format::age(Some(s.followed)),
            format::age(Some(s.falseticker)),
            format::age(Some(s.unusable)),
            amount(s.rms_innovation),
            amount(s.worst_innovation),
            amount(s.least_delay),
            s.state.as_str(),
        );
    }
    text + &end(story)
}

/// What was read, and whether it gave the same.
fn head(files: &[String], left_out: &[(usize, u64)], story: &Story) -> String {
    let mut text = String::new();
    if let [first, rest @ ..] = files {
        text += &format!("{first}{}", rest.iter().map(|file| format!(", {file}")).collect::<String>());
    }
    if let Some((begin, end)) = story.span {
        let length = end.since(begin).seconds();
        text += &format!(": {} records, {} to {} ({})\n", story.records, stamp(begin), stamp(end), format::span(length));
    }
    for &(file, line) in left_out {
        text += &format!("{}:{line}: torn where the program was ended; left out\n", files.get(file).map_or("", String::as_str));
    }
    match &story.first_difference {
        None if story.compared == 0 => text += "no decision can be compared: what came before is not in the trace\n",
        None => text += &format!("{} decisions, all as recorded\n", story.compared),
        Some(first) => {
            text += &format!(
                "{} of {} decisions differ, first at {}:{}: this is another program, or another trace\n",
                story.different,
                story.compared,
                files.get(first.file).map_or("", String::as_str),
                first.line
            );
            text += &format!("  then {}\n  now  {}\n", super::to_json(&first.recorded).trim(), super::to_json(&first.replayed).trim());
        }
    }
    text
}

fn end(story: &Story) -> String {
    let (Some(end), Some((_, time))) = (story.end, story.span) else { return String::new() };
    let bound = |bound: &crate::units::Bound| {
        if bound.is_known() { format::magnitude(bound.error.as_secs_f64()) } else { "unknown".to_owned() }
    };
    let side = if end.remaining > 0.0 { "behind" } else { "ahead of" };
    format!(
        "\nAt {} UTC: {}, error at most {} (line {})\nThe clock is {} {side} the line, whose frequency is {:+.3} ppm, skew {:.3} ppm\n",
        stamp(time),
        end.status.as_str(),
        bound(&end.clock),
        bound(&end.line),
        format::magnitude(end.remaining),
        end.frequency.ppm(),
        end.skew.ppm(),
    )
}

fn words(what: &Happening) -> String {
    let nobody = || "nobody".to_owned();
    match what {
        Happening::Run { program } => format!("the program starts (paraclock {program})"),
        Happening::Gap { missing } => format!("{missing} records are missing: the core begins cold, decisions are not compared"),
        Happening::Status { from, to } => format!("status {} -> {}", from.as_str(), to.as_str()),
        Happening::Selected { from, to } => {
            format!("selected {} -> {}", from.clone().unwrap_or_else(nobody), to.clone().unwrap_or_else(nobody))
        }
        Happening::Source { name, from, to } => format!("{name}: {} -> {} ({})", from.as_str(), to.as_str(), to.reason()),
        Happening::Added { name } => format!("{name} is added"),
        Happening::Removed { name } => format!("{name} is removed"),
        Happening::Stepped { by } => format!("we step the clock by {}", format::signed_seconds(by.seconds()).trim()),
        Happening::Signal(signal) => match signal {
            Signal::ClockSet { by, .. } => format!("somebody else moved the clock by {}", format::signed_seconds(by.seconds()).trim()),
            Signal::Suspended { slept } => format!("the machine slept for {}", format::magnitude(slept.as_secs_f64())),
            Signal::Generation { from, to } if from.vm_generation == to.vm_generation => "the machine was migrated".to_owned(),
            Signal::Generation { .. } | Signal::Restored => "the machine was restored from a snapshot".to_owned(),
            Signal::Stalled { late } => format!("the program ran {} late", format::magnitude(late.as_secs_f64())),
            Signal::ClocksourceChanged => "the kernel changed its clocksource".to_owned(),
        },
    }
}

/// `2026-11-20 12:03:29.901`.
fn stamp(time: Timestamp) -> String {
    let (seconds, nanos) = time.parts();
    let whole = format::iso_date(Timestamp::from_parts(seconds.max(0), 0).unix_seconds());
    format!("{}.{:03}", whole.trim_end_matches(" UTC"), nanos / 1_000_000)
}

#[cfg(test)]
mod tests;
