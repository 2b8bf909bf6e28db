//! Who is followed: states for all sources, the majority's interval, the best and who is combined with it.

use arrayvec::ArrayVec;

use super::{COMBINE_LIMIT, Core, GRACE, MAX_JITTER, Tracked};
use crate::core::event::{SourceId, SourceState, Status};
use crate::core::select::{Agreement, Claim, intersect};
use crate::units::{Instant, Leap, Ppm, Timescale, Timestamp};

/// So many voters say how fast the line's bound must grow.
const VOTERS: usize = 64;
/// Claims wider than this either way, in seconds, agree by chance: a smear moves time by up to half a second.
const AGREEMENT: f64 = 0.1;

impl Core {
    /// Gives every source its state; returns the interval that the truth lies in, against the line at `now`.
    pub(super) fn select(&mut self, now: Instant) -> Option<(f64, f64)> {
        let origin = self.line.at(now);
        let timescale = self.timescale_to_follow();
        let mut waiting = 0_usize;
        for source in &mut self.sources {
            source.state = if source.options.noselect {
                SourceState::Noselect
            } else if !source.reachable {
                SourceState::Unreachable
            } else if !source.synchronised {
                SourceState::Unsynchronised
            } else if !source.filter.is_set() {
                waiting += 1;
                SourceState::Waiting
            } else if source.stopped {
                SourceState::Stopped
            } else if !source.timescale().is_some_and(|s| s.combines_with(timescale)) {
                SourceState::Timescale
            } else {
                let (low, _, high) = source.filter.interval(origin, now);
                let distant = (high - low) / 2.0 > self.options.max_distance.as_secs_f64();
                // `Selected` stands for "candidate" until the end of this function.
                if distant {
                    SourceState::Distant
                } else if source.filter.jitter() > MAX_JITTER {
                    SourceState::Jittery
                } else {
                    SourceState::Selected
                }
            };
        }
        let candidates = self.sources.iter().filter(|s| s.state == SourceState::Selected).count();
        let patient = self.first_sample.is_some_and(|first| now < first + GRACE) && self.status != Status::Synchronised;
        if candidates == 0 || (patient && waiting >= candidates) {
            self.mark_candidates(SourceState::Waiting);
            return None;
        }
        let mut agreed = self.agree(now);
        if agreed.is_none() && self.silence_the_stopped(now) {
            agreed = self.agree(now);
        }
        let Some(agreed) = agreed else {
            self.mark_candidates(SourceState::NoMajority);
            return None;
        };
        for source in self.sources.iter_mut().filter(|s| s.stopped && s.filter.is_set()) {
            // Somebody set it right.
            source.stopped = !claim(source, origin, now).meets(agreed.low, agreed.high);
        }
        for source in self.sources.iter_mut().filter(|s| s.state == SourceState::Selected) {
            if !claim(source, origin, now).meets(agreed.low, agreed.high) {
                source.state = SourceState::Falseticker;
                source.counts_as = None;
            }
        }
        let agreeing = self.sources.iter().filter(|s| s.state == SourceState::Selected).count();
        if patient && self.status == Status::Disrupted && 2 * agreeing <= self.claims.len() + waiting {
            // After a start a wrong choice is corrected by the next answers; here it would be stepped to.
            self.mark_candidates(SourceState::Waiting);
            return None;
        }
        if agreeing < self.options.min_sources {
            self.mark_candidates(SourceState::TooFew);
            return None;
        }
        let required = self.sources.iter().any(|s| s.options.require);
        if required && !self.sources.iter().any(|s| s.state == SourceState::Selected && s.options.require) {
            self.mark_candidates(SourceState::Untrusted);
            return None;
        }
        self.rank(now, (agreed.low, agreed.high));
        self.learn_timescales(now);
        Some((agreed.possible_low, agreed.possible_high))
    }

    /// What a majority of those says who do not ask us for the time, if others do. To these we testify of no more: of machines that list each other, each one's
    /// doubt would feed the others'.
    pub(super) fn vouched_for(&mut self, now: Instant) -> Option<(f64, f64)> {
        let asks_us = |s: &Tracked| s.last.is_some_and(|sample| sample.asks_us);
        if !self.sources.iter().any(asks_us) {
            return None;
        }
        let origin = self.line.at(now);
        let mut claims = std::mem::take(&mut self.claims);
        claims.clear();
        claims.extend(heard(self.voters()).filter(|s| !asks_us(s)).map(|s| claim(s, origin, now)));
        self.claims = claims;
        intersect(&self.claims, &mut self.scratch).map(|agreed| (agreed.possible_low, agreed.possible_high))
    }

    /// What a majority of the candidates says.
    fn agree(&mut self, now: Instant) -> Option<Agreement> {
        let origin = self.line.at(now);
        self.claims.clear();
        let candidates = self.sources.iter().filter(|s| s.state == SourceState::Selected);
        self.claims.extend(heard(candidates).map(|s| claim(s, origin, now)));
        intersect(&self.claims, &mut self.scratch)
    }

    fn mark_candidates(&mut self, state: SourceState) {
        for source in self.sources.iter_mut().filter(|s| s.state == SourceState::Selected) {
            source.state = state;
        }
    }

    /// Among the truechimers (all `Selected` so far) finds the best and who is combined with it.
    fn rank(&mut self, now: Instant, place: (f64, f64)) {
        let origin = self.line.at(now);
        // Whose claim only just reaches the place of agreement votes, but is not averaged with those who are in it.
        let inside = |s: &Tracked| {
            let claim = claim(s, origin, now);
            (place.0..=place.1).contains(&claim.middle)
        };
        if self.sources.iter().any(|s| s.state == SourceState::Selected && inside(s)) {
            for source in self.sources.iter_mut().filter(|s| s.state == SourceState::Selected) {
                if !inside(source) {
                    source.state = SourceState::Outclassed;
                }
            }
        }
        let prefer = self.sources.iter().any(|s| s.state == SourceState::Selected && s.options.prefer);
        if prefer {
            for source in self.sources.iter_mut().filter(|s| s.state == SourceState::Selected && !s.options.prefer) {
                source.state = SourceState::NotPreferred;
            }
        }
        let incumbent = self.reference.map(|r| r.source);
        let distance = |s: &Tracked| {
            let claim = claim(s, origin, now);
            // The incumbent is kept unless another is clearly closer.
            let loyalty = if Some(s.id) == incumbent { 0.7 } else { 1.0 };
            (claim.high - claim.low) / 2.0 * loyalty
        };
        let best = self
            .sources
            .iter()
            .filter(|s| s.state == SourceState::Selected)
            .map(|s| (s.id, distance(s)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let Some((best, best_distance)) = best else { return };
        for source in self.sources.iter_mut().filter(|s| s.state == SourceState::Selected && s.id != best) {
            let claim = claim(source, origin, now);
            let near = (claim.high - claim.low) / 2.0 <= COMBINE_LIMIT * best_distance.max(1e-9);
            source.state = if near { SourceState::Combined } else { SourceState::Outclassed };
        }
    }

    /// The timescale followed: that of preferred sources, else of the larger group.
    fn timescale_to_follow(&self) -> Timescale {
        let weight = |smeared: bool| {
            self.sources
                .iter()
                .filter(|s| !s.options.noselect && s.reachable && s.filter.is_set())
                .filter(|s| match s.timescale() {
                    Some(Timescale::Smeared) => smeared,
                    Some(Timescale::Utc | Timescale::Tai) => !smeared,
                    Some(Timescale::Unknown) | None => false,
                })
                .map(|s| if s.options.prefer { 1000 } else { 1 })
                .sum::<usize>()
        };
        let (smeared, utc) = (weight(true), weight(false));
        match (smeared, utc) {
            (0, 0) => Timescale::Unknown,
            (s, u) if s > u => Timescale::Smeared,
            _ => Timescale::Utc,
        }
    }

    /// A truechimer of unknown timescale counts as what those truechimers keep whose timescale is known.
    fn learn_timescales(&mut self, now: Instant) {
        let origin = self.line.at(now);
        let exact = |s: &Tracked| {
            let claim = claim(s, origin, now);
            (claim.high - claim.low) / 2.0 <= AGREEMENT
        };
        let stated = |s: &&Tracked| s.last.is_some_and(|sample| sample.timescale != Timescale::Unknown) && exact(s);
        // The best source's word first.
        let known = self.survivors().filter(stated).min_by_key(|s| (s.state != SourceState::Selected, s.id));
        let Some((id, timescale)) = known.and_then(|s| Some((s.id, s.last?.timescale))) else { return };
        // TAI arrives here converted to UTC.
        let timescale = if timescale == Timescale::Tai { Timescale::Utc } else { timescale };
        for source in &mut self.sources {
            let agrees = source.is_survivor() && source.timescale() == Some(Timescale::Unknown) && exact(source);
            if agrees {
                source.counts_as = Some((timescale, id));
            }
        }
    }

    pub(super) fn combine(&self, now: Instant, origin: Timestamp) -> Combined {
        let (mut weights, mut phase, mut variance) = (0.0, 0.0, 0.0);
        let (mut frequency_weights, mut frequency, mut wander2) = (0.0, 0.0, 0.0_f64);
        for source in self.sources.iter().filter(|s| matches!(s.state, SourceState::Selected | SourceState::Combined)) {
            let claim = claim(source, origin, now);
            let sigma = source.filter.sigma(now).max(1e-10);
            // What a source may hide in its path counts as well as its noise.
            let hidden = (claim.high - claim.low) / 12.0;
            let weight = 1.0 / (sigma * sigma + hidden * hidden);
            weights += weight;
            phase += weight * claim.middle;
            variance += weight * weight * sigma * sigma;
            let (f, p) = source.filter.frequency();
            frequency_weights += 1.0 / p;
            frequency += f / p;
            wander2 = wander2.max(source.filter.wander2());
        }
        let frequency = frequency / frequency_weights;
        Combined {
            phase: phase / weights,
            sigma: variance.sqrt() / weights,
            frequency,
            skew: (1.0 / frequency_weights).sqrt(),
            wander2,
            growth: self.growth_of(frequency, now),
        }
    }

    /// How fast the truth can leave a line of this frequency: as each voter says, the line may be as wrong as it is away from the
    /// source and the source from the truth. If more than half of them are right, so is at least one up to the middle.
    pub(super) fn growth_of(&self, frequency: f64, now: Instant) -> Ppm {
        // Of more than so many the first say enough.
        let mut rates: ArrayVec<f64, VOTERS> =
            heard(self.voters()).map(|s| (s.filter.frequency().0 - frequency).abs() + s.filter.growth(now).ratio()).take(VOTERS).collect();
        rates.sort_unstable_by(f64::total_cmp);
        Ppm::from_ratio(rates.get(rates.len().saturating_sub(1) / 2).copied().unwrap_or(f64::INFINITY))
    }

    /// The timescale that a source of unknown timescale counts as since it agreed with another, and which that was.
    #[must_use]
    pub fn counts_as(&self, id: SourceId) -> Option<(Timescale, SourceId)> {
        self.sources.iter().find(|s| s.id == id).and_then(|s| s.counts_as)
    }

    /// A leap second is believed when more than half of the truechimers announce it, or of those with `trust`. Most devices cannot: their silence is no
    /// vote.
    pub(super) fn majority_leap(&self) -> Leap {
        let leaps =
            heard(self.survivors()).filter_map(|s| Some((s.local, s.last?.leap))).filter(|(local, leap)| !local || *leap != Leap::Normal);
        let votes = |leap| leaps.clone().filter(|l| l.1 == leap).count();
        let all = leaps.clone().count();
        if 2 * votes(Leap::Insert) > all {
            Leap::Insert
        } else if 2 * votes(Leap::Delete) > all {
            Leap::Delete
        } else {
            Leap::Normal
        }
    }

    /// Those whose claims were weighed; falsetickers voted too.
    fn voters(&self) -> impl Iterator<Item = &Tracked> + Clone {
        use SourceState::{Combined, Falseticker, NotPreferred, Outclassed, Selected};
        self.sources.iter().filter(|s| matches!(s.state, Combined | Falseticker | NotPreferred | Outclassed | Selected))
    }

    fn survivors(&self) -> impl Iterator<Item = &Tracked> + Clone {
        self.sources.iter().filter(|s| s.is_survivor())
    }
}

impl Tracked {
    /// What its last sample states or, where that is nothing, what it counts as; `None` before the first.
    fn timescale(&self) -> Option<Timescale> {
        self.last.map(|sample| match sample.timescale {
            Timescale::Unknown => self.counts_as.map_or(Timescale::Unknown, |(timescale, _)| timescale),
            known => known,
        })
    }

    pub(super) const fn is_survivor(&self) -> bool {
        matches!(self.state, SourceState::Selected | SourceState::Combined | SourceState::NotPreferred | SourceState::Outclassed)
    }
}

/// The estimates of all combined sources in one.
pub(super) struct Combined {
    pub(super) phase: f64,
    pub(super) sigma: f64,
    pub(super) frequency: f64,
    pub(super) skew: f64,
    /// Of the most restless source.
    pub(super) wander2: f64,
    pub(super) growth: Ppm,
}

/// Where some have `trust`, nobody else is heard.
pub(super) fn heard<'a>(sources: impl Iterator<Item = &'a Tracked> + Clone) -> impl Iterator<Item = &'a Tracked> + Clone {
    let trusted = sources.clone().any(|s| s.options.trust);
    sources.filter(move |s| s.options.trust || !trusted)
}

/// What a source vouches for, root distance included, as seconds ahead of `origin` at `now`.
pub(super) fn claim(source: &Tracked, origin: Timestamp, now: Instant) -> Claim {
    let (low, middle, high) = source.filter.interval(origin, now);
    Claim { low, middle, high }
}
