//! From what the user said, or what the machine is, to a configuration with sources.

use std::path::{Path, PathBuf};

use super::config_files::ConfigFiles;
use crate::config::{Config, Diagnostic, PhcDevice, RefclockDirective, RefclockKind, load, parse_directives};
use crate::platform::{ClockKind, Detection, FoundClock};
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
    /// The machine, if sources were looked for.
    pub detected: bool,
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
    let mut timescales = vec![Timescale::Utc; config.servers.len()];
    if detected {
        let found = parse_directives(&lines_for(machine), &ConfigFiles)?;
        config.refclocks.extend(found.refclocks);
        config.servers.extend(found.servers);
        config.lines.extend(found.lines);
        timescales.extend(machine.ntp.iter().map(|source| source.timescale));
    }
    timescales.resize(config.servers.len(), Timescale::Utc);
    for directive in &mut config.refclocks {
        // What the clock's name tells, unless the line says otherwise.
        directive.timescale = directive.timescale.or_else(|| found_clock(directive, machine).and_then(|clock| clock.timescale));
    }
    Ok(Chosen { config, origin, timescales, detected })
}

/// The configuration lines that a detected machine stands for.
#[must_use]
pub fn lines_for(machine: &Detection) -> Vec<String> {
    let mut lines = Vec::new();
    for clock in machine.clocks.iter().filter(|c| c.is_automatic()) {
        // /dev/vmclock0 says more than its PTP face.
        if clock.kind == ClockKind::Vmclock && machine.vmclock.is_some() {
            continue;
        }
        let timescale = clock.timescale.unwrap_or_default().as_str();
        lines.push(format!("refclock PHC {} poll 0 timescale {timescale}", clock.path.display()));
    }
    if let Some(path) = &machine.vmclock {
        lines.push(format!("refclock VMCLOCK {} poll 0", path.display()));
    }
    if machine.pvclock.is_some() {
        lines.push("refclock KVM poll 0 dpoll 0".to_owned());
    }
    lines.extend(machine.ntp.iter().map(ToString::to_string));
    lines
}

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

/// The devices behind `refclock` lines, in order. Nothing is opened yet.
#[must_use]
pub fn devices(refclocks: &[RefclockDirective], machine: &Detection) -> Vec<Box<dyn Refclock>> {
    refclocks.iter().map(|directive| device(directive, machine)).collect()
}

/// The clock of this machine that a `refclock PHC` line means, through links such as `/dev/ptp_kvm`.
fn found_clock<'a>(directive: &RefclockDirective, machine: &'a Detection) -> Option<&'a FoundClock> {
    let RefclockKind::Phc { device, .. } = &directive.kind else { return None };
    match device {
        PhcDevice::Path(path) => {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            machine.clocks.iter().find(|clock| clock.path == path)
        }
        PhcDevice::Name(name) => machine.clocks.iter().find(|clock| clock.name.replace(' ', "_") == name.replace(' ', "_")),
    }
}

fn device(directive: &RefclockDirective, machine: &Detection) -> Box<dyn Refclock> {
    match &directive.kind {
        RefclockKind::Phc { device, .. } => {
            let name = match device {
                PhcDevice::Path(path) => path.display().to_string(),
                PhcDevice::Name(name) => name.clone(),
            };
            let samples = found_clock(directive, machine).map_or(5, |clock| clock.kind.samples());
            Box::new(ptp::Ptp::new(ptp::Options { samples, ..ptp::Options::new(name) }))
        }
        RefclockKind::Kvm => Box::new(KvmClock::new()),
        RefclockKind::Vmclock { device } => Box::new(vmclock::Vmclock::new(vmclock::Options { path: PathBuf::from(device) })),
    }
}
