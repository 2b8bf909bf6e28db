//! How a `Duration` is written as data (`#[serde(with = "...")]`): whole nanoseconds, at most 584 years.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes whole nanoseconds; more than 2^64 become 2^64 - 1.
pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
}

/// Reads whole nanoseconds.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_nanos)
}
