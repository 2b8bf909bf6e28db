//! `hwtimestamp`: network cards that stamp packets, and how their clocks are read.

use std::time::Duration;

use super::line::{Line, Parsed, quoted};
use super::suggest::did_you_mean;
use super::{Config, Origin, say};
use crate::units::{Offset, Poll, duration};

/// Which received packets a card stamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RxFilter {
    /// None.
    None,
    /// Those of NTP.
    Ntp,
    /// Those of PTP.
    Ptp,
    /// All.
    All,
}

impl RxFilter {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ntp => "ntp",
            Self::Ptp => "ptp",
            Self::All => "all",
        }
    }
}

/// One `hwtimestamp` line.
#[derive(Clone, PartialEq, Debug)]
pub struct HwTimestamp {
    /// Where it stands.
    pub origin: Origin,
    /// The interface; `None`: every one that can (`*`).
    pub interface: Option<String>,
    /// The card's clock is read no more often than this.
    pub min_poll: Poll,
    /// And at least this often.
    pub max_poll: Poll,
    /// How wrong one reading of the card's clock is supposed to be beside its window.
    pub precision: Duration,
    /// Added to stamps of sent packets.
    pub tx_comp: Offset,
    /// Subtracted from stamps of received packets.
    pub rx_comp: Offset,
    /// Do not use cross timestamps.
    pub nocrossts: bool,
    /// Which received packets are stamped; `None`: NTP's if the card can, else all.
    pub rx_filter: Option<RxFilter>,
    /// Readings before stamps are used.
    pub min_samples: u8,
    /// Readings remembered.
    pub max_samples: u8,
}

/// The most readings that are remembered.
pub const MAX_SAMPLES: u8 = 64;
/// The words after the interface.
const OPTIONS: &[&str] = &["minpoll", "maxpoll", "precision", "txcomp", "rxcomp", "nocrossts", "rxfilter", "minsamples", "maxsamples"];
const POLLS: std::ops::RangeInclusive<i8> = -6..=20;

/// `hwtimestamp INTERFACE|* [minpoll N] [maxpoll N] [precision S] [txcomp S] [rxcomp S] [nocrossts] [rxfilter F] [minsamples N] [maxsamples N]`.
pub(super) fn hwtimestamp(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let what = "the name of a network interface, or `*` for every one that can stamp";
    let word = line.required("hwtimestamp", what)?;
    if word.text.len() > 15 || word.text.contains('/') {
        return Err(word.problem(format!("`hwtimestamp` needs {what}, not {}", quoted(word.text))));
    }
    let interface = (word.text != "*").then(|| word.text.to_owned());
    let (mut min_poll, mut max_poll) = (0, None);
    let mut card = HwTimestamp {
        origin: line.origin(),
        interface,
        min_poll: Poll::new(0),
        max_poll: Poll::new(1),
        precision: Duration::from_nanos(100),
        tx_comp: Offset::ZERO,
        rx_comp: Offset::ZERO,
        nocrossts: false,
        rx_filter: None,
        min_samples: 2,
        max_samples: 16,
    };
    while let Some(word) = line.next() {
        let name = word.keyword();
        match name.as_str() {
            "minpoll" => min_poll = line.integer(&name, POLLS)?,
            "maxpoll" => max_poll = Some(line.integer(&name, POLLS)?),
            "precision" => card.precision = duration(line.number(&name, "seconds", 0.0..=1.0)?),
            "txcomp" => card.tx_comp = Offset::from_seconds(line.number(&name, "seconds", -1.0..=1.0)?),
            "rxcomp" => card.rx_comp = Offset::from_seconds(line.number(&name, "seconds", -1.0..=1.0)?),
            "nocrossts" => card.nocrossts = true,
            "rxfilter" => {
                let choices = [RxFilter::All, RxFilter::Ntp, RxFilter::Ptp, RxFilter::None].map(|filter| (filter.as_str(), filter));
                card.rx_filter = Some(line.choice(&name, &choices)?);
            }
            "minsamples" => card.min_samples = line.integer(&name, 2..=MAX_SAMPLES)?,
            "maxsamples" => card.max_samples = line.integer(&name, 2..=MAX_SAMPLES)?,
            _ => {
                let guess = did_you_mean(&name, OPTIONS.iter().copied());
                line.note(word.problem(format!("unknown option {} of `hwtimestamp`{guess}", quoted(word.text))));
            }
        }
    }
    card.min_poll = Poll::new(min_poll);
    card.max_poll = Poll::new(max_poll.unwrap_or_else(|| min_poll.saturating_add(1)).max(min_poll));
    card.max_samples = card.max_samples.max(card.min_samples);
    let whose =
        card.interface.as_ref().map_or_else(|| "every network card that can".to_owned(), |name| format!("the network card of {name}"));
    let every = say::span(duration(f64::from(card.max_poll.log2()).exp2()));
    config.hw_timestamps.push(card);
    Ok(format!("let {whose} stamp packets, and read its clock every {every}"))
}

/// `hwtstimeout SECONDS`.
pub(super) fn hwtstimeout(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let seconds = line.number("hwtstimeout", "seconds", 0.0..=1.0)?;
    line.end()?;
    config.hw_timeout = duration(seconds).min(LONGEST_WAIT);
    Ok(format!("wait up to {} for a network card's stamp of a request that is answered already", say::span(config.hw_timeout)))
}

/// Everything else waits meanwhile.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
