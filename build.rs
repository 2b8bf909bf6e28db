//! Gives the program its build date, below which it never lets a clock start.
//!
//! `SOURCE_DATE_EPOCH` wins, so that packages build reproducibly.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let stated = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    #[expect(clippy::disallowed_methods, reason = "a build script has no other clock")]
    let today = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    // A whole day, so that two builds of one day agree.
    let epoch = stated.unwrap_or(today - today % 86_400);
    println!("cargo:rustc-env=PARACLOCK_BUILD_EPOCH={epoch}");
}
