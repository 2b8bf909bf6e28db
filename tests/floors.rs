//! The house stands: rooms use only lower floors, and nothing below the waterline touches the world.

use std::fs;
use std::path::{Path, PathBuf};

/// Every room with its floor, as in `docs/architecture.md`.
const FLOORS: [(&str, u8); 16] = [
    ("units", 1),
    ("wire", 2),
    ("config", 2),
    ("core", 3),
    ("ntp", 4),
    ("trace", 4),
    ("agent", 5),
    ("sys", 6),
    ("clock", 7),
    ("refclock", 7),
    ("platform", 7),
    ("sim", 8),
    ("doctor", 8),
    ("run", 8),
    ("cli", 9),
    ("lib", 10),
];

/// The highest floor below the waterline.
const WATERLINE: u8 = 5;

/// What no line below the waterline may say.
const DRY: [&str; 14] = [
    "tokio::",
    "libc::",
    "nix::",
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::io::",
    "std::process",
    "std::thread",
    "UdpSocket",
    "TcpStream",
    "UnixStream",
    "tracing::",
    "OsRng",
];

/// Source files with their room; tests beside the code may use what they like.
fn sources() -> Vec<(PathBuf, String, u8)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a room can be listed") {
            let path = entry.expect("a room can be listed").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inside = path.strip_prefix(&root).expect("a file lies in the house");
                let first = inside.components().next().expect("a file has a name").as_os_str().to_string_lossy().into_owned();
                let room = first.trim_end_matches(".rs").to_owned();
                if room == "main" || is_test(&path) {
                    continue;
                }
                let floor = FLOORS.iter().find(|f| f.0 == room).unwrap_or_else(|| panic!("{room} has no floor: name it in FLOORS")).1;
                found.push((path, room, floor));
            }
        }
    }
    assert!(found.len() > 50, "found only {} files", found.len());
    found
}

fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == "tests.rs") || path.components().any(|c| c.as_os_str() == "tests")
}

/// The code lines before the unit tests, comments left out, numbered from one.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("a file can be read");
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().enumerate().map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default().to_owned())).collect()
}

/// The rooms that a line names by `crate::room`, grouped imports included.
fn rooms_named(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        .map(|(at, prefix)| line[at + prefix.len()..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>())
        .collect()
}

#[test]
fn rooms_use_only_lower_floors() {
    let mut wrong = Vec::new();
    for (path, room, floor) in sources() {
        for (number, line) in code(&path) {
            assert!(!line.contains("crate::{"), "{}:{number}: name one room a line, so that its floor can be seen", path.display());
            for named in rooms_named(&line) {
                let Some(&(_, other)) = FLOORS.iter().find(|f| f.0 == named) else { continue };
                if named != room && other >= floor {
                    wrong.push(format!("{}:{number}: {room} (floor {floor}) uses {named} (floor {other})", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn below_the_waterline_all_is_dry() {
    let mut wrong = Vec::new();
    for (path, room, floor) in sources().into_iter().filter(|s| s.2 <= WATERLINE) {
        for (number, line) in code(&path) {
            for word in DRY.iter().filter(|w| line.contains(**w)) {
                wrong.push(format!("{}:{number}: {room} (floor {floor}) says {word}", path.display()));
            }
            if line.contains(" async ") || line.contains("async fn") {
                wrong.push(format!("{}:{number}: {room} says async", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_only_tokio_is_in_run_and_the_only_unsafe_in_sys() {
    let mut wrong = Vec::new();
    for (path, room, _) in sources() {
        for (number, line) in code(&path) {
            if room != "run" && (line.contains("tokio::") || line.contains("async fn")) {
                wrong.push(format!("{}:{number}: tokio outside run", path.display()));
            }
            let fences = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
            if room != "sys" && fences.iter().any(|f| line.contains(f)) {
                wrong.push(format!("{}:{number}: unsafe outside sys", path.display()));
            }
            let counters = ["_rdtsc", "rdtscp", "cntvct"];
            if !path.ends_with("sys/counter.rs") && counters.iter().any(|c| line.contains(c)) {
                wrong.push(format!("{}:{number}: the CPU counter is read in sys/counter.rs alone", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_its_job_and_stays_readable() {
    let mut wrong = Vec::new();
    for (path, ..) in sources() {
        let text = fs::read_to_string(&path).expect("a file can be read");
        if !text.starts_with("//!") {
            wrong.push(format!("{}: begins without //! and its job", path.display()));
        }
        let lines = code(&path).iter().filter(|(_, line)| !line.trim().is_empty()).count();
        if lines > 620 {
            wrong.push(format!("{}: {lines} lines of code in one room", path.display()));
        }
        for word in ["todo!(", "unimplemented!(", "FIXME", "XXX"] {
            if text.contains(word) {
                wrong.push(format!("{}: says {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn banned_names_name_nothing() {
    let mut wrong = Vec::new();
    for (path, ..) in sources() {
        for (number, line) in code(&path) {
            for word in ["Manager", "Handler", "Wrapper", "Controller", "Helper", "Util"] {
                let declares = ["struct ", "enum ", "trait ", "type "].iter().any(|k| line.contains(k));
                if declares && line.contains(word) {
                    wrong.push(format!("{}:{number}: {word} says nothing", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
