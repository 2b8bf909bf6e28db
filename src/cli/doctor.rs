//! `paraclock doctor`: gathers the evidence, prints what is wrong in order of harm, and says it by the exit code too.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::client::{self, ClientError};
use super::{DEFAULT_SOCKET, print, to_json};
use crate::doctor::host::{self, Host, Verdict};
use crate::doctor::{self, Daemon, Evidence, Finding, Looks, Plan, Severity, System, probe};
use crate::platform::{self, Detection, Hypervisor};
use crate::run::setup;
use crate::sys::{kvm, time, timex};
use crate::units::Timestamp;

/// Between the two looks at the kernel's clock.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1100);
/// Lines are broken at this column.
const WIDTH: usize = 110;

/// Options of `doctor`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Examine this machine as a KVM host: what clock do its guests get?
    #[arg(long)]
    host: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file, in chrony's dialect
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

/// Examines this machine.
pub(super) fn examine(options: &Options) -> ExitCode {
    let (printed, findings) = if options.host {
        let verdict = host::judge(&look_at_host());
        (print(&if options.json { host_json(&verdict) } else { render_host(&verdict) }), verdict.findings)
    } else {
        let evidence = gather(options);
        let findings = doctor::examine(&evidence);
        (print(&if options.json { json(&evidence, &findings) } else { render(&evidence, &findings) }), findings)
    };
    if printed == ExitCode::SUCCESS { ExitCode::from(code(&findings)) } else { printed }
}

/// 0: nothing, 1: advice, 2: harm.
fn code(findings: &[Finding]) -> u8 {
    findings.iter().map(|finding| if finding.severity == Severity::Harm { 2 } else { 1 }).max().unwrap_or(0)
}

/// Looks at everything there is; changes nothing.
fn gather(options: &Options) -> Evidence {
    let root = Path::new("/");
    let machine = platform::detect(root);
    let first = timex::read();
    let plan = plan(options.file.as_deref(), &[], &machine);
    let daemon = ask(&options.socket);
    let system = System::read(root, plan.as_ref().ok().and_then(|plan| plan.user.as_deref()));
    let probes = match (&daemon, &plan) {
        (Daemon::Runs(_), _) | (_, Err(_)) => Vec::new(),
        (_, Ok(plan)) => probe::ask(&plan.servers),
    };
    // Steering shows only from one moment to the next.
    thread::sleep(BETWEEN_LOOKS);
    let looks = match (first, timex::read()) {
        (Ok(first), Ok(second)) => Some(Looks { first, second, apart: BETWEEN_LOOKS }),
        _ => None,
    };
    Evidence { machine, system, looks, now: time::realtime(), built: build_date(), plan, daemon, probes }
}

/// What the daemon does, or would do if it were started.
fn plan(file: Option<&Path>, directives: &[String], machine: &Detection) -> Result<Plan, Vec<String>> {
    let chosen = setup::choose(file, directives, machine).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let written = (chosen.written.refclocks, chosen.written.servers);
    Ok(Plan::of(&chosen.config, &chosen.origin, &chosen.timescales, written, machine))
}

fn ask(socket: &Path) -> Daemon {
    match client::report(socket) {
        Ok(report) => Daemon::Runs(Box::new(report)),
        Err(ClientError::Absent { .. } | ClientError::Deserted { .. }) => Daemon::Absent,
        Err(error) => Daemon::Mute(error.to_string()),
    }
}

fn build_date() -> Timestamp {
    Timestamp::from_parts(env!("PARACLOCK_BUILD_EPOCH").parse().unwrap_or(0), 0)
}

fn look_at_host() -> Host {
    let root = Path::new("/");
    let machine = platform::detect(root);
    let system = System::read(root, None);
    Host {
        kvm: kvm::ask(Path::new("/dev/kvm")),
        clocksource: machine.clocksource,
        available_clocksources: machine.available_clocksources,
        cpu_flags: system.cpu_flags,
        kernel: system.kernel,
        arm: system.arm,
        below: (machine.hypervisor != Hypervisor::None).then(|| machine.hypervisor.as_str()),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Examination<'a> {
    exit_code: u8,
    hypervisor: &'a str,
    cloud: &'a str,
    container: Option<&'a str>,
    kernel: &'a str,
    clocksource: &'a str,
    daemon_runs: bool,
    probes: &'a [probe::Probe],
    findings: &'a [Finding],
}

fn json(evidence: &Evidence, findings: &[Finding]) -> String {
    to_json(&Examination {
        exit_code: code(findings),
        hypervisor: evidence.machine.hypervisor.as_str(),
        cloud: evidence.machine.cloud.as_str(),
        container: evidence.machine.container.as_deref(),
        kernel: &evidence.system.kernel,
        clocksource: &evidence.machine.clocksource,
        daemon_runs: evidence.report().is_some(),
        probes: &evidence.probes,
        findings,
    })
}

fn render(evidence: &Evidence, findings: &[Finding]) -> String {
    let machine = &evidence.machine;
    let container = machine.container.as_ref().map_or(String::new(), |name| format!(", container {name}"));
    let daemon = match &evidence.daemon {
        Daemon::Runs(report) => format!("paraclock {} runs: {}", report.version, report.tracking.status),
        Daemon::Absent => "paraclock does not run".to_owned(),
        Daemon::Mute(_) => "paraclock cannot be asked".to_owned(),
    };
    let head = format!(
        "hypervisor {}, cloud {}{container}, kernel {}, clocksource {}; {daemon}\n",
        machine.hypervisor.as_str(),
        machine.cloud.as_str(),
        or_unknown(&evidence.system.kernel),
        or_unknown(&machine.clocksource),
    );
    head + &list(findings)
}

fn or_unknown(word: &str) -> &str {
    if word.is_empty() { "unknown" } else { word }
}

/// Findings, numbered from the worst, and a last line that counts them.
fn list(findings: &[Finding]) -> String {
    let mut text = String::new();
    for (i, finding) in findings.iter().enumerate() {
        let mark = match finding.severity {
            Severity::Harm => "HARM  ",
            Severity::Advice => "advice",
        };
        text += &format!("\n{:>2} {mark} {}\n", i + 1, indented(&finding.what));
        if !finding.why.is_empty() {
            text += &format!("          {}\n", indented(&finding.why));
        }
        for command in &finding.mend {
            // Commands are not broken: they are to be copied.
            text += &format!("          $ {command}\n").replace("$ # ", "# ");
        }
    }
    let harms = findings.iter().filter(|finding| finding.severity == Severity::Harm).count();
    let summary = match (harms, findings.len() - harms) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, advices) => format!("no harm, {advices} to improve"),
        (harms, advices) => format!("{harms} harmful, {advices} to improve"),
    };
    text + &format!("\n{summary}\n")
}

/// Broken between words, the lines after the first under it.
fn indented(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + word.len() + 11 > WIDTH {
            lines.push(word.to_owned());
        } else {
            let blank = if lines[last].is_empty() { "" } else { " " };
            lines[last] += &format!("{blank}{word}");
        }
    }
    lines.join("\n          ")
}

/// What `--host --json` prints.
#[derive(Serialize)]
struct HostExamination<'a> {
    exit_code: u8,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

fn host_json(verdict: &Verdict) -> String {
    to_json(&HostExamination { exit_code: code(&verdict.findings), verdict })
}

fn render_host(verdict: &Verdict) -> String {
    let answer = |known: Option<bool>| match known {
        Some(true) => "yes",
        Some(false) => "no",
        None => "cannot be told",
    };
    let mut text = String::new();
    for (heading, fact) in &verdict.facts {
        text += &format!("{heading:<16} {fact}\n");
    }
    text += &format!("{:<16} {}\n", "PTP_KVM", answer(verdict.ptp_kvm));
    if verdict.stable_kvm_clock.is_some() {
        text += &format!("{:<16} {}\n", "Stable kvm-clock", answer(verdict.stable_kvm_clock));
    }
    text + &list(&verdict.findings)
}

#[cfg(test)]
mod tests;
