//! Which count of seconds a source hands out.

use serde::{Deserialize, Serialize};

/// The timescale of a source. Sources of different known scales are never combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timescale {
    /// UTC with leap seconds as they come.
    Utc,
    /// International atomic time; the TAI offset converts it.
    Tai,
    /// UTC with leap seconds spread over hours.
    Smeared,
    /// Whatever the host keeps (`ptp_kvm`): not known to be UTC.
    #[default]
    Unknown,
}

impl Timescale {
    /// Whether two sources may vote together.
    #[must_use]
    pub const fn combines_with(self, other: Self) -> bool {
        !matches!((self, other), (Self::Smeared, Self::Utc | Self::Tai) | (Self::Utc | Self::Tai, Self::Smeared))
    }

    /// Lower-case word for tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utc => "utc",
            Self::Tai => "tai",
            Self::Smeared => "smeared",
            Self::Unknown => "unknown",
        }
    }
}
