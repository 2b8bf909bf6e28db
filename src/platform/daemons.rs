//! Which running programs steer the system clock, by `/proc`.
//!
//! A program counts if it may set the clock and was told to: not one that only looks (`chronyd -x`), that sets the clock once
//! and ends (`ntpd -q`), that lacks `CAP_SYS_TIME` or has it in a user namespace of its own alone, or that is dead and not yet
//! waited for. What `/proc` does not tell speaks for nothing.

use std::fs;
use std::path::Path;

use super::evidence::read;
use crate::units::{Offset, Timestamp};

/// Bit of `CAP_SYS_TIME`.
const CAP_SYS_TIME: u32 = 25;
/// `/proc/stat` gives the time of the start in whole seconds, and is read a moment after the clocks.
const SAME_CLOCK: Offset = Offset::from_nanos(3_000_000_000);

/// A running program that steers the clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeDaemon {
    /// Process id.
    pub pid: u32,
    /// What people call it.
    pub name: String,
    /// The systemd unit that it belongs to.
    pub unit: Option<String>,
    /// When it was started, in the kernel's ticks: tells it from another with the same id.
    pub started: u64,
    /// Steering the clock is its work; false for one that may do so beside other work.
    pub keeps_time: bool,
}

impl TimeDaemon {
    /// `chronyd (chrony.service, pid 812)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let unit = self.unit.as_ref().map_or(String::new(), |unit| format!("{unit}, "));
        format!("{} ({unit}pid {})", self.name, self.pid)
    }

    /// The command that stops it.
    #[must_use]
    pub fn stop(&self) -> String {
        match &self.unit {
            Some(unit) => format!("sudo systemctl disable --now {unit}"),
            None => format!("sudo kill {}   # {}: it belongs to no unit, so see what starts it", self.pid, self.name),
        }
    }

    /// Whether it still runs.
    #[must_use]
    pub fn still_runs(&self, root: &Path) -> bool {
        Stat::read(root, self.pid).is_some_and(|stat| stat.lives && stat.started == self.started)
    }

    fn is_ours(&self) -> bool {
        self.name == "paraclock"
    }
}

/// How a program is known.
struct Program {
    /// The kernel's name for the process: at most 15 letters.
    comm: &'static str,
    /// What people call it.
    name: &'static str,
    /// Whether it steers the clock with these arguments.
    steers: fn(&[&str]) -> bool,
}

/// Programs that steer the clock.
const PROGRAMS: [Program; 12] = [
    Program { comm: "chronyd", name: "chronyd", steers: chronyd },
    Program { comm: "ntpd", name: "ntpd", steers: ntpd },
    Program { comm: "ntpsec", name: "ntpd", steers: ntpd },
    Program { comm: "openntpd", name: "OpenNTPD", steers: |_| true },
    Program { comm: "systemd-timesyn", name: "systemd-timesyncd", steers: |_| true },
    Program { comm: "ntp-daemon", name: "ntpd-rs", steers: |_| true },
    Program { comm: "clockbound", name: "ClockBound", steers: |_| true },
    Program { comm: "phc2sys", name: "phc2sys", steers: phc2sys },
    Program { comm: "timemaster", name: "timemaster", steers: |_| true },
    Program { comm: "sntp", name: "sntp", steers: |_| true },
    Program { comm: "busybox", name: "ntpd", steers: |words| words.first() == Some(&"ntpd") && busybox_ntpd(&words[1..]) },
    // `paraclock doctor` and its kin are called paraclock too.
    Program { comm: "paraclock", name: "paraclock", steers: |words| words.first() == Some(&"run") && !has(words, "x", "fu") },
];

/// Programs that may set the clock, beside other work, if they are told to: named only when somebody has.
const SUSPECTS: [Program; 4] = [
    Program { comm: "VBoxService", name: "VBoxService", steers: |_| true },
    Program { comm: "vmtoolsd", name: "vmtoolsd", steers: |_| true },
    Program { comm: "qemu-ga", name: "qemu-ga", steers: |_| true },
    Program { comm: "ptp4l", name: "ptp4l", steers: |_| true },
];

/// -x leaves the clock alone, -Q measures, -q sets it once, -p, -v and -h print and end.
fn chronyd(words: &[&str]) -> bool {
    !has(words, "xQqpvh", "fFlLPtu") && !words.iter().any(|word| matches!(*word, "--help" | "--version"))
}

/// -q sets the clock once. What -w means depends on whose ntpd it is: only with a number does it keep the clock.
fn ntpd(words: &[&str]) -> bool {
    let once = has(words, "q", "cDfiIklpPrStuUv") || words.iter().any(|word| matches!(*word, "--quit" | "--saveconfigquit"));
    let bare_w =
        words.iter().position(|word| *word == "-w").is_some_and(|at| words.get(at + 1).is_none_or(|next| next.parse::<u32>().is_err()));
    !once && !bare_w
}

/// -q sets the clock once, -w only asks.
fn busybox_ntpd(words: &[&str]) -> bool {
    !has(words, "qw", "pSIk")
}

/// It steers the system clock unless told to steer another, or none.
fn phc2sys(words: &[&str]) -> bool {
    const WITH_VALUE: &str = "cdfsEPISFRNOLMiutlzn";
    let found = options(words, WITH_VALUE);
    let value = |letter: char| found.iter().rev().find(|(known, _)| *known == letter).map(|(_, value)| *value);
    if value('a').is_some() {
        return value('r').is_some();
    }
    value('c').is_none_or(|clock| clock == "CLOCK_REALTIME") && value('E').is_none_or(|servo| !matches!(servo, "ntpshm" | "refclock_sock"))
}

/// Whether one of `letters` is among the options.
fn has(words: &[&str], letters: &str, with_value: &str) -> bool {
    options(words, with_value).iter().any(|(letter, _)| letters.contains(*letter))
}

/// Options of one letter as getopt reads them: those of `with_value` take the rest of their word, or the next.
fn options<'a>(words: &[&'a str], with_value: &str) -> Vec<(char, &'a str)> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else {
            if *word == "--" {
                break;
            }
            continue;
        };
        for (at, letter) in letters.char_indices() {
            if !with_value.contains(letter) {
                found.push((letter, ""));
                continue;
            }
            let rest = &letters[at + letter.len_utf8()..];
            found.push((letter, if rest.is_empty() { words.next().copied().unwrap_or_default() } else { rest }));
            break;
        }
    }
    found
}

/// Every program that steers the clock, ours included, by process id.
#[must_use]
pub fn time_daemons(root: &Path) -> Vec<TimeDaemon> {
    let mut found = processes(root, &PROGRAMS);
    // timemaster starts the others; ClockBound reads beside chronyd.
    let runs = |name: &str| found.iter().any(|daemon| daemon.name == name);
    let (timemaster, chronyd) = (runs("timemaster"), runs("chronyd"));
    found.retain(|daemon| match daemon.name.as_str() {
        "chronyd" | "ntpd" | "phc2sys" => !timemaster,
        "ClockBound" => !chronyd,
        _ => true,
    });
    found
}

/// Those that are not Paraclock. `sntp` ends by itself.
#[must_use]
pub fn rivals(root: &Path) -> Vec<TimeDaemon> {
    let mut found = time_daemons(root);
    found.retain(|daemon| !daemon.is_ours() && daemon.name != "sntp");
    found
}

/// Who may have set the clock, since somebody did: [`rivals`], or programs that can be told to.
#[must_use]
pub fn suspects(root: &Path) -> Vec<TimeDaemon> {
    let found = rivals(root);
    if found.is_empty() { processes(root, &SUSPECTS) } else { found }
}

/// Whether the `/proc` here tells of the machine whose clock shows `now`, `up` after its start: not where a library stands between us and
/// the kernel's clock, as in a simulation.
#[must_use]
pub fn proc_tells_of(root: &Path, now: Timestamp, up: Offset) -> bool {
    let text = read(root, "proc/stat");
    let started = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
    started.is_some_and(|seconds| (now + -up).since(Timestamp::from_parts(seconds, 0)).abs() <= SAME_CLOCK.abs())
}

fn processes(root: &Path, programs: &[Program]) -> Vec<TimeDaemon> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir(root.join("proc")) else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<(TimeDaemon, u32)> = pids.filter(|&pid| pid != own).filter_map(|pid| daemon(root, pid, programs)).collect();
    found.sort_by_key(|(daemon, _)| daemon.pid);
    // A daemon can be several processes: of one unit, or of one parent.
    let mut kept: Vec<TimeDaemon> = Vec::new();
    let names: Vec<(u32, String)> = found.iter().map(|(daemon, _)| (daemon.pid, daemon.name.clone())).collect();
    for (daemon, parent) in found {
        let child = names.iter().any(|(pid, name)| *pid == parent && *name == daemon.name);
        let same_unit = kept.iter().any(|other| other.name == daemon.name && other.unit.is_some() && other.unit == daemon.unit);
        if !child && !same_unit {
            kept.push(daemon);
        }
    }
    kept
}

/// What a process is, if it is one of them, with its parent's id.
fn daemon(root: &Path, pid: u32, programs: &[Program]) -> Option<(TimeDaemon, u32)> {
    let file = |name: &str| read(root, &format!("proc/{pid}/{name}"));
    let comm = file("comm");
    let program = programs.iter().find(|program| program.comm == comm.trim())?;
    let command_line = file("cmdline");
    let words: Vec<&str> = command_line.trim_end_matches('\0').split('\0').skip(1).collect();
    let stat = Stat::read(root, pid);
    let dead = stat.as_ref().is_some_and(|stat| !stat.lives);
    if dead || !(program.steers)(&words) || !may_set_clock(&file("status")) || is_enclosed(root, &file("uid_map")) {
        return None;
    }
    let daemon = TimeDaemon {
        pid,
        name: program.name.to_owned(),
        unit: unit(&file("cgroup")),
        started: stat.as_ref().map_or(0, |stat| stat.started),
        keeps_time: !SUSPECTS.iter().any(|suspect| suspect.comm == program.comm),
    };
    Some((daemon, stat.map_or(0, |stat| stat.parent)))
}

/// What `/proc/PID/stat` tells.
struct Stat {
    lives: bool,
    parent: u32,
    started: u64,
}

impl Stat {
    fn read(root: &Path, pid: u32) -> Option<Self> {
        let text = read(root, &format!("proc/{pid}/stat"));
        // The name before may hold anything but ends with the last parenthesis: state is the third field, the start the 22nd.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            lives: !matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Whether the effective capabilities allow it, if they are told.
fn may_set_clock(status: &str) -> bool {
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_none_or(|bits| bits >> CAP_SYS_TIME & 1 == 1)
}

/// Whether it lives in a user namespace, while we do not: its capabilities reach no further.
fn is_enclosed(root: &Path, theirs: &str) -> bool {
    let whole = |map: &str| map.split_whitespace().eq(["0", "0", "4294967295"]);
    !theirs.is_empty() && !whole(theirs) && whole(&read(root, "proc/self/uid_map"))
}

/// The unit at the end of the process' control group.
fn unit(cgroup: &str) -> Option<String> {
    cgroup.lines().flat_map(|line| line.rsplit('/')).find(|part| part.ends_with(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process: id, name, arguments, further files.
    type Process<'a> = (u32, &'a str, &'a str, &'a [(&'a str, &'a str)]);

    /// A root with these processes.
    fn tree(processes: &[Process<'_>]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, comm, command, files) in processes {
            let dir = root.path().join(format!("proc/{pid}"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(dir.join("cmdline"), format!("{}\0", command.replace(' ', "\0"))).unwrap();
            for (name, text) in *files {
                fs::write(dir.join(name), text).unwrap();
            }
        }
        root
    }

    fn found(processes: &[Process<'_>]) -> Vec<u32> {
        rivals(tree(processes).path()).iter().map(|daemon| daemon.pid).collect()
    }

    /// Whether a program with this command line counts.
    fn counts(comm: &str, command: &str) -> bool {
        !found(&[(7, comm, command, &[])]).is_empty()
    }

    #[test]
    fn programs_that_leave_the_clock_alone_do_not_count() {
        for command in ["chronyd", "/usr/sbin/chronyd -F 1", "chronyd -d -f /etc/x.conf", "chronyd -n -u _chrony", "chronyd -f -x"] {
            assert!(counts("chronyd", command), "{command}");
        }
        for command in ["chronyd -x", "chronyd -dx", "chronyd -n -u x -Q", "chronyd -q", "chronyd server -x", "chronyd --version"] {
            assert!(!counts("chronyd", command), "{command}");
        }
        for command in ["ntpd -g -n -u ntpsec:ntpsec", "ntpd -p /run/ntpd.pid -c /etc/q.conf", "ntpd -w 5", "ntpd: ntp engine"] {
            assert!(counts("ntpd", command), "{command}");
        }
        for command in ["ntpd -gq", "ntpd --quit", "ntpd -w -p pool.ntp.org", "ntpd -nw -w"] {
            assert!(!counts("ntpd", command), "{command}");
        }
        assert!(counts("busybox", "busybox ntpd -n -p pool.ntp.org"));
        assert!(!counts("busybox", "busybox ntpd -nw -p pool.ntp.org") && !counts("busybox", "busybox sh"));
        for command in ["phc2sys -s eth0 -w", "phc2sys -a -r", "phc2sys -arr", "phc2sys -s /dev/ptp0 -c CLOCK_REALTIME -O 0"] {
            assert!(counts("phc2sys", command), "{command}");
        }
        for command in ["phc2sys -a", "phc2sys -s CLOCK_REALTIME -c eth0", "phc2sys -s eth0 -E ntpshm"] {
            assert!(!counts("phc2sys", command), "{command}");
        }
    }

    #[test]
    fn who_cannot_set_the_clock_does_not_count() {
        let status = |bits: &str| format!("Name:\tchronyd\nCapEff:\t{bits}\n");
        assert_eq!(found(&[(7, "chronyd", "chronyd", &[("status", &status("0000000002000400"))])]), [7]);
        assert!(found(&[(7, "chronyd", "chronyd", &[("status", &status("0000000000000400"))])]).is_empty(), "without CAP_SYS_TIME");
        assert!(found(&[(7, "chronyd", "", &[("stat", "7 (chronyd) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0")])]).is_empty(), "dead");
        let root = tree(&[(7, "chronyd", "chronyd", &[("uid_map", "         0     100000      65536\n")])]);
        assert_eq!(rivals(root.path()).len(), 1, "where we are is not known");
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/uid_map"), "         0          0 4294967295\n").unwrap();
        assert!(rivals(root.path()).is_empty(), "its rights end in its container");
    }

    #[test]
    fn children_and_our_own_kind_do_not_count_twice() {
        let stat = |pid: u32, parent: u32| format!("{pid} (ntpd) S {parent} 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0");
        let (a, b, c) = (stat(70, 1), stat(71, 70), stat(90, 1));
        let tree = tree(&[
            (70, "ntpd", "/usr/sbin/ntpd", &[("stat", &a)]),
            (71, "ntpd", "ntpd: ntp engine", &[("stat", &b)]),
            (90, "paraclock", "paraclock run", &[("stat", &c)]),
            (91, "paraclock", "paraclock run -x", &[]),
            (92, "paraclock", "paraclock doctor", &[]),
            (93, "sntp", "sntp pool", &[]),
            (std::process::id(), "chronyd", "chronyd", &[]),
        ]);
        let all: Vec<u32> = time_daemons(tree.path()).iter().map(|daemon| daemon.pid).collect();
        assert_eq!(all, [70, 90, 93]);
        let rivals = rivals(tree.path());
        assert_eq!(rivals.len(), 1);
        assert!(rivals[0].still_runs(tree.path()));
        fs::write(tree.path().join("proc/70/stat"), stat(70, 1).replace("4711", "4712")).unwrap();
        assert!(!rivals[0].still_runs(tree.path()), "another with the same id");
    }

    #[test]
    fn suspects_are_named_only_where_nobody_else_is() {
        let with_rival =
            tree(&[(5, "vmtoolsd", "vmtoolsd", &[]), (6, "chronyd", "chronyd", &[("cgroup", "0::/system.slice/chrony.service\n")])]);
        assert_eq!(suspects(with_rival.path())[0].describe(), "chronyd (chrony.service, pid 6)");
        assert_eq!(rivals(with_rival.path())[0].stop(), "sudo systemctl disable --now chrony.service");
        let alone = tree(&[(5, "vmtoolsd", "vmtoolsd", &[])]);
        assert!(rivals(alone.path()).is_empty());
        assert_eq!(suspects(alone.path())[0].name, "vmtoolsd");
    }

    #[test]
    fn proc_may_tell_of_another_clock() {
        let root = tempfile::tempdir().unwrap();
        let now = Timestamp::from_parts(1_800_000_000, 500_000_000);
        let up = Offset::from_seconds(1000.0);
        assert!(!proc_tells_of(root.path(), now, up), "no such file");
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/stat"), "cpu 1 2 3\nbtime 1799999000\n").unwrap();
        assert!(proc_tells_of(root.path(), now, up));
        assert!(!proc_tells_of(root.path(), now + Offset::from_seconds(60.0), up));
    }
}
