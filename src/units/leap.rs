//! The leap indicator of RFC 5905 section 7.3.

use serde::{Deserialize, Serialize};

/// What the last minute of the current day will be, or that the clock is not synchronised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leap {
    /// An ordinary day.
    #[default]
    Normal,
    /// 23:59:60 follows 23:59:59.
    Insert,
    /// 23:59:59 is left out.
    Delete,
    /// Not synchronised.
    Unsynchronised,
}

impl Leap {
    /// From the two bits of the packet.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Normal,
            1 => Self::Insert,
            2 => Self::Delete,
            _ => Self::Unsynchronised,
        }
    }

    /// The two bits of the packet.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Insert => 1,
            Self::Delete => 2,
            Self::Unsynchronised => 3,
        }
    }

    /// The words that `chronyc tracking` prints.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Insert => "Insert second",
            Self::Delete => "Delete second",
            Self::Unsynchronised => "Not synchronised",
        }
    }
}
