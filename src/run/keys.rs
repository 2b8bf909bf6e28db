//! Reads the key file, and says what is wrong with it before anything begins.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::config::{Config, Diagnostic, Severity, parse_keys};
use crate::ntp::Keys;

/// The keys of `keyfile`; an error if a line of it is wrong, or if a server asks for a key that is not in it.
pub(super) fn read(config: &Config) -> Result<Keys, Vec<Diagnostic>> {
    let keys = match &config.key_file {
        None => Keys::default(),
        Some((origin, path)) => {
            let text = fs::read_to_string(path).unwrap_or_else(|error| {
                // Distributions name a file that need not be there.
                tracing::warn!("{origin}: {}: {error}; there are no keys", path.display());
                String::new()
            });
            if let Some(mode) = fs::metadata(path).ok().map(|data| data.permissions().mode()).filter(|mode| mode & 0o007 != 0) {
                let file = path.display();
                tracing::warn!("{file}: everybody on this machine can use these keys (mode {:04o}): chmod 0640 {file}", mode & 0o7777);
            }
            let (keys, warnings) = parse_keys(&path.display().to_string(), &text)?;
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            Keys::new(&keys)
        }
    };
    let missing = config.servers.iter().filter_map(|server| server.key.filter(|&id| keys.get(id).is_none()).map(|id| (server, id)));
    let wrong: Vec<Diagnostic> = missing
        .map(|(server, id)| {
            let place = config
                .key_file
                .as_ref()
                .map_or_else(|| "there is no `keyfile`".to_owned(), |(_, path)| format!("it is not in {}", path.display()));
            let message = format!("key {id} of {} is not known: {place}; write it there, or leave `key` out", server.name);
            Diagnostic { origin: server.origin.clone(), severity: Severity::Error, message }
        })
        .collect();
    if wrong.is_empty() { Ok(keys) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_directives;
    use crate::run::config_files::ConfigFiles;

    fn read_with(keys: Option<&str>, line: &str) -> Result<Keys, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        if let Some(keys) = keys {
            fs::write(&path, keys).unwrap();
        }
        let lines = [format!("keyfile {}", path.display()), line.to_owned()];
        read(&parse_directives(&lines, &ConfigFiles).unwrap()).map_err(|wrong| wrong[0].to_string())
    }

    #[test]
    fn keys_are_read_and_missing_ones_named() {
        let good = read_with(Some("7 SHA256 ASCII:0123456789abcdef"), "server 192.0.2.1 key 7").unwrap();
        assert!(good.get(7).is_some());
        let missing = read_with(Some("7 SHA256 ASCII:0123456789abcdef"), "server 192.0.2.1 key 8").unwrap_err();
        assert!(missing.starts_with("command line:2:1: error: key 8 of 192.0.2.1 is not known"), "{missing}");
        assert!(read_with(None, "allow").is_ok(), "nobody needs a key");
        assert!(read_with(None, "server 192.0.2.1 key 8").is_err());
        let wrong = read_with(Some("1 AES128 ASCII:tooshort"), "allow").unwrap_err();
        assert!(wrong.contains("keys:1: error: key 1 has 8 bytes"), "{wrong}");
        let none = read(&parse_directives(&["server 192.0.2.1 key 1".to_owned()], &ConfigFiles).unwrap()).unwrap_err();
        assert!(none[0].message.contains("there is no `keyfile`"));
    }
}
