//! `key` and `authselectmode`: which servers are authenticated, and what that means for the selection.

use crate::config::{AuthSelectMode, SelectOptions, ServerDirective};
use crate::ntp::{Key, Keys};
use crate::units::Timescale;

#[derive(Debug)]
pub(super) struct Authentication {
    keys: Keys,
    mode: AuthSelectMode,
    /// Whether there are servers with authentication, and without; those with `noselect` do not count.
    some: (bool, bool),
}

impl Authentication {
    pub(super) fn new(keys: Keys, mode: AuthSelectMode, servers: &[(ServerDirective, Timescale)]) -> Self {
        let counting = || servers.iter().map(|(server, _)| server).filter(|s| !s.select.noselect);
        let some = (counting().any(|s| s.key.is_some()), counting().any(|s| s.key.is_none()));
        Self { keys, mode, some }
    }

    /// The key of a server that has one. A key that is not there signs nothing and believes nothing: such a configuration does not start.
    pub(super) fn key(&self, server: &ServerDirective) -> Option<Key> {
        server.key.and_then(|id| self.keys.get(id)).cloned()
    }

    /// A server's options as they are used.
    pub(super) fn of_server(&self, server: &ServerDirective) -> SelectOptions {
        let options = server.select;
        if options.noselect {
            return options;
        }
        let left_out = SelectOptions { noselect: true, ..options };
        match (self.mode, server.key.is_some()) {
            (AuthSelectMode::Require, false) => left_out,
            (AuthSelectMode::Prefer, false) if self.some.0 => left_out,
            (AuthSelectMode::Mix, true) => self.relied_on(options),
            _ => options,
        }
    }

    /// A refclock's options as they are used.
    pub(super) fn of_refclock(&self, options: SelectOptions) -> SelectOptions {
        if self.mode == AuthSelectMode::Mix && !options.noselect { self.relied_on(options) } else { options }
    }

    fn relied_on(&self, options: SelectOptions) -> SelectOptions {
        if self.some == (true, true) { SelectOptions { require: true, trust: true, ..options } } else { options }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks of a server with a key, one without, one with `noselect`, and a refclock: `n`oselect, `r`equire and `t`rust.
    fn marks(mode: AuthSelectMode, lines: &[&str]) -> Vec<String> {
        struct NoFiles;
        impl crate::config::Files for NoFiles {
            fn read(&self, _: &std::path::Path) -> Result<String, String> {
                Err("none".to_owned())
            }
            fn list(&self, _: &std::path::Path, _: &str) -> Result<Vec<std::path::PathBuf>, String> {
                Ok(Vec::new())
            }
        }
        let lines: Vec<String> = lines.iter().map(|&l| l.to_owned()).collect();
        let servers: Vec<_> =
            crate::config::parse_directives(&lines, &NoFiles).unwrap().servers.into_iter().map(|s| (s, Timescale::Utc)).collect();
        let authentication = Authentication::new(Keys::default(), mode, &servers);
        let options = servers.iter().map(|(s, _)| authentication.of_server(s));
        let mark =
            |o: SelectOptions| [(o.noselect, 'n'), (o.require, 'r'), (o.trust, 't')].into_iter().filter(|m| m.0).map(|m| m.1).collect();
        options.chain([authentication.of_refclock(SelectOptions::default())]).map(mark).collect()
    }

    #[test]
    fn what_authentication_means() {
        use AuthSelectMode::{Ignore, Mix, Prefer, Require};
        let both = ["server 192.0.2.1 key 1", "server 192.0.2.2", "server 192.0.2.3 key 1 noselect"];
        assert_eq!(marks(Require, &both), ["", "n", "n", ""]);
        assert_eq!(marks(Prefer, &both), ["", "n", "n", ""]);
        assert_eq!(marks(Mix, &both), ["rt", "", "n", "rt"]);
        assert_eq!(marks(Ignore, &both), ["", "", "n", ""]);
        let plain = ["server 192.0.2.2", "server 192.0.2.3 key 1 noselect"];
        assert_eq!(marks(Require, &plain), ["n", "n", ""]);
        assert_eq!(marks(Prefer, &plain), ["", "n", ""]);
        assert_eq!(marks(Mix, &plain), ["", "n", ""]);
    }
}
