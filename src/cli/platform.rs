//! `paraclock platform`: what this machine is, what gives it away, and what that implies for time.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{print, to_json};
use crate::platform::table::ClockFacts;
use crate::platform::{self, ClockKind, Detection, FoundClock};

/// Options of `platform`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Looks at this machine and prints what it is.
pub(super) fn show(options: &Options) -> ExitCode {
    let machine = platform::detect(Path::new("/"));
    print(&if options.json { to_json(&facts(&machine)) } else { render(&machine) })
}

/// What `--json` prints.
#[derive(Serialize)]
struct Facts {
    hypervisor: &'static str,
    hypervisor_evidence: String,
    cloud: &'static str,
    cloud_evidence: String,
    container: Option<String>,
    clocksource: String,
    available_clocksources: Vec<String>,
    good_clocksources: &'static [&'static str],
    clocks: Vec<Clock>,
    missing_clocks: Vec<Missing>,
    vmclock: Option<String>,
    kvm_clock_page_hz: Option<f64>,
    ntp: Vec<Server>,
    quirks: Vec<&'static str>,
}

/// A PTP clock.
#[derive(Serialize)]
struct Clock {
    device: String,
    name: String,
    kind: &'static str,
    module: &'static str,
    timescale: Option<&'static str>,
    automatic: bool,
}

/// A clock that guests of this place have and this one lacks.
#[derive(Serialize)]
struct Missing {
    kind: &'static str,
    module: &'static str,
    needs: &'static str,
    commands: &'static [&'static str],
}

/// A server of this place.
#[derive(Serialize)]
struct Server {
    address: &'static str,
    line: String,
    timescale: &'static str,
    note: &'static str,
}

fn facts(machine: &Detection) -> Facts {
    Facts {
        hypervisor: machine.hypervisor.as_str(),
        hypervisor_evidence: machine.hypervisor_reason.clone(),
        cloud: machine.cloud.as_str(),
        cloud_evidence: machine.cloud_reason.clone(),
        container: machine.container.clone(),
        clocksource: machine.clocksource.clone(),
        available_clocksources: machine.available_clocksources.clone(),
        good_clocksources: machine.hypervisor.facts().clocksources,
        clocks: machine.clocks.iter().map(clock).collect(),
        missing_clocks: machine.missing_clocks().map(|kind| missing(kind.facts())).collect(),
        vmclock: machine.vmclock.as_ref().map(|path| path.display().to_string()),
        kvm_clock_page_hz: machine.pvclock.map(|page| page.frequency_hz),
        ntp: machine
            .ntp
            .iter()
            .map(|source| Server {
                address: source.address,
                line: source.to_string(),
                timescale: source.timescale.as_str(),
                note: source.note,
            })
            .collect(),
        quirks: machine.quirks().collect(),
    }
}

fn clock(found: &FoundClock) -> Clock {
    Clock {
        device: found.path.display().to_string(),
        name: found.name.clone(),
        kind: found.kind.as_str(),
        module: found.kind.facts().module,
        timescale: found.timescale.map(|scale| scale.as_str()),
        automatic: found.is_automatic(),
    }
}

fn missing(facts: &'static ClockFacts) -> Missing {
    Missing { kind: facts.word, module: facts.module, needs: facts.host, commands: facts.enable }
}

/// Headings in the first column, what was found behind them.
pub(super) fn render(machine: &Detection) -> String {
    let others = machine.available_clocksources.iter().filter(|name| **name != machine.clocksource).map(String::as_str);
    let others = others.collect::<Vec<_>>().join(" ");
    let also = if others.is_empty() { String::new() } else { format!(" (also: {others})") };
    let clocksource = if machine.clocksource.is_empty() { "unknown" } else { &machine.clocksource };
    let mut clocks: Vec<String> = machine.clocks.iter().map(clock_line).collect();
    clocks.extend(machine.vmclock.iter().map(|path| format!("{}: vmclock, its time if it carries one, and disruptions", path.display())));
    if let Some(page) = machine.pvclock {
        clocks.push(format!("kvm-clock page: disruptions only, counter at {:.3} MHz", page.frequency_hz / 1e6));
    }
    clocks.extend(machine.missing_clocks().map(|kind| {
        let facts = kind.facts();
        format!("{} is missing: module {}; needs {}", facts.word, facts.module, facts.host)
    }));
    let servers = machine.ntp.iter().map(|source| {
        let note = if source.note.is_empty() { String::new() } else { format!("; {}", source.note) };
        format!("{source} (timescale {}{note})", source.timescale.as_str())
    });
    let mut text = String::new();
    for (heading, lines) in [
        ("Hypervisor", vec![format!("{} ({})", machine.hypervisor.as_str(), machine.hypervisor_reason)]),
        ("Cloud", vec![format!("{} ({})", machine.cloud.as_str(), machine.cloud_reason)]),
        ("Container", vec![machine.container.clone().unwrap_or_else(|| "none".to_owned())]),
        ("Clocksource", vec![format!("{clocksource}{also}")]),
        ("Clocks", clocks),
        ("NTP", servers.collect()),
        ("To know", machine.quirks().map(str::to_owned).collect()),
    ] {
        let lines = if lines.is_empty() { vec!["none".to_owned()] } else { lines };
        for (i, line) in lines.iter().enumerate() {
            text += &format!("{:<12} {line}\n", if i == 0 { heading } else { "" });
        }
    }
    text
}

fn clock_line(found: &FoundClock) -> String {
    let use_of_it = match found.timescale {
        _ if found.kind == ClockKind::Other => "used only if configured: it may hold any time".to_owned(),
        Some(scale) => format!("timescale {}, module {}", scale.as_str(), found.kind.facts().module),
        None => "not used: it tells no time of day".to_owned(),
    };
    format!("{} \"{}\": {}; {use_of_it}", found.path.display(), found.name, found.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::recorded::{Recorded, assert_golden, names, place};

    #[test]
    fn every_recorded_machine_is_recognised() {
        let machines = names("platform");
        assert!(machines.len() >= 30, "{machines:?}");
        for name in machines {
            let dir = place("platform").join(name);
            let recorded = Recorded::open(&dir);
            let text = recorded.plain(&render(&recorded.detect(None)));
            assert_golden(&dir.join("platform.txt"), &text);
        }
    }

    #[test]
    fn every_row_of_the_tables_has_a_recorded_machine() {
        let machines: Vec<Detection> = names("platform").iter().map(|n| Recorded::open(&place("platform").join(n)).detect(None)).collect();
        for row in platform::table::HYPERVISORS {
            assert!(machines.iter().any(|m| m.hypervisor == row.hypervisor), "{}", row.word);
            assert!(row.clocks.iter().all(|kind| machines.iter().any(|m| m.clocks.iter().any(|c| c.kind == *kind))), "{}", row.word);
        }
        for row in platform::table::CLOUDS {
            assert!(machines.iter().any(|m| m.cloud == row.cloud), "{}", row.word);
        }
        for container in ["docker", "podman", "kubernetes", "lxc", "systemd-nspawn"] {
            assert!(machines.iter().any(|m| m.container.as_deref() == Some(container)), "{container}");
        }
    }

    #[test]
    fn json_says_the_same() {
        let recorded = Recorded::open(&place("platform").join("aws-graviton"));
        let json: serde_json::Value = serde_json::from_str(&to_json(&facts(&recorded.detect(None)))).unwrap();
        assert_eq!(json["hypervisor"], "kvm");
        assert_eq!(json["cloud"], "aws");
        assert_eq!(json["missing_clocks"][0]["kind"], "ena");
        assert_eq!(json["missing_clocks"][0]["commands"][1], "sudo reboot");
        assert_eq!(json["ntp"][0]["timescale"], "smeared");
    }
}
