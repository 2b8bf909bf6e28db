//! `ondisruption` and `onsync`: programs to run when time breaks and when it is right again.

use std::path::PathBuf;

use super::line::{Line, Parsed, quoted};
use super::{Config, Origin};

/// When a hook runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookEvent {
    /// Time was disrupted: nobody knows it until sources agree again.
    Disruption,
    /// Time is right: for the first time, or again.
    Sync,
}

impl HookEvent {
    /// The word for it in the environment and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disruption => "disruption",
            Self::Sync => "sync",
        }
    }

    /// The directive.
    #[must_use]
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Disruption => "ondisruption",
            Self::Sync => "onsync",
        }
    }
}

/// One `ondisruption` or `onsync` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Where it stands.
    pub origin: Origin,
    /// When it runs.
    pub event: HookEvent,
    /// The program, a full path.
    pub program: PathBuf,
    /// Its arguments, as written.
    pub arguments: Vec<String>,
}

/// `ondisruption COMMAND [ARGUMENT]...`.
pub(super) fn ondisruption(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let command = hook(line, config, HookEvent::Disruption)?;
    Ok(format!("when time is disrupted, run {command}"))
}

/// `onsync COMMAND [ARGUMENT]...`.
pub(super) fn onsync(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let command = hook(line, config, HookEvent::Sync)?;
    Ok(format!("when time becomes right, at first and after each disruption or hold-over, run {command}"))
}

fn hook(line: &mut Line<'_>, config: &mut Config, event: HookEvent) -> Parsed<String> {
    let origin = line.origin();
    let program = line.required(event.directive(), "the full path of a program")?;
    if !program.text.starts_with('/') {
        let message = format!(
            "`{}` needs the full path of a program, such as /usr/local/bin/NAME, not {}: no shell and no search path is used",
            event.directive(),
            quoted(program.text)
        );
        return Err(program.problem(message));
    }
    let mut arguments = Vec::new();
    while let Some(word) = line.next() {
        arguments.push(word.text.to_owned());
    }
    let command = std::iter::once(program.text).chain(arguments.iter().map(String::as_str)).map(quoted).collect::<Vec<_>>().join(" ");
    config.hooks.push(Hook { origin, event, program: PathBuf::from(program.text), arguments });
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::{Diagnostic, Files, load};

    struct Map(BTreeMap<PathBuf, String>);

    impl Files for Map {
        fn read(&self, path: &Path) -> Result<String, String> {
            self.0.get(path).cloned().ok_or_else(|| "no such file".to_owned())
        }

        fn list(&self, _: &Path, _: &str) -> Result<Vec<PathBuf>, String> {
            Ok(Vec::new())
        }
    }

    fn read(text: &str) -> Result<Config, Vec<Diagnostic>> {
        let files = Map(BTreeMap::from([(PathBuf::from("/etc/x.conf"), text.to_owned())]));
        load(Path::new("/etc/x.conf"), &files)
    }

    #[test]
    fn lines_add_up_and_words_are_split_at_blanks_alone() {
        let config = read("ondisruption /bin/a  -x 'b c'\nONSYNC\t/bin/b\nondisruption /bin/c $HOME #x\n").unwrap();
        let found: Vec<_> = config.hooks.iter().map(|h| (h.event, h.program.to_str().unwrap(), h.arguments.join("|"))).collect();
        let expected = [
            (HookEvent::Disruption, "/bin/a", "-x|'b|c'".to_owned()),
            (HookEvent::Sync, "/bin/b", String::new()),
            (HookEvent::Disruption, "/bin/c", "$HOME|#x".to_owned()),
        ];
        assert_eq!(found, expected);
        assert_eq!(config.hooks[2].origin.line, 3);
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn a_program_without_a_full_path_is_an_error_with_its_place() {
        let errors = read("\nonsync touch /run/x\nondisruption\n").unwrap_err();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with("/etc/x.conf:2:8: ") && said[0].contains("not `touch`"), "{said:?}");
        assert!(said[1].starts_with("/etc/x.conf:3:13: ") && said[1].contains("full path of a program"), "{said:?}");
        assert_eq!(said.len(), 2);
    }
}
