//! How an error that may be unknown (`Duration::MAX`) is written as data: whole nanoseconds, or none.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes whole nanoseconds, or none for `Duration::MAX`.
pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    if *value == Duration::MAX { serializer.serialize_none() } else { super::nanos::serialize(value, serializer) }
}

/// Reads whole nanoseconds, or none.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Option::<u64>::deserialize(deserializer).map(|nanos| nanos.map_or(Duration::MAX, Duration::from_nanos))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Error(#[serde(with = "super")] Duration);

    #[test]
    fn what_is_written_is_read() {
        for (value, text) in [(Duration::from_nanos(u64::MAX), "18446744073709551615"), (Duration::ZERO, "0"), (Duration::MAX, "null")] {
            assert_eq!(serde_json::to_string(&Error(value)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Error>(text).unwrap(), Error(value));
        }
        assert!(serde_json::from_str::<Error>("-1").is_err());
    }
}
