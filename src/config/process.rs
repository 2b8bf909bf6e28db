//! Directives about the process: logs, files it leaves behind, its user, autodetection, other time daemons.

use std::path::PathBuf;

use super::line::{Line, Parsed, quoted};
use super::suggest::did_you_mean;
use super::{Config, Conflict, LogKind};

/// `autodetect on|off`.
pub(super) fn autodetect(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let on = line.choice("autodetect", &[("on", true), ("off", false)])?;
    line.end()?;
    config.autodetect = Some(on);
    Ok(if on { "also use the time sources that this platform offers" } else { "use the sources named here and no others" }.to_owned())
}

/// `conflict refuse|yield|takeover`.
pub(super) fn conflict(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    use Conflict::{Refuse, Takeover, Yield};
    config.conflict = line.choice("conflict", &[("refuse", Refuse), ("yield", Yield), ("takeover", Takeover)])?;
    line.end()?;
    Ok(match config.conflict {
        Refuse => "do not start while another program steers the clock; leave the clock to one that begins later",
        Yield => "leave the clock to another program that steers it, until that ends",
        Takeover => "steer the clock even if another program does, and undo what that does",
    }
    .to_owned())
}

/// `logdir DIRECTORY`.
pub(super) fn logdir(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let dir = line.path("logdir", "a directory")?;
    line.end()?;
    let meaning = format!("write the logs chosen by `log` to {}", dir.display());
    config.log_dir = Some(dir);
    Ok(meaning)
}

/// The words of `log`.
const LOGS: &[(&str, LogKind)] = &[
    ("measurements", LogKind::Measurements),
    ("rawmeasurements", LogKind::RawMeasurements),
    ("statistics", LogKind::Statistics),
    ("rawstatistics", LogKind::RawStatistics),
    ("tracking", LogKind::Tracking),
    ("rtc", LogKind::Rtc),
    ("refclocks", LogKind::Refclocks),
    ("tempcomp", LogKind::Tempcomp),
    ("selection", LogKind::Selection),
    ("trace", LogKind::Trace),
];

/// `log WORD...`.
pub(super) fn log(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let mut named = Vec::new();
    while let Some(word) = line.next() {
        let name = word.keyword();
        if let Some((text, log)) = LOGS.iter().find(|(text, _)| *text == name) {
            if matches!(log, LogKind::Rtc | LogKind::Tempcomp) {
                line.note_unserved(format!("`{text}` (there is nothing to write)"));
            } else {
                named.push(*text);
            }
            if !config.logs.contains(log) {
                config.logs.push(*log);
            }
        } else {
            let guess = did_you_mean(&name, LOGS.iter().map(|(text, _)| *text));
            line.note(word.problem(format!("unknown log {}{guess}", quoted(word.text))));
        }
    }
    Ok(if named.is_empty() { "write no more logs".to_owned() } else { format!("write logs of {}", named.join(", ")) })
}

/// `pidfile FILE`; `/` means none.
pub(super) fn pidfile(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.pid_file = path_or_none(line, "pidfile", "a file")?;
    Ok(config
        .pid_file
        .as_ref()
        .map_or_else(|| "write no pid file".to_owned(), |path| format!("write the process id to {}", path.display())))
}

/// `dumpdir DIRECTORY`; `/` means none.
pub(super) fn dumpdir(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.dump_dir = path_or_none(line, "dumpdir", "a directory")?;
    Ok(if config.dump_dir.is_some() {
        line.note_unserved("`dumpdir` (measurements are not kept between runs)");
        "not served yet: measurements are not kept between runs"
    } else {
        "keep no measurements between runs"
    }
    .to_owned())
}

/// One path and the end of the line; `/` stands for none.
fn path_or_none(line: &mut Line<'_>, name: &str, what: &str) -> Parsed<Option<PathBuf>> {
    let path = line.path(name, what)?;
    line.end()?;
    Ok(Some(path).filter(|path| path.as_os_str() != "/"))
}

/// `dumponexit`.
pub(super) fn dumponexit(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    line.end()?;
    config.dump_on_exit = true;
    line.note_unserved("`dumponexit` (measurements are not kept between runs)");
    Ok("not served yet: measurements are not kept between runs".to_owned())
}

/// `user NAME`.
pub(super) fn user(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let name = line.required("user", "a user's name")?.text;
    line.end()?;
    config.user = Some(name.to_owned());
    Ok(format!("run as the user {name} once started"))
}
