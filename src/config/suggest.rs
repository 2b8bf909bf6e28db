//! The nearest known name to a misspelt one.

/// `; did you mean ...?`, or nothing if no name is near.
pub(super) fn did_you_mean<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    nearest(&word.to_ascii_lowercase(), names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The name with the fewest changes, if they are few for its length.
fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = word.chars().count();
    // A misspelling keeps most of its letters; a long word is none of ours.
    let limit = match length {
        0..=4 => 1,
        5..=6 => 2,
        7..=40 => length / 3,
        _ => return None,
    };
    names.map(|name| (distance(word, name), name)).min_by_key(|(far, _)| *far).filter(|(far, _)| *far <= limit).map(|(_, name)| name)
}

/// Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("minpoll", "minpoll"), 0);
        assert_eq!(distance("mnipoll", "minpoll"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn near_names_only() {
        let names = ["minpoll", "maxpoll", "iburst"];
        assert_eq!(nearest("minpol", names.into_iter()), Some("minpoll"));
        assert_eq!(nearest("ibrust", names.into_iter()), Some("iburst"));
        assert_eq!(nearest("autokey", names.into_iter()), None);
        assert_eq!(did_you_mean("MAXPOL", names.into_iter()), "; did you mean `maxpoll`?");
    }
}
