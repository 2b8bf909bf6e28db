//! Every name in the dashboard, the alerts and their tests must be on the metrics page:
//! metrics, and the labels by which they are picked. The README's tables of metrics must
//! say what the page says, no less and no more.
//!
//! The page is rendered from `tests/data/report.json`, which has something of everything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Words of PromQL that are no metric's name.
const KEYWORDS: [&str; 14] =
    ["and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "inf", "nan", "atan2"];

/// Words after which a list of labels follows.
const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The functions that our expressions use; a new one is added here on purpose.
const FUNCTIONS: [&str; 6] = ["changes", "count", "increase", "label_values", "rate", "sum"];

/// What Prometheus itself adds to every series.
const SCRAPE_LABELS: [&str; 2] = ["job", "instance"];

/// Metric names and their labels.
type Names = BTreeMap<String, BTreeSet<String>>;

fn page() -> String {
    let report = serde_json::from_str(include_str!("data/report.json")).expect("the sample is a report");
    let page = paraclock::run::metrics::render(&report, true).expect("names are valid");
    // For promtool, see tests/promtool.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/metrics.txt"), &page).expect("the target directory is writable");
    page
}

/// The names on the page.
fn published() -> Names {
    let page = page();
    let mut names = Names::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let used = used(line.rsplit_once(' ').expect("a series has a value").0);
        for (name, labels) in used {
            names.entry(name).or_default().extend(labels);
        }
    }
    names.insert("up".into(), BTreeSet::new());
    names
}

/// The page's metrics as rows of the README: name, type, labels, meaning.
fn rows() -> BTreeSet<String> {
    let page = page();
    let published = published();
    let mut rows = BTreeSet::new();
    for (name, help) in page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ')) {
        let declared = format!("# TYPE {name} ");
        let kind = page.lines().find_map(|line| line.strip_prefix(declared.as_str())).expect("a metric has a type");
        let labels: Vec<String> = published[name].iter().map(|label| format!("`{label}`")).collect();
        rows.insert(format!("| `{name}` | {kind} | {} | {help} |", labels.join(", ")));
    }
    rows
}

/// A word, a number, a string or a sign of PromQL.
#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Sign(char),
    Other,
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => 2 + rest[1..].find(first).unwrap_or_else(|| panic!("open string in {expression}")),
            // A range, with Grafana's variables in it.
            '[' => 1 + rest.find(']').unwrap_or_else(|| panic!("open range in {expression}")),
            c if c.is_ascii_alphanumeric() || c == '_' => {
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))).unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(match first {
            c if c.is_ascii_alphabetic() || c == '_' => Token::Word(token.to_owned()),
            c if token.len() == 1 && "(){},=~!".contains(c) => Token::Sign(c),
            _ => Token::Other,
        });
        rest = after.trim_start();
    }
    tokens
}

/// The metrics in an expression, each with the labels by which it is picked. Grouping labels are
/// returned under the empty name.
fn used(expression: &str) -> Names {
    let tokens = tokens(expression);
    let mut names = Names::new();
    let mut i = 0;
    while i < tokens.len() {
        let Token::Word(word) = &tokens[i] else {
            assert!(tokens[i] != Token::Sign('{'), "a selector without a name in {expression}");
            i += 1;
            continue;
        };
        i += 1;
        let next = tokens.get(i);
        if LABEL_LISTS.contains(&word.as_str()) && next == Some(&Token::Sign('(')) {
            let (labels, end) = words_until(&tokens, i, ')');
            names.entry(String::new()).or_default().extend(labels);
            i = end;
        } else if word == "label_values" {
            // label_values(metric, label)
            let (words, end) = words_until(&tokens, i, ')');
            let [metric, label] = words.as_slice() else { panic!("{expression}") };
            names.entry(metric.clone()).or_default().insert(label.clone());
            i = end;
        } else if next == Some(&Token::Sign('(')) || is_grouping(next) {
            assert!(FUNCTIONS.contains(&word.as_str()), "{word} is no function we know: {expression}");
        } else if next == Some(&Token::Sign('{')) {
            let (labels, end) = words_until(&tokens, i, '}');
            names.entry(word.clone()).or_default().extend(labels);
            i = end;
        } else if !KEYWORDS.contains(&word.to_lowercase().as_str()) {
            names.entry(word.clone()).or_default();
        }
    }
    names
}

/// True for the `by` or `without` that may follow an aggregation.
fn is_grouping(token: Option<&Token>) -> bool {
    matches!(token, Some(Token::Word(word)) if word == "by" || word == "without")
}

/// The words from `start` to the closing sign, and the place after it.
fn words_until(tokens: &[Token], start: usize, close: char) -> (Vec<String>, usize) {
    let length = tokens[start..].iter().position(|token| *token == Token::Sign(close)).expect("brackets close");
    let words = tokens[start..start + length].iter().filter_map(|token| match token {
        Token::Word(word) => Some(word.clone()),
        _ => None,
    });
    (words.collect(), start + length + 1)
}

/// Panics unless everything the expression uses is published.
fn check(published: &Names, place: &str, expression: &str) {
    let used = used(expression);
    let metrics: Vec<&String> = used.keys().filter(|name| !name.is_empty()).collect();
    assert!(!metrics.is_empty(), "{place}: no metric in {expression}");
    for name in &metrics {
        assert!(published.contains_key(*name), "{place}: {name} is not published: {expression}");
    }
    for (name, labels) in &used {
        let known: BTreeSet<&str> = match published.get(name) {
            Some(known) => known.iter().map(String::as_str).collect(),
            None => metrics.iter().flat_map(|metric| &published[*metric]).map(String::as_str).collect(),
        };
        for label in labels {
            let there = known.contains(label.as_str()) || SCRAPE_LABELS.contains(&label.as_str());
            assert!(there, "{place}: {name} has no label {label}: {expression}");
        }
    }
}

/// Every expression in a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" || key == "definition" => found.push(text.clone()),
                    Value::String(text) if key == "query" && text.contains('(') => found.push(text.clone()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// The values of `key` in a YAML file of ours: on the line, or folded (`>-`) and indented below.
fn yaml_values(text: &str, key: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().collect();
    let mut values = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let Some(value) = line.trim_start().trim_start_matches("- ").strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")) else {
            continue;
        };
        let below = lines[n + 1..].iter().take_while(|next| indent(next) > indent(line)).copied();
        values.push(if value == ">-" { below.collect::<Vec<_>>().join(" ") } else { value.trim_matches('\'').to_owned() });
    }
    values
}

#[test]
fn the_dashboard_uses_published_names() {
    let dashboard: Value = serde_json::from_str(include_str!("../dashboards/paraclock.json")).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 30, "only {} expressions found", found.len());
    let published = published();
    for expression in found {
        check(&published, "paraclock.json", &expression);
    }
}

#[test]
fn the_alerts_use_published_names() {
    let published = published();
    for (place, text, key) in [
        ("alerts.yml", include_str!("../dashboards/alerts.yml"), "expr"),
        ("alerts_test.yml", include_str!("../dashboards/alerts_test.yml"), "series"),
    ] {
        let values = yaml_values(text, key);
        assert!(values.len() >= 7, "{place}: only {values:?}");
        for value in values {
            check(&published, place, &value);
        }
    }
}

#[test]
fn the_readme_lists_every_metric() {
    let rows = rows();
    assert!(rows.len() > 60, "only {} metrics on the page", rows.len());
    let told: BTreeSet<String> = include_str!("../README.md")
        .lines()
        .filter(|line| line.starts_with("| `paraclock_") || line.starts_with("| `chrony_"))
        .map(str::to_owned)
        .collect();
    let list = |from: &BTreeSet<String>, without: &BTreeSet<String>| from.difference(without).cloned().collect::<Vec<_>>().join("\n");
    let (missing, stale) = (list(&rows, &told), list(&told, &rows));
    assert!(missing.is_empty() && stale.is_empty(), "README.md lacks these rows:\n{missing}\nand has these in vain:\n{stale}");
}

#[test]
fn panels_have_titles_and_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(include_str!("../dashboards/paraclock.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} overlaps at {cell:?}", panel["title"]);
        }
    }
}

#[test]
fn the_parser_is_strict() {
    let published = published();
    check(&published, "here", "sum by (instance, reason) (rate(paraclock_source_rejected_total{reason=~\"a(b){c}\"}[5m])) > 0 offset 10m");
    for (wrong, complaint) in [
        ("paraclock_no_such_metric", "is not published"),
        ("rate(paraclock_wakeups[5m])", "is not published"),
        ("paraclock_status{state=\"synchronised\"}", "has no label state"),
        ("sum by (nothing) (paraclock_stratum)", "has no label nothing"),
        ("frobnicate(paraclock_stratum)", "is no function"),
        ("{job=\"x\"}", "a selector without a name"),
        ("1 + 1", "no metric"),
    ] {
        let panic = std::panic::catch_unwind(|| check(&published, "here", wrong)).expect_err(wrong);
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(complaint), "{wrong}: {message}");
    }
}
