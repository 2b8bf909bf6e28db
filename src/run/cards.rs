//! Network cards that stamp packets (`hwtimestamp`): switched on at the start, their clocks read now and then.
//!
//! Whatever is missing, a card, its clock or the permission, is said once; the kernel's stamps go on.

mod lines;

pub use lines::{CARDS, CardLine, CardLines, LINES_WORDS, Unusable};

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::clock::PhcLine;
use crate::config::{Config, HwTimestamp};
use crate::core::ReadError;
use crate::sys::net_stamps::{self, Setting};
use crate::sys::{ptp, time};
use crate::units::{Instant, duration};
use crate::wire::control::{Card as CardReport, Hardware};

/// A line holds for so many intervals after its last reading.
const LASTS: u32 = 8;
/// Readings of one look, of which the narrowest counts.
const WINDOWS: u32 = 5;
/// A reading that takes longer than this keeps the loop waiting: a card of which every one does,
const SLOW: Duration = Duration::from_millis(20);
/// so many in a row, is read no more. Now and then the hypervisor alone is to blame.
const SLOW_IN_A_ROW: u8 = 3;
/// So many sent packets in a row without the card's stamp, and nothing is waited for any more.
const PATIENCE: u8 = 4;

#[derive(Debug)]
struct Card {
    name: String,
    interface: u32,
    setting: Setting,
    device: PathBuf,
    clock: ptp::Clock,
    line: PhcLine,
    directive: HwTimestamp,
    read: Option<Instant>,
    /// Said already.
    failed: bool,
    slowness: Slowness,
    /// It is not read any more.
    given_up: bool,
}

/// Slow readings since the last quick one.
#[derive(Debug, Default)]
struct Slowness(u8);

impl Slowness {
    const fn is_too_much(&mut self, took: Duration) -> bool {
        self.0 = if took.as_nanos() > SLOW.as_nanos() { self.0.saturating_add(1) } else { 0 };
        self.0 >= SLOW_IN_A_ROW
    }
}

/// All cards whose stamps are used.
#[derive(Debug, Default)]
pub struct Cards {
    cards: Vec<Card>,
    lines: CardLines,
    timeout: Duration,
    missed: u8,
    /// What became of stamps; the cards themselves are added when it is shown.
    uses: Hardware,
}

impl Cards {
    /// Switches on what the configuration names. Call it before privileges are given up.
    #[must_use]
    pub fn open(config: &Config) -> Self {
        let mut cards = Vec::new();
        for (i, directive) in config.hw_timestamps.iter().enumerate() {
            let names = directive.interface.as_ref().map_or_else(net_stamps::interfaces, |name| vec![name.clone()]);
            let mut found = false;
            for name in names {
                let mut others = config.hw_timestamps.iter().enumerate();
                let elsewhere = others.any(|(j, other)| match &other.interface {
                    Some(interface) => *interface == name && (directive.interface.is_none() || j < i),
                    None => directive.interface.is_none() && j < i,
                });
                if elsewhere {
                    continue;
                }
                match open(&name, directive) {
                    Ok(_) if cards.len() == CARDS => {
                        tracing::warn!("{}: more than {CARDS} network cards: {name} is left out", directive.origin)
                    }
                    Ok(card) => {
                        found = true;
                        let received = if card.setting.stamps_received() { "all NTP packets" } else { "requests alone" };
                        tracing::info!(
                            "the network card of {name} stamps {received} (receive filter {}), by its clock {}",
                            card.setting.filter(),
                            card.device.display()
                        );
                        cards.push(card);
                    }
                    // Of every card there may be, those that cannot are no news.
                    Err(None) if directive.interface.is_none() => {}
                    Err(reason) => {
                        found = true;
                        let reason = reason.unwrap_or_else(|| "it has no card that stamps packets".to_owned());
                        tracing::warn!("{}: {name}: {reason}; its packets are stamped by the kernel", directive.origin);
                    }
                }
            }
            if !found && directive.interface.is_none() {
                tracing::warn!("{}: no network card here stamps packets: the kernel does", directive.origin);
            }
        }
        let lines = CardLines { only: cards.len() == 1, ..CardLines::default() };
        let mut cards = Self { cards, lines, timeout: config.hw_timeout, missed: 0, uses: Hardware::default() };
        cards.read_due(time::raw());
        cards
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// What is known of their clocks.
    #[must_use]
    pub const fn lines(&self) -> &CardLines {
        &self.lines
    }

    /// When one wants to be read.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let due = |card: &Card| card.read.map_or(Instant::ZERO, |read| read + interval(card.directive.max_poll.log2()));
        self.cards.iter().filter(|card| !card.given_up).map(due).min()
    }

    /// Reads those that are due; true if the lines moved.
    pub fn read_due(&mut self, now: Instant) -> bool {
        self.read_older(now, |card| interval(card.directive.max_poll.log2()))
    }

    /// Reads those that may be read, since a packet is on its way; true if the lines moved.
    pub fn read_fresh(&mut self, now: Instant) -> bool {
        self.read_older(now, |card| interval(card.directive.min_poll.log2()))
    }

    fn read_older(&mut self, now: Instant, age: fn(&Card) -> Duration) -> bool {
        let mut moved = false;
        for card in &mut self.cards {
            let is_due = card.read.is_none_or(|read| now >= read + age(card));
            if is_due && !card.given_up {
                card.read = Some(now);
                card.read();
                moved = true;
            }
        }
        if moved {
            self.lines.lines.clear();
            let lines = self.cards.iter().filter_map(|card| {
                let piece = *card.line.piece()?;
                let HwTimestamp { tx_comp, rx_comp, .. } = card.directive;
                Some(CardLine { interface: card.interface, tx_comp, rx_comp, piece })
            });
            self.lines.lines.extend(lines);
        }
        moved
    }

    /// How long to wait for the stamp of a request that is answered already.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        let stamps = self.cards.iter().any(|card| card.setting.sent);
        if stamps && self.missed < PATIENCE { self.timeout } else { Duration::ZERO }
    }

    /// Whether the stamp of an answered request came.
    pub const fn have_waited(&mut self, came: bool) {
        self.missed = if came { 0 } else { self.missed.saturating_add(1) };
    }

    /// Counts what became of a card's stamp of a request.
    pub const fn count_sent(&mut self, result: Result<Instant, Unusable>) -> Option<Instant> {
        match result {
            Ok(at) => {
                self.uses.sent += 1;
                Some(at)
            }
            Err(why) => self.count_unusable(why),
        }
    }

    /// Counts what became of a card's stamp of an answer.
    pub const fn count_received(&mut self, result: Result<Instant, Unusable>) -> Option<Instant> {
        match result {
            Ok(at) => {
                self.uses.received += 1;
                Some(at)
            }
            Err(why) => self.count_unusable(why),
        }
    }

    const fn count_unusable(&mut self, why: Unusable) -> Option<Instant> {
        match why {
            Unusable::Unplaced => self.uses.unplaced += 1,
            Unusable::Impossible => self.uses.impossible += 1,
        }
        None
    }

    /// For reports.
    #[must_use]
    pub fn show(&self) -> Hardware {
        let show = |card: &Card| CardReport {
            interface: card.name.clone(),
            clock: card.device.display().to_string(),
            stamps_sent: card.setting.sent,
            filter: card.setting.filter().to_owned(),
            error: card.line.piece().map(|piece| piece.course.error.as_secs_f64()),
            jumps: card.line.jumps(),
        };
        Hardware { cards: self.cards.iter().map(show).collect(), ..self.uses }
    }
}

impl Card {
    fn read(&mut self) {
        let begun = time::raw();
        let read = self.clock.read(WINDOWS);
        let took = time::raw().elapsed_since(begun);
        match read {
            Ok(measurement) => {
                self.failed = false;
                if let Some(window) = measurement.windows.first() {
                    if self.line.push(window) {
                        tracing::info!("{}: the network card's clock {} was set: learning it anew", self.name, self.device.display());
                    }
                }
                if self.slowness.is_too_much(took) {
                    self.given_up = true;
                    self.line.forget();
                    tracing::warn!(
                        "{}: reading the network card's clock took {} ms, and no less before: its stamps are not used any more, the kernel's are",
                        self.name,
                        took.as_millis()
                    );
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!("{}: {error}; its stamps are not used until that can be read", self.name);
                }
            }
        }
    }
}

fn interval(log2: i8) -> Duration {
    duration(f64::from(log2).exp2())
}

/// Switches one card on. `None`: it has nothing to switch on.
fn open(name: &str, directive: &HwTimestamp) -> Result<Card, Option<String>> {
    let interface = net_stamps::index(name).ok_or_else(|| Some("there is no such network interface: see `ip link`".to_owned()))?;
    let ability = match net_stamps::ability(name) {
        Ok(ability) if ability.is_useful() => ability,
        Ok(_) | Err(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EINVAL) => return Err(None),
        Err(errno) => return Err(Some(format!("what its card can stamp cannot be asked ({})", errno.desc()))),
    };
    let wanted = ability.setting(directive.rx_filter);
    let setting = match net_stamps::set(name, wanted) {
        Ok(setting) => setting,
        Err(refused) => {
            // Another program, or the host of a container, may have switched it on.
            let remedy = match refused {
                Errno::EPERM | Errno::EACCES => "start as root or with CAP_NET_ADMIN, or let another program switch it on".to_owned(),
                Errno::ERANGE | Errno::EINVAL => "choose another `rxfilter`: see `ethtool -T`".to_owned(),
                _ => "see `ethtool -T`".to_owned(),
            };
            let refusal = || Some(format!("its card's stamps cannot be switched on ({}): {remedy}", refused.desc()));
            net_stamps::get(name).ok().filter(|s| s.sent || s.stamps_received()).ok_or_else(refusal)?
        }
    };
    let Some(phc) = ability.phc else { return Err(None) };
    let device = PathBuf::from(format!("/dev/ptp{phc}"));
    let clock = ptp::Clock::open(&device).map_err(|error| {
        let remedy = match &error {
            ReadError::Denied { .. } => "",
            _ => "; the card's clock is needed to understand its stamps",
        };
        Some(format!("{error}{remedy}"))
    })?;
    let clock = if directive.nocrossts { clock.without_cross_stamps() } else { clock };
    let lasts = interval(directive.max_poll.log2()) * LASTS;
    let line = PhcLine::new(usize::from(directive.min_samples), usize::from(directive.max_samples), directive.precision, lasts);
    Ok(Card {
        name: name.to_owned(),
        interface,
        setting,
        device,
        clock,
        line,
        directive: directive.clone(),
        read: None,
        failed: false,
        slowness: Slowness::default(),
        given_up: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypervisor_may_hold_up_two_readings_but_not_three() {
        let mut slowness = Slowness::default();
        let verdicts = [70, 500, 1, 21, 21, 20, 25, 25, 25].map(|ms| slowness.is_too_much(Duration::from_millis(ms)));
        assert_eq!(verdicts.iter().position(|v| *v), Some(8), "{verdicts:?}");
    }
}
