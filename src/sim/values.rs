//! The values of a scenario file: each read with its unit, and refused when it makes no sense.
//!
//! All times are in seconds and all frequencies are ratios (1e-6 is 1 ppm). What is counted is counted from one.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use toml::value::Datetime;

use crate::core::Generation;
use crate::units::{self, Civil, Offset, Ppm, ReferenceId, Stratum, Timestamp, count};

/// The longest time in a scenario, seconds: thirty years.
const LONGEST: f64 = 1e9;

fn number<'de, D: Deserializer<'de>>(from: D, fits: impl Fn(f64) -> bool, wanted: &str) -> Result<f64, D::Error> {
    let value = f64::deserialize(from).map_err(|error| D::Error::custom(format!("{error}: write {wanted}")))?;
    if value.is_finite() && fits(value) { Ok(value) } else { Err(D::Error::custom(format!("{value} cannot be: write {wanted}"))) }
}

/// A time that is not negative.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    number(from, |v| (0.0..=LONGEST).contains(&v), "seconds from 0 to 1e9")
}

/// A time that is not zero.
pub(super) fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    number(from, |v| v > 0.0 && v <= LONGEST, "seconds above 0, up to 1e9")
}

/// A time that is not negative.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    seconds(from).map(units::duration)
}

/// A time of either sign.
pub(super) fn offset<'de, D: Deserializer<'de>>(from: D) -> Result<Offset, D::Error> {
    number(from, |v| v.abs() <= LONGEST, "seconds within 1e9 of zero").map(Offset::from_seconds)
}

/// A frequency.
pub(super) fn ratio<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    number(from, |v| v.abs() <= 0.1, "a frequency as a ratio (1 ppm is 1e-6), within 0.1 of zero")
}

/// A frequency.
pub(super) fn ppm<'de, D: Deserializer<'de>>(from: D) -> Result<Ppm, D::Error> {
    ratio(from).map(Ppm::from_ratio)
}

/// One sigma of something, or a rate of change: a small number that is not negative.
pub(super) fn sigma<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    number(from, |v| (0.0..=1.0).contains(&v), "a number from 0 to 1")
}

/// A probability.
pub(super) fn probability<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    number(from, |v| (0.0..=1.0).contains(&v), "a probability from 0 to 1")
}

/// The exponent of a tail.
pub(super) fn shape<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    number(from, |v| (0.5..=100.0).contains(&v), "an exponent from 0.5 (very heavy) to 100")
}

/// The sigma of a logarithm.
pub(super) fn log_sigma<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    number(from, |v| (0.0..=5.0).contains(&v), "the sigma of the logarithm, from 0 to 5")
}

/// The number of a guest, server or clock, as people count.
pub(super) fn nth<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let n = usize::deserialize(from)?;
    n.checked_sub(1).ok_or_else(|| D::Error::custom("0 cannot be: guests, servers and clocks are counted from 1"))
}

/// A server's stratum.
pub(super) fn stratum<'de, D: Deserializer<'de>>(from: D) -> Result<Stratum, D::Error> {
    match u8::deserialize(from)? {
        n @ 1..=15 => Ok(Stratum::new(n)),
        n => Err(D::Error::custom(format!("{n} cannot be: write a stratum from 1 to 15"))),
    }
}

/// A reference id of up to four letters.
pub(super) fn reference_id<'de, D: Deserializer<'de>>(from: D) -> Result<ReferenceId, D::Error> {
    let name = String::deserialize(from)?;
    ReferenceId::from_name(&name)
        .ok_or_else(|| D::Error::custom(format!("\"{name}\" cannot be: write one to four letters such as \"GPS\"")))
}

/// Disruption counters, where only whether there is one matters.
pub(super) fn generation<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Generation>, D::Error> {
    /// The counters a device can have.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Counters {
        None,
        Disruptions,
        DisruptionsAndRestores,
    }
    Ok(match Counters::deserialize(from)? {
        Counters::None => None,
        Counters::Disruptions => Some(Generation { disruption_marker: 1, vm_generation: None }),
        Counters::DisruptionsAndRestores => Some(Generation { disruption_marker: 1, vm_generation: Some(1) }),
    })
}

/// A date and time, or seconds since 1970.
pub(super) fn epoch<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    /// How it may be written.
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Epoch {
        Date(Datetime),
        Seconds(i64),
    }
    let wanted = "write a date such as 2036-02-07T06:00:00Z, from 1970 to 2200, or its seconds since 1970";
    let seconds = match Epoch::deserialize(from).map_err(|_| D::Error::custom(wanted))? {
        Epoch::Seconds(seconds) => seconds,
        Epoch::Date(Datetime { date: Some(date), time, offset: None | Some(toml::value::Offset::Z) }) => {
            let of_day = time.map_or(0, |t| i64::from(t.hour) * 3600 + i64::from(t.minute) * 60 + i64::from(t.second.unwrap_or(0)));
            Civil::midnight(date.year, date.month, date.day) + of_day
        }
        Epoch::Date(_) => return Err(D::Error::custom(format!("only UTC can be: {wanted}"))),
    };
    let sensible = u64::try_from(seconds).is_ok_and(|s| count(s) < 7.3e9);
    if sensible { Ok(Timestamp::from_parts(seconds, 0)) } else { Err(D::Error::custom(wanted)) }
}
