//! Patterns of `include`: `*` and `?` in the last part of a path.

use std::path::{Path, PathBuf};

use super::Files;
use super::line::quoted;

/// The files a pattern stands for, sorted. A path without wildcards stands for itself;
/// a pattern that nothing matches stands for nothing.
pub(super) fn expand(pattern: &str, files: &dyn Files) -> Result<Vec<PathBuf>, String> {
    if !has_wildcard(pattern) {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let (dir, name) = match pattern.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((dir, name)) => (dir, name),
        None => (".", pattern),
    };
    if has_wildcard(dir) {
        return Err(format!("`*` and `?` stand for files only, not for directories as in {}: write a line for each", quoted(dir)));
    }
    let listed = files.list(Path::new(dir), "");
    let mut found = listed.map_err(|reason| format!("{} cannot be listed: {reason}; check who may read it", quoted(dir)))?;
    found.retain(|path| {
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        // As in a shell, a leading dot is matched by a dot only.
        (name.starts_with('.') || !file.starts_with('.')) && matches(name, &file)
    });
    found.sort();
    Ok(found)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether `name` fits `pattern`; linear in the product of their lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands and how far it reached, to let it reach further.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, reached)) => {
                    star = Some((at, reached + 1));
                    p = at + 1;
                    n = reached + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", true),
            ("*.conf", "a.conf.bak", false),
            ("??-*.conf", "10-a.conf", true),
            ("??-*.conf", "1-a.conf", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
