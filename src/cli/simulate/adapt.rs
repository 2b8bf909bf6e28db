//! A user's own configuration in a scenario: whose server stands for whose.

use std::path::Path;

use crate::config::{self, Config, ServerDirective, ServerKind};
use crate::run::config_files::ConfigFiles;
use crate::sim::Experiment;

/// Reads the user's configuration.
pub(super) fn read(path: &Path) -> Result<Config, Vec<String>> {
    let config = config::load(path, &ConfigFiles).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if config.servers.is_empty() && config.refclocks.is_empty() {
        return Err(vec![format!("{}: it names no source: add a server, pool or refclock line", path.display())]);
    }
    Ok(config)
}

/// Puts the configuration into the scenario's first guest. Its servers stand for the scenario's, in order, its
/// refclocks for the scenario's clocks. Says what stands for what, and what is left out.
pub(super) fn adapt(config: &Config, experiment: &mut Experiment) -> Vec<String> {
    let mut notes = Vec::new();
    let servers = experiment.scenario.servers.len();
    let Some(guest) = experiment.scenario.guests.first_mut() else { return notes };
    let mut adapted = config.clone();
    adapted.servers.clear();
    for line in &config.servers {
        let wanted = if line.is_pool() { usize::from(line.max_sources) } else { 1 };
        let first = adapted.servers.len();
        let until = (first + wanted).min(servers);
        let origin = format!("{} ({}:{})", line.name, line.origin.file, line.origin.line);
        if first == until {
            notes.push(format!("{origin} is left out: the scenario has no more than {servers} servers"));
            continue;
        }
        let stand = (first..until).map(|i| (i + 1).to_string()).collect::<Vec<_>>().join(", ");
        notes.push(format!("{origin} is the scenario's server {stand}"));
        for i in first..until {
            let name = format!("10.0.0.{}", i + 1);
            // The scenario's servers have no keys.
            adapted.servers.push(ServerDirective { kind: ServerKind::Server, name, port: 123, key: None, ..line.clone() });
        }
    }
    let clocks = guest.phcs.len();
    for (i, line) in config.refclocks.iter().enumerate() {
        let origin = format!("refclock ({}:{})", line.origin.file, line.origin.line);
        notes.push(if i < clocks {
            format!("{origin} is the scenario's clock {}", i + 1)
        } else {
            format!("{origin} is left out: the scenario has {clocks} clocks")
        });
    }
    adapted.refclocks.truncate(clocks);
    guest.config = adapted;
    // It is no longer chronyd's configuration.
    experiment.chronyd = None;
    notes
}
