//! From what the user said, or what the machine is, to a configuration with sources.

use std::path::Path;

use super::config_files::ConfigFiles;
use crate::config::{Config, Diagnostic, PhcDevice, RefclockDirective, RefclockKind, ServerDirective, load, parse_directives};
use crate::platform::table::timescale_of;
use crate::platform::{self, ClockKind, Detection, FoundClock, NtpSource};
use crate::refclock::{Refclock, kvm_clock::KvmClock, ptp, vmclock};
use crate::units::Timescale;

/// Where the configuration is looked for without `-f`.
pub const DEFAULT_FILE: &str = "/etc/paraclock/paraclock.conf";

/// What holds without a configuration file, beside the sources found.
const DEFAULTS: [&str; 3] = ["driftfile /var/lib/paraclock/drift", "makestep 1 3", "rtcsync"];

/// A configuration, where it came from, and the timescale that each of its servers is known to hand out.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The configuration, detected sources included.
    pub config: Config,
    /// A word for the log.
    pub origin: String,
    /// One for each of `config.servers`.
    pub timescales: Vec<Timescale>,
    /// Whether sources were looked for.
    pub detected: bool,
    /// How many sources were written down; those that were found follow them.
    pub written: Written,
}

/// How many sources somebody wrote down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// The first so many of `config.refclocks`.
    pub refclocks: usize,
    /// The first so many of `config.servers`.
    pub servers: usize,
}

/// Reads the configuration: directives on the command line, else the file named, else the default file,
/// else what the machine offers.
pub fn choose(file: Option<&Path>, directives: &[String], machine: &Detection) -> Result<Chosen, Vec<Diagnostic>> {
    let default = Path::new(DEFAULT_FILE);
    let (mut config, origin, detect) = if !directives.is_empty() {
        (parse_directives(directives, &ConfigFiles)?, "the command line".to_owned(), false)
    } else if let Some(path) = file {
        (load(path, &ConfigFiles)?, path.display().to_string(), false)
    } else if default.exists() {
        (load(default, &ConfigFiles)?, DEFAULT_FILE.to_owned(), false)
    } else {
        let defaults = DEFAULTS.map(str::to_owned);
        (parse_directives(&defaults, &ConfigFiles)?, format!("built-in defaults ({DEFAULT_FILE} is not there)"), true)
    };
    let detected = config.autodetect.unwrap_or(detect);
    let written = Written { refclocks: config.refclocks.len(), servers: config.servers.len() };
    // An address or a name can mean another server elsewhere: what it is here, the machine's own marks say.
    let known = |server: &ServerDirective| timescale_of(&server.name, machine.cloud).unwrap_or(Timescale::Utc);
    let mut timescales: Vec<Timescale> = config.servers.iter().map(known).collect();
    if detected {
        let found = parse_directives(&lines_for(machine), &ConfigFiles)?;
        config.refclocks.extend(found.refclocks);
        config.servers.extend(found.servers);
        config.lines.extend(found.lines);
        timescales.extend(machine.ntp.iter().map(|source| source.timescale));
    }
    timescales.resize(config.servers.len(), Timescale::Utc);
    Ok(Chosen { config, origin, timescales, detected, written })
}

/// The configuration lines that a detected machine stands for.
#[must_use]
pub fn lines_for(machine: &Detection) -> Vec<String> {
    let smeared = machine.ntp.iter().any(|source| source.timescale == Timescale::Smeared);
    let mut lines = clock_lines(&machine.clocks, machine.vmclock.as_deref(), smeared);
    // A clock that is known to keep UTC is better than a server that smears, and they are never combined.
    let outdone = lines.iter().any(|line| line.ends_with(PREFER));
    if machine.pvclock.is_some() {
        lines.push("refclock KVM poll 0 dpoll 0".to_owned());
    }
    lines.extend(machine.ntp.iter().map(|source| NtpSource { prefer: source.prefer && !outdone, ..*source }.to_string()));
    lines
}

const PREFER: &str = " prefer";

/// Devices of this machine that tell of disruptions and that no line names.
#[must_use]
pub fn witnesses(config: &Config, machine: &Detection) -> Vec<RefclockDirective> {
    let named = |kind: fn(&RefclockKind) -> bool| config.refclocks.iter().any(|r| kind(&r.kind));
    let mut lines = Vec::new();
    if let Some(path) = machine.vmclock.as_ref().filter(|_| !named(|kind| matches!(kind, RefclockKind::Vmclock { .. }))) {
        lines.push(format!("refclock VMCLOCK {} poll 0 noselect", path.display()));
    }
    if machine.pvclock.is_some() && !named(|kind| matches!(kind, RefclockKind::Kvm)) {
        lines.push("refclock KVM poll 0 dpoll 0".to_owned());
    }
    // Our own words: nothing here can fail.
    parse_directives(&lines, &ConfigFiles).map(|found| found.refclocks).unwrap_or_default()
}

/// The lines for local clocks that tell the time of day, in order; by name, as the numbers of devices move.
/// Those known to keep UTC are preferred where the servers of the place smear.
#[must_use]
pub fn clock_lines(clocks: &[FoundClock], vmclock: Option<&Path>, smeared_servers: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for clock in clocks.iter().filter(|c| c.is_automatic()) {
        // /dev/vmclock0 says more than its PTP face.
        if clock.kind == ClockKind::Vmclock && vmclock.is_some() {
            continue;
        }
        let name = clock.name.replace(' ', "_");
        let unique = clocks.iter().filter(|other| other.name.replace(' ', "_") == name).count() == 1;
        let plain = !name.starts_with('/') && !name.contains(':');
        let device = if unique && plain { name } else { clock.path.display().to_string() };
        let keeps_utc = matches!(clock.timescale, Some(Timescale::Utc | Timescale::Tai));
        let prefer = if smeared_servers && keeps_utc { PREFER } else { "" };
        lines.push(format!("refclock PHC {device} poll 0{prefer}"));
    }
    if let Some(path) = vmclock {
        let prefer = if smeared_servers { PREFER } else { "" };
        lines.push(format!("refclock VMCLOCK {} poll 0{prefer}", path.display()));
    }
    lines
}

/// The directives of such lines.
#[must_use]
pub fn clock_directives(lines: &[String]) -> Vec<RefclockDirective> {
    // They are ours: a test reads those of every kind of machine.
    parse_directives(lines, &ConfigFiles).map(|config| config.refclocks).unwrap_or_default()
}

/// The device behind a `refclock` line. Nothing is opened yet.
#[must_use]
pub fn device(directive: &RefclockDirective) -> Box<dyn Refclock> {
    match &directive.kind {
        RefclockKind::Phc { device, .. } => {
            let name = match device {
                PhcDevice::Path(path) => path.display().to_string(),
                PhcDevice::Name(name) => name.clone(),
            };
            Box::new(ptp::Ptp::new(ptp::Options { traits: traits_of, ..ptp::Options::new(name) }))
        }
        RefclockKind::Kvm => Box::new(KvmClock::new()),
        RefclockKind::Vmclock { device } => Box::new(vmclock::Vmclock::new(vmclock::Options { path: device.clone() })),
    }
}

fn traits_of(name: &str) -> ptp::Traits {
    let (kind, timescale) = platform::kind_of(name);
    ptp::Traits { samples: kind.samples(), budget: kind.budget(), timescale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::recorded::{Recorded, names, place};

    fn machine(name: &str) -> Detection {
        Recorded::open(&place("platform").join(name)).detect(None)
    }

    fn chosen(lines: &[&str], machine: &Detection) -> Chosen {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        choose(None, &lines, machine).unwrap()
    }

    #[test]
    fn a_configured_server_s_timescale_is_what_it_is_at_this_place() {
        let lines = ["server 169.254.169.123", "server metadata.google.internal", "server Time.Google.com", "server ntp.example.com"];
        use Timescale::{Smeared, Unknown, Utc};
        for (name, expected) in [
            ("aws-graviton", [Smeared, Utc, Smeared, Utc]),
            ("google", [Utc, Smeared, Smeared, Utc]),
            ("naver", [Unknown, Utc, Smeared, Utc]),
            ("kvm", [Utc, Utc, Smeared, Utc]),
        ] {
            assert_eq!(chosen(&lines, &machine(name)).timescales, expected, "{name}");
        }
    }

    #[test]
    fn the_lines_of_every_recorded_machine_are_right_and_name_clocks_that_are_there() {
        for name in names("platform") {
            let machine = machine(&name);
            let lines = lines_for(&machine);
            let config = parse_directives(&lines, &ConfigFiles).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            assert_eq!(config.refclocks.len() + config.servers.len(), lines.len(), "{name}: {lines:?}");
            for directive in &config.refclocks {
                if matches!(directive.kind, RefclockKind::Phc { .. }) {
                    assert!(platform::clock_meant(&directive.kind, &machine.clocks).is_some(), "{name}: {directive:?}");
                }
            }
            let chosen = chosen(&["autodetect on", "server 192.0.2.1"], &machine);
            assert_eq!(
                (chosen.written, chosen.timescales.len()),
                (Written { refclocks: 0, servers: 1 }, chosen.config.servers.len()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_clock_of_utc_goes_before_servers_that_smear() {
        let clock = |name: &str, kind, timescale| FoundClock { path: "/dev/ptp0".into(), name: name.to_owned(), kind, timescale };
        let ena = clock("ena-ptp-05", ClockKind::Ena, Some(Timescale::Utc));
        let kvm = clock("KVM virtual PTP", ClockKind::Kvm, Some(Timescale::Unknown));
        let lines = |clocks: &[FoundClock], name: &str| lines_for(&Detection { clocks: clocks.to_vec(), vmclock: None, ..machine(name) });
        let aws = lines(std::slice::from_ref(&ena), "aws-graviton");
        assert_eq!(aws[0], "refclock PHC ena-ptp-05 poll 0 prefer");
        assert!(aws.iter().filter(|line| line.ends_with("prefer")).count() == 1, "{aws:?}");
        let google = lines(std::slice::from_ref(&kvm), "google");
        assert_eq!(google[0], "refclock PHC KVM_virtual_PTP poll 0");
        assert!(google[1].contains("metadata.google.internal") && google[1].contains("prefer"), "{google:?}");
        // Two of one name are told apart by their paths.
        let twins = [ena.clone(), FoundClock { path: "/dev/ptp1".into(), ..ena }];
        assert_eq!(clock_lines(&twins, None, false), ["refclock PHC /dev/ptp0 poll 0", "refclock PHC /dev/ptp1 poll 0"]);
    }

    #[test]
    fn a_name_tells_how_to_read_a_clock() {
        let ena = traits_of("ena-ptp-05");
        assert_eq!((ena.samples, ena.budget, ena.timescale), (1, Some(125), Some(Timescale::Utc)));
        let kvm = traits_of("KVM virtual PTP");
        assert_eq!((kvm.samples, kvm.budget, kvm.timescale), (5, None, None));
    }
}
