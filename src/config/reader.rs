//! Goes through files line by line, follows inclusions, and gathers every diagnostic.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directives::{Inclusion, Treatment, find, guess, source};
use super::glob;
use super::line::{Line, Parsed, Problem, quoted};
use super::{Config, Diagnostic, ExplainedLine, Files, LeapSecondMode, Origin, Severity};

/// How deep files may include files.
const MAX_DEPTH: usize = 10;

/// How many files one configuration may read: far more than anybody needs, and an end to mistakes.
const MAX_FILES: usize = 256;

/// What a file may say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Every directive.
    All,
    /// `server`, `pool` and `peer` only.
    Sources,
}

/// A configuration in the making.
pub(super) struct Reader<'f> {
    files: &'f dyn Files,
    config: Config,
    findings: Vec<Diagnostic>,
    /// The files being read just now, outermost first.
    open: Vec<PathBuf>,
    files_read: usize,
    /// The file last found to look like ntp.conf, so that it is said once.
    ntp_conf: Option<Arc<str>>,
}

impl<'f> Reader<'f> {
    pub(super) fn new(files: &'f dyn Files) -> Self {
        Self { files, config: Config::default(), findings: Vec::new(), open: Vec::new(), files_read: 0, ntp_conf: None }
    }

    /// The configuration if nothing is wrong with it.
    pub(super) fn finish(mut self) -> Result<Config, Vec<Diagnostic>> {
        if self.config.log_dir.is_none() {
            self.logs_go_nowhere();
        }
        if self.config.leap_second_mode != LeapSecondMode::Slew {
            self.leaps_are_not_slewed();
        }
        if self.findings.is_empty() { Ok(self.config) } else { Err(self.findings) }
    }

    /// Reads the first file.
    pub(super) fn main_file(&mut self, path: &Path) {
        let name: Arc<str> = Arc::from(path.to_string_lossy());
        match self.files.read(path) {
            Ok(text) => {
                self.open.push(path.to_owned());
                self.text(&name, &text, Scope::All);
                self.open.pop();
            }
            Err(reason) => {
                let message = format!("cannot be read: {reason}; check the path and who may read it");
                self.error(Origin { file: name, line: 0, column: 0 }, message);
            }
        }
    }

    /// Reads directives that stand on the command line, one an argument.
    pub(super) fn arguments(&mut self, directives: &[String]) {
        let name: Arc<str> = Arc::from("command line");
        for (index, text) in directives.iter().enumerate() {
            self.line(&name, index + 1, text, Scope::All);
        }
    }

    /// Reads the sources in directories, as one `sourcedir` line does.
    pub(super) fn source_dirs(&mut self, dirs: &[PathBuf]) {
        match self.in_dirs(dirs, Inclusion::Sourcedir) {
            Ok(found) => {
                for path in found {
                    let origin = Origin { file: Arc::from(path.to_string_lossy()), line: 0, column: 0 };
                    self.included(&origin, &path, Scope::Sources);
                }
            }
            Err((dir, reason)) => {
                let file = Arc::from(dir.to_string_lossy());
                self.error(Origin { file, line: 0, column: 0 }, format!("cannot be listed: {reason}; check who may read it"));
            }
        }
    }

    fn text(&mut self, name: &Arc<str>, text: &str, scope: Scope) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            self.line(name, index + 1, line, scope);
        }
    }

    fn line(&mut self, name: &Arc<str>, number: usize, text: &str, scope: Scope) {
        let Some(mut line) = Line::split(name, number, text) else { return };
        let Some(word) = line.next() else { return };
        let keyword = word.keyword();
        let treatment = find(&keyword);
        let is_source = matches!(treatment, Some(Treatment::Source(_))) || keyword == "peer";
        if scope == Scope::Sources && treatment.is_some() && !is_source {
            let message =
                format!("{} does not belong here: a file of sources has only `server`, `pool` and `peer` lines", quoted(word.text));
            self.error(line.origin(), message);
            return;
        }
        let mut inclusion = None;
        let parsed = match treatment {
            Some(Treatment::Served(parse)) => parse(&mut line, &mut self.config),
            Some(Treatment::Source(kind)) => source(&mut line, &mut self.config, kind),
            Some(Treatment::Inclusion(kind)) => self.inclusion(&mut line, kind).map(|(files, meaning)| {
                inclusion = Some((kind, files));
                meaning
            }),
            Some(Treatment::Unserved(without)) => {
                line.note_unserved(format!("`{keyword}` ({without})"));
                Ok(format!("not served yet: {without}"))
            }
            Some(Treatment::Ntpd(advice)) => {
                self.looks_like_ntp_conf(&line);
                Err(word.problem(format!("`{keyword}` is a directive of ntpd, not of chrony: {advice}")))
            }
            None => Err(word.problem(format!("unknown directive {}{}", quoted(word.text), guess(&keyword)))),
        };
        self.settle(&line, parsed);
        if let Some((kind, files)) = inclusion {
            let scope = if kind == Inclusion::Sourcedir { Scope::Sources } else { scope };
            for path in files {
                self.included(&line.origin(), &path, scope);
            }
        }
    }

    /// Takes over what was found in a line: problems, or its meaning and warning.
    fn settle(&mut self, line: &Line<'_>, parsed: Parsed<String>) {
        let (meaning, fatal) = match parsed {
            Ok(meaning) => (Some(meaning), None),
            Err(problem) => (None, Some(problem)),
        };
        for Problem { column, message } in line.problems().iter().chain(&fatal) {
            self.error(line.origin_at(*column), message.clone());
        }
        if let (Some(meaning), []) = (meaning, line.problems()) {
            self.config.warnings.extend(line.warning());
            self.config.lines.push(ExplainedLine { origin: line.origin(), text: line.text().to_owned(), meaning });
        }
    }

    /// The files that an inclusion names, and the line's meaning.
    fn inclusion(&mut self, line: &mut Line<'_>, kind: Inclusion) -> Parsed<(Vec<PathBuf>, String)> {
        if kind == Inclusion::Include {
            let word = line.required("include", "a file or a pattern such as `/etc/chrony.d/*.conf`")?;
            line.end()?;
            let files = glob::expand(word.text, self.files).map_err(|reason| word.problem(reason))?;
            return Ok((files, format!("read the directives in {}", word.text)));
        }
        let mut words = vec![line.required(line.directive(), "a directory")?];
        while let Some(word) = line.next() {
            words.push(word);
        }
        let names: Vec<&str> = words.iter().map(|word| word.text).collect();
        let dirs: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        let files = self.in_dirs(&dirs, kind).map_err(|(dir, reason)| {
            let column = words.iter().find(|word| Path::new(word.text) == dir).map_or(1, |word| word.column);
            Problem { column, message: format!("{} cannot be listed: {reason}; check who may read it", quoted(&dir.to_string_lossy())) }
        })?;
        let what = if kind == Inclusion::Sourcedir { "sources" } else { "directives" };
        let meaning = format!("read the {what} in the *{} files of {} at the start ({} now)", kind.suffix(), names.join(", "), files.len());
        if kind == Inclusion::Sourcedir {
            self.config.source_dirs.push(dirs);
        }
        Ok((files, meaning))
    }

    /// Files of several directories in the order of their names; of one name, the first directory's.
    /// Fails with the directory that cannot be listed and why.
    fn in_dirs(&self, dirs: &[PathBuf], kind: Inclusion) -> Result<Vec<PathBuf>, (PathBuf, String)> {
        let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for dir in dirs {
            for path in self.files.list(dir, kind.suffix()).map_err(|reason| (dir.clone(), reason))? {
                if let Some(name) = path.file_name() {
                    by_name.entry(name.to_owned()).or_insert(path);
                }
            }
        }
        Ok(by_name.into_values().collect())
    }

    /// Reads a file that is included at `origin`.
    fn included(&mut self, origin: &Origin, path: &Path, scope: Scope) {
        let shown = quoted(&path.to_string_lossy());
        self.files_read += 1;
        let refusal = if self.open.iter().any(|open| open == path) {
            Some(format!("{shown} includes itself: remove this line"))
        } else if self.open.len() > MAX_DEPTH {
            Some(format!("{shown} is not read: files include each other more than {MAX_DEPTH} deep"))
        } else if self.files_read == MAX_FILES {
            Some(format!("{shown} is not read: more than {MAX_FILES} files are included"))
        } else {
            None
        };
        if let Some(message) = refusal {
            self.error(origin.clone(), message);
            return;
        }
        if self.files_read > MAX_FILES {
            return;
        }
        match self.files.read(path) {
            Ok(text) => {
                self.open.push(path.to_owned());
                self.text(&Arc::from(path.to_string_lossy()), &text, scope);
                self.open.pop();
            }
            Err(reason) => self.error(origin.clone(), format!("{shown} cannot be read: {reason}; check the path and who may read it")),
        }
    }

    /// `log` lines have no effect without `logdir`: says so.
    fn logs_go_nowhere(&mut self) {
        let Config { lines, warnings, .. } = &mut self.config;
        let names_logs = |text: &str| {
            let mut words = text.split_whitespace();
            words.next().is_some_and(|word| word.eq_ignore_ascii_case("log")) && words.next().is_some()
        };
        for line in lines.iter_mut().filter(|line| names_logs(&line.text)) {
            line.meaning = "write no logs, as there is no `logdir`".to_owned();
            // One warning a line, and this one says the most.
            warnings.retain(|warning| warning.origin != line.origin);
            let message = "`log` has no effect without `logdir`: add `logdir /var/log/paraclock`".to_owned();
            warnings.push(Diagnostic { origin: line.origin.clone(), severity: Severity::Warning, message });
        }
    }

    /// `smoothtime` hides leap seconds only where they are slewed: says so.
    fn leaps_are_not_slewed(&mut self) {
        let Config { lines, warnings, .. } = &mut self.config;
        let named = |text: &str| text.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("smoothtime"));
        for line in lines.iter().filter(|line| named(&line.text)) {
            let message =
                "leap seconds are still announced to those who are served, who make them at once: add `leapsecmode slew`".to_owned();
            warnings.push(Diagnostic { origin: line.origin.clone(), severity: Severity::Warning, message });
        }
    }

    /// Says once for a file that it was written for another program.
    fn looks_like_ntp_conf(&mut self, line: &Line<'_>) {
        let origin = Origin { column: 0, line: 0, ..line.origin() };
        if self.ntp_conf.as_ref() != Some(&origin.file) {
            self.ntp_conf = Some(Arc::clone(&origin.file));
            let message = "this looks like an ntp.conf, written for ntpd: \
                           `server` and `driftfile` lines can stay, the lines named here need another form";
            self.findings.push(Diagnostic { origin, severity: Severity::Note, message: message.to_owned() });
        }
    }

    fn error(&mut self, origin: Origin, message: String) {
        self.findings.push(Diagnostic { origin, severity: Severity::Error, message });
    }
}

impl Inclusion {
    /// How the names of the files end.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Include => "",
            Self::Confdir => ".conf",
            Self::Sourcedir => ".sources",
        }
    }
}
