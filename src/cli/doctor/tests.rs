use std::fs;

use serde::Deserialize;

use super::*;
use crate::cli::sample;
use crate::doctor::probe::Probe;
use crate::platform::recorded::{Recorded, assert_golden, names, place};
use crate::sys::timex::State;
use crate::units::Ppm;
use crate::wire::control::{Conflict, Pvclock, Report, Source};

/// The day on which the program of these tests was built.
const BUILT: i64 = 1_793_491_200;

/// `evidence.toml`: what is no file of the machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    /// Seconds since 1970 on the machine's clock.
    #[serde(default = "later")]
    now: i64,
    /// The kvm-clock page's flags, if it can be read.
    pvclock_flags: Option<u8>,
    /// Lines of configuration; none: what the machine offers.
    #[serde(default)]
    directives: Vec<String>,
    /// Two looks at the kernel's clock.
    #[serde(default)]
    looks: Vec<Look>,
    report: Option<Running>,
    /// Why the daemon cannot be asked.
    mute: Option<String>,
    #[serde(default)]
    probes: Vec<Probe>,
}

const fn later() -> i64 {
    BUILT + 86_400
}

#[derive(Deserialize, Clone, Copy)]
struct Look {
    rate: f64,
    status: i32,
    max_error_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Running {
    status: String,
    #[serde(default)]
    shadow: bool,
    #[serde(default)]
    foreign_steps: u64,
    #[serde(default)]
    clock_errors: u64,
    conflict: Option<Conflict>,
    #[serde(default)]
    problems: Vec<String>,
    #[serde(default)]
    sources: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default)]
    address: String,
    #[serde(default = "server")]
    mode: String,
    state: String,
    mark: char,
    reason: String,
    #[serde(default)]
    reach: u8,
    #[serde(default)]
    rejected: std::collections::BTreeMap<String, u64>,
    #[serde(default)]
    error: String,
}

fn server() -> String {
    "server".to_owned()
}

impl Running {
    fn report(self) -> Report {
        let mut report = sample::report();
        let row = report.sources[1].clone();
        report.tracking.status = self.status;
        report.tracking.clock_kind = if self.shadow { "shadow" } else { "kernel" }.to_owned();
        report.counters.foreign_steps = self.foreign_steps;
        report.counters.clock_errors = self.clock_errors;
        report.conflict = self.conflict;
        report.problems = self.problems;
        report.sources = self
            .sources
            .into_iter()
            .map(|told| Source {
                name: told.name,
                address: told.address,
                mode: told.mode,
                state: told.state,
                mark: told.mark,
                reason: told.reason,
                reach: told.reach,
                rejected: told.rejected,
                error: told.error,
                ..row.clone()
            })
            .collect();
        report
    }
}

/// A recorded machine as evidence, and its tree, which goes away with it.
fn recorded(name: &str) -> (Evidence, Recorded) {
    let dir = place("doctor").join(name);
    let tree = Recorded::open(&dir);
    let told: Told = toml::from_str(&fs::read_to_string(dir.join("evidence.toml")).unwrap()).unwrap();
    let page = told.pvclock_flags.map(|flags| Pvclock { version: 16, flags, frequency_hz: 2.3e9 });
    let machine = tree.detect(page);
    let detect = [String::from("autodetect on")];
    let plan = plan(None, if told.directives.is_empty() { &detect } else { &told.directives }, &machine);
    let system = System::read(tree.root(), plan.as_ref().ok().and_then(|plan| plan.user.as_deref()));
    let state = |look: &Look| State {
        rate: Ppm::new(look.rate),
        status: look.status,
        max_error: Duration::from_millis(look.max_error_ms),
        est_error: Duration::ZERO,
        tai_offset: 0,
    };
    let looks = match told.looks.as_slice() {
        [first, second] => Some(Looks { first: state(first), second: state(second), apart: BETWEEN_LOOKS }),
        [] => None,
        _ => panic!("{name}: two looks or none"),
    };
    let daemon = match (told.report, told.mute) {
        (Some(running), _) => Daemon::Runs(Box::new(running.report())),
        (None, Some(reason)) => Daemon::Mute(reason),
        (None, None) => Daemon::Absent,
    };
    let (now, built) = (Timestamp::from_parts(told.now, 0), Timestamp::from_parts(BUILT, 0));
    (Evidence { machine, system, looks, now, built, plan, daemon, probes: told.probes }, tree)
}

fn checks(name: &str) -> Vec<&'static str> {
    doctor::examine(&recorded(name).0).iter().map(|finding| finding.check).collect()
}

#[test]
fn every_recorded_machine_is_told_what_is_wrong_with_it() {
    let machines = names("doctor");
    assert!(machines.len() >= 14, "{machines:?}");
    for name in machines {
        let (evidence, tree) = recorded(&name);
        let findings = doctor::examine(&evidence);
        let text = format!("{}exit code {}\n", render(&evidence, &findings), code(&findings));
        assert_golden(&place("doctor").join(&name).join("doctor.txt"), &tree.plain(&text));
        for finding in &findings {
            assert!(!finding.why.is_empty() && !finding.mend.is_empty(), "{name}: {finding:?}");
        }
    }
}

#[test]
fn what_each_machine_suffers_from() {
    assert_eq!(checks("healthy"), Vec::<&str>::new());
    assert_eq!(checks("ptp-kvm-not-loaded"), ["nobody", "clock_not_loaded"]);
    assert_eq!(checks("host-refuses-ptp-kvm"), ["clock_refused", "clock_untaken"]);
    assert_eq!(checks("aws-mixed-phc-off"), ["mixed_timescales", "other_daemon", "ena_phc_off"]);
    assert_eq!(checks("container-without-rights"), ["no_cap_sys_time", "kept_elsewhere", "clock_not_loaded"]);
    assert_eq!(checks("ntp-blocked"), ["nobody", "ntp_blocked", "clock_not_loaded"]);
    assert_eq!(checks("two-daemons"), ["two_daemons", "foreign_steps"]);
    assert_eq!(checks("yielding"), ["conflict"]);
    assert_eq!(checks("restored-snapshot"), ["offset", "nobody"]);
    assert_eq!(checks("tsc-unstable"), ["clocksource", "tsc_unstable"]);
    assert_eq!(checks("bad-servers"), ["nobody", "unreachable", "unsynchronised", "refused", "falseticker"]);
    assert_eq!(checks("device-permissions"), ["device_permissions", "source_not_used"]);
    assert_eq!(checks("before-build-date"), ["date", "nobody", "no_names", "rtc_local"]);
    assert_eq!(checks("liar-among-sources"), vec!["source_not_used"; 4].into_iter().chain(["no_name"]).collect::<Vec<_>>());
    assert_eq!(checks("old-kernel-firewall"), ["two_daemons", "clock_kernel_too_old", "firewall"]);
    assert_eq!(checks("daemon-hears-nothing"), ["ntp_blocked"]);
    assert_eq!(checks("wrong-configuration"), ["nobody", "configuration", "no_vm"]);
    assert_eq!(checks("no-majority"), ["nobody", "no_majority"]);
    assert_eq!(checks("shadow-clock"), ["shadow"]);
    assert_eq!(checks("unseen-hand"), ["unseen_hand"]);
    assert_eq!(checks("refused-corrections"), ["refused_corrections", "not_synchronised"]);
    assert_eq!(checks("hidden-daemon"), ["kept_elsewhere"]);
    assert_eq!(checks("aws-well"), Vec::<&str>::new());
    assert_eq!(checks("socket-denied"), ["two_daemons", "no_device", "mute"]);
}

#[test]
fn json_says_the_same_and_more() {
    let (evidence, _tree) = recorded("ptp-kvm-not-loaded");
    let findings = doctor::examine(&evidence);
    let value: serde_json::Value = serde_json::from_str(&json(&evidence, &findings)).unwrap();
    assert_eq!(value["exit_code"], 2);
    assert_eq!(value["findings"][0]["severity"], "harm");
    assert_eq!(value["findings"][1]["check"], "clock_not_loaded");
    assert_eq!(value["findings"][1]["mend"][0], "sudo modprobe ptp_kvm");
    assert_eq!(value["probes"][0]["answer"]["time"]["stratum"], 2);
    assert_eq!(value["daemon_runs"], false);
}

#[test]
fn every_finding_is_documented() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md")).unwrap();
    let mut pending = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor")];
    let mut words = std::collections::BTreeSet::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for call in ["harm(\"", "advice(\""] {
            words.extend(text.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(words.len() > 40, "{words:?}");
    for word in words {
        assert!(document.contains(&format!("`{word}`")), "docs/doctor.md does not say what {word} is");
    }
}

#[test]
fn the_exit_code_is_the_worst() {
    let finding = |severity| Finding { check: "x", severity, what: String::new(), why: String::new(), mend: Vec::new() };
    assert_eq!(code(&[]), 0);
    assert_eq!(code(&[finding(Severity::Advice)]), 1);
    assert_eq!(code(&[finding(Severity::Advice), finding(Severity::Harm)]), 2);
}

#[test]
fn a_missing_or_deserted_socket_means_that_nothing_runs() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control.sock");
    assert_eq!(ask(&path), Daemon::Absent);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(ask(&path), Daemon::Absent);
}

#[test]
fn long_lines_are_broken_and_commands_are_not() {
    let finding = Finding {
        check: "x",
        severity: Severity::Advice,
        what: "word ".repeat(40),
        why: String::new(),
        mend: vec!["command ".repeat(40), "# to read".to_owned()],
    };
    let text = list(&[finding]);
    assert!(text.lines().filter(|line| line.contains("word")).all(|line| line.len() <= WIDTH), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("command")).count(), 1);
    assert!(text.contains("\n          # to read\n"), "{text}");
}

#[test]
fn this_host_is_described() {
    let verdict = host::judge(&look_at_host());
    let text = render_host(&verdict);
    eprintln!("{text}");
    assert!(text.starts_with("/dev/kvm ") && text.contains("\nPTP_KVM "), "{text}");
    let value: serde_json::Value = serde_json::from_str(&host_json(&verdict)).unwrap();
    assert_eq!(value["exit_code"], u64::from(code(&verdict.findings)));
    assert_eq!(value["facts"].as_array().unwrap().len(), verdict.facts.len());
}
