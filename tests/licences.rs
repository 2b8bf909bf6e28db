//! Every crate that goes into the program has a licence that `deny.toml` allows, and comes from the registry.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

/// The words in the `allow` list of `deny.toml`.
fn allowed() -> HashSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("deny.toml can be read");
    let list = text.lines().find(|line| line.starts_with("allow = [")).expect("deny.toml has an allow list");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Each part joined by AND must offer one licence that is allowed.
fn is_allowed(expression: &str, allowed: &HashSet<String>) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| allowed.contains(licence.trim())))
}

#[test]
fn licences_are_allowed_and_sources_known() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = allowed();
    let mut wrong = Vec::new();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "only {} packages", packages.len());
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            wrong.push(format!("{name}: licence {licence}"));
        }
        let source = package["source"].as_str().unwrap_or_default();
        if name != "paraclock" && !source.starts_with("registry+") {
            wrong.push(format!("{name}: comes from {source:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn expressions_are_judged_part_by_part() {
    let allowed: HashSet<String> = ["MIT".to_owned(), "Zlib".to_owned()].into();
    assert!(is_allowed("MIT OR Apache-2.0", &allowed));
    assert!(is_allowed("(MIT OR Apache-2.0) AND Zlib", &allowed));
    assert!(is_allowed("Unlicense/MIT", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0", &allowed));
    assert!(!is_allowed("GPL-2.0-only", &allowed));
}
