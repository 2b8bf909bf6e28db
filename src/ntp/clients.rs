//! What a server remembers of its clients: a table of bounded size, one record for each address.
//!
//! Places are found by a hash whose key is random and secret, so that nobody can aim at another's place. A place holds sixteen; where they are taken and
//! the table may not grow, who asked longest ago is forgotten. Nothing is allocated for a packet but when the table doubles.

use std::net::{IpAddr, Ipv6Addr};

use rand_core::RngCore;

use super::rate::{Bucket, Turn};
use crate::units::{Instant, NtpTimestamp};

/// Records that share a place.
const WAYS: usize = 16;
/// Bytes of one place.
const PLACE: usize = size_of::<[Record; WAYS]>() + size_of::<[u16; WAYS]>();
/// Places to begin with, if so many are allowed.
const FIRST_PLACES: usize = 16;

/// What is remembered of one client: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Record {
    address: [u64; 2],
    /// When it asked last.
    last: Instant,
    /// When its bucket will be full again.
    full: Instant,
    asked: u32,
    dropped: u32,
    /// Its interval, in quarters of log2, after an answer and after none.
    pace: Pace,
    pace_limited: Pace,
    was_dropped: bool,
    /// We ask it for the time too.
    sibling: bool,
    /// The last reply's receive timestamp, and when that reply left: what the interleaved mode needs.
    receive: NtpTimestamp,
    sent: NtpTimestamp,
}

const NOBODY: Record = Record {
    address: [0; 2],
    last: Instant::ZERO,
    full: Instant::ZERO,
    asked: 0,
    dropped: 0,
    pace: Pace::UNKNOWN,
    pace_limited: Pace::UNKNOWN,
    was_dropped: false,
    sibling: false,
    receive: NtpTimestamp::ZERO,
    sent: NtpTimestamp::ZERO,
};

/// A running mean of intervals: quarters of log2 of nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pace(u8);

impl Pace {
    const UNKNOWN: Self = Self(u8::MAX);

    /// Moves a quarter of the way to an interval; at once to a first one.
    fn learn(&mut self, nanos: u64) {
        // log2 with two bits of fraction, by the bits behind the leading one.
        let whole = 63 - nanos.max(1).leading_zeros();
        let fraction = (nanos << (63 - whole) >> 61) & 3;
        let measured = i32::try_from(u64::from(whole) * 4 + fraction).unwrap_or(0);
        let mean = if *self == Self::UNKNOWN { measured } else { i32::from(self.0) };
        let step = measured - mean;
        let moved = mean + if step.abs() < 4 { step.signum() } else { step / 4 };
        self.0 = u8::try_from(moved).unwrap_or(0);
    }

    /// log2 of seconds, rounded.
    fn log2_seconds(self) -> Option<i8> {
        // 2^29.9 ns are a second.
        (self != Self::UNKNOWN).then(|| i8::try_from((i16::from(self.0) - 120 + 2).div_euclid(4)).unwrap_or(0))
    }
}

/// One client, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    /// Who.
    pub address: IpAddr,
    /// Requests that passed the access rules.
    pub asked: u32,
    /// Of them, dropped by the rate limit.
    pub dropped: u32,
    /// log2 of the seconds between its requests.
    pub interval: Option<i8>,
    /// The same while it was dropped.
    pub interval_limited: Option<i8>,
    /// When it asked last.
    pub last: Instant,
}

/// Where a client's record lies until the next one is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot(usize);

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    key: [u64; 3],
    /// A word of each record's hash, zero where there is none: one cache line tells where to look.
    tags: Vec<[u16; WAYS]>,
    records: Vec<[Record; WAYS]>,
    most_places: usize,
    forgotten: u64,
}

impl Clients {
    /// A table that takes no more than `limit` bytes, or one place.
    pub(super) fn new(limit: usize, rng: &mut impl RngCore) -> Self {
        let fitting = (limit / PLACE).max(1);
        let most_places = 1 << fitting.ilog2();
        let places = most_places.min(FIRST_PLACES);
        Self {
            key: [rng.next_u64(), rng.next_u64() | 1, rng.next_u64()],
            tags: vec![[0; WAYS]; places],
            records: vec![[NOBODY; WAYS]; places],
            most_places,
            forgotten: 0,
        }
    }

    /// The client's record: found, or made. Counts the request.
    pub(super) fn ask(&mut self, address: IpAddr, now: Instant) -> Slot {
        let words = words(address);
        let hash = self.hash(words);
        let tag = tag(hash);
        let mut place = self.place(hash);
        loop {
            let found = self.tags[place].iter().zip(&self.records[place]).position(|(t, r)| *t == tag && r.address == words);
            if let Some(way) = found {
                self.records[place][way].ask(now);
                return Slot(place * WAYS + way);
            }
            if let Some(way) = self.tags[place].iter().position(|t| *t == 0) {
                return self.settle(place, way, tag, words, now);
            }
            if self.tags.len() >= self.most_places {
                break;
            }
            self.grow();
            place = self.place(hash);
        }
        let oldest = self.records[place].iter().enumerate().min_by_key(|(_, r)| r.last).map_or(0, |(way, _)| way);
        self.forgotten += 1;
        self.settle(place, oldest, tag, words, now)
    }

    fn settle(&mut self, place: usize, way: usize, tag: u16, address: [u64; 2], now: Instant) -> Slot {
        self.tags[place][way] = tag;
        self.records[place][way] = Record { address, last: now, full: now, asked: 1, ..NOBODY };
        Slot(place * WAYS + way)
    }

    /// Whether the client of a request gets an answer.
    pub(super) fn limit(&mut self, slot: Slot, bucket: &Bucket, now: Instant, rng: &mut impl RngCore) -> Turn {
        let record = self.record(slot);
        // Twice as often when it is not answered: four quarters of log2.
        let impatient = record.pace_limited != Pace::UNKNOWN && u16::from(record.pace_limited.0) + 4 < u16::from(record.pace.0);
        let turn = bucket.take(&mut record.full, now, impatient, rng);
        record.was_dropped = turn != Turn::Pass;
        if record.was_dropped {
            record.dropped = record.dropped.saturating_add(1);
        }
        turn
    }

    /// When the reply left whose receive timestamp was `receive`, if that was the last one. It is told once.
    pub(super) fn take_sent(&mut self, slot: Slot, receive: NtpTimestamp) -> Option<NtpTimestamp> {
        let record = self.record(slot);
        let sent = (record.receive == receive && !record.sent.is_zero()).then_some(record.sent);
        if sent.is_some() {
            record.receive = NtpTimestamp::ZERO;
        }
        sent
    }

    /// A reply with this receive timestamp left at `sent`.
    pub(super) fn keep_sent(&mut self, slot: Slot, receive: NtpTimestamp, sent: NtpTimestamp) {
        let record = self.record(slot);
        (record.receive, record.sent) = (receive, sent);
    }

    /// The kernel says better when a reply left.
    pub(super) fn correct_sent(&mut self, address: IpAddr, receive: NtpTimestamp, sent: NtpTimestamp) -> bool {
        let words = words(address);
        let place = self.place(self.hash(words));
        let record = self.records[place].iter_mut().find(|r| r.address == words && r.receive == receive);
        if let Some(record) = record.filter(|_| !receive.is_zero()) {
            record.sent = sent;
            return true;
        }
        false
    }

    /// We ask this machine; true if it is remembered as one that asks us.
    pub(super) fn mark_sibling(&mut self, address: IpAddr) -> bool {
        let words = words(address);
        let place = self.place(self.hash(words));
        let found = self.tags[place].iter().zip(&mut self.records[place]).find(|(tag, record)| **tag != 0 && record.address == words);
        found.map(|(_, record)| record.sibling = true).is_some()
    }

    /// Whether we ask it too.
    pub(super) fn is_sibling(&self, slot: Slot) -> bool {
        self.records[slot.0 / WAYS][slot.0 % WAYS].sibling
    }

    /// Records thrown away for want of room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.tags.iter().flatten().filter(|t| **t != 0).count()
    }

    /// How many hold what the interleaved mode needs.
    pub(super) fn interleaving(&self) -> usize {
        self.iter_records().filter(|r| !r.receive.is_zero() && !r.sent.is_zero()).count()
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.tags.len() * PLACE
    }

    /// Everybody that is remembered.
    pub(super) fn iter(&self) -> impl Iterator<Item = Client> {
        self.iter_records().map(|r| Client {
            address: Ipv6Addr::from(u128::from(r.address[0]) << 64 | u128::from(r.address[1])).to_canonical(),
            asked: r.asked,
            dropped: r.dropped,
            interval: r.pace.log2_seconds(),
            interval_limited: r.pace_limited.log2_seconds(),
            last: r.last,
        })
    }

    fn iter_records(&self) -> impl Iterator<Item = &Record> {
        self.tags.iter().flatten().zip(self.records.iter().flatten()).filter(|(t, _)| **t != 0).map(|(_, r)| r)
    }

    fn record(&mut self, slot: Slot) -> &mut Record {
        &mut self.records[slot.0 / WAYS][slot.0 % WAYS]
    }

    fn hash(&self, [high, low]: [u64; 2]) -> u64 {
        let once = fold(high ^ self.key[0], low ^ self.key[1]);
        fold(once ^ self.key[2], 0x9e37_79b9_7f4a_7c15 ^ low)
    }

    /// The place of a hash: its low bits. The tag is made of the high ones.
    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash & 0xffff_ffff).unwrap_or(0) & (self.tags.len() - 1)
    }

    fn grow(&mut self) {
        let places = self.tags.len() * 2;
        let tags = std::mem::replace(&mut self.tags, vec![[0; WAYS]; places]);
        let records = std::mem::replace(&mut self.records, vec![[NOBODY; WAYS]; places]);
        for (tag, record) in tags.into_iter().flatten().zip(records.into_iter().flatten()).filter(|(t, _)| *t != 0) {
            let place = self.place(self.hash(record.address));
            // What shared a place before has twice the room now.
            if let Some(way) = self.tags[place].iter().position(|t| *t == 0) {
                self.tags[place][way] = tag;
                self.records[place][way] = record;
            }
        }
    }
}

impl Record {
    fn ask(&mut self, now: Instant) {
        let interval = u64::try_from(now.elapsed_since(self.last).as_nanos()).unwrap_or(u64::MAX);
        let pace = if self.was_dropped { &mut self.pace_limited } else { &mut self.pace };
        pace.learn(interval);
        self.last = self.last.max(now);
        self.asked = self.asked.saturating_add(1);
    }
}

/// An IPv4 address is known by its IPv6 name.
fn words(address: IpAddr) -> [u64; 2] {
    match address {
        // ::ffff:a.b.c.d
        IpAddr::V4(v4) => [0, 0xffff_0000_0000 | u64::from(u32::from(v4))],
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            [word(bits >> 64), word(bits)]
        }
    }
}

/// The low half.
fn word(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
}

/// Both halves of the product, one over the other.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    word(product) ^ word(product >> 64)
}

/// Never zero.
fn tag(hash: u64) -> u16 {
    u16::try_from(hash >> 48).unwrap_or(0) | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimit;
    use rand_core::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn table(limit: usize, seed: u64) -> Clients {
        Clients::new(limit, &mut Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn at(millis: u32) -> Instant {
        Instant::ZERO + Duration::from_millis(u64::from(millis))
    }

    #[test]
    fn a_record_fills_a_cache_line() {
        assert_eq!(size_of::<Record>(), 64);
    }

    #[test]
    fn everybody_is_remembered_while_there_is_room() {
        let mut clients = table(1 << 20, 1);
        let mut expected = BTreeMap::new();
        for i in 0..20_000_u32 {
            let address = if i % 3 == 0 { v4(i % 1999) } else { IpAddr::from(Ipv6Addr::from(u128::from(i % 1777) << 70)) };
            clients.ask(address, at(i));
            let entry = expected.entry(address).or_insert((0, at(i)));
            *entry = (entry.0 + 1, at(i));
        }
        let found: BTreeMap<_, _> = clients.iter().map(|c| (c.address, (c.asked, c.last))).collect();
        assert_eq!(found, expected);
        assert_eq!((clients.forgotten(), clients.len()), (0, expected.len()));
    }

    #[test]
    fn a_flood_cannot_make_it_larger_and_the_busy_are_kept() {
        let mut clients = table(512 << 10, 2);
        let regular = v4(0xc000_0201);
        for i in 0..200_000_u32 {
            clients.ask(v4(0x0a00_0000 + i), at(i));
            if i % 100 == 0 {
                clients.ask(regular, at(i));
            }
        }
        assert!(clients.bytes() <= 512 << 10, "{}", clients.bytes());
        assert!(clients.len() >= 4096 && clients.forgotten() > 190_000, "{} {}", clients.len(), clients.forgotten());
        let kept = clients.iter().find(|c| c.address == regular).unwrap();
        assert_eq!(kept.asked, 2000, "never forgotten while it came back within the table's turn-over");
    }

    #[test]
    fn where_a_client_lies_depends_on_the_secret() {
        let same =
            |a: &Clients, b: &Clients| (0..1000).filter(|n| a.place(a.hash(words(v4(*n)))) == b.place(b.hash(words(v4(*n))))).count();
        let (a, b) = (table(1 << 16, 3), table(1 << 16, 4));
        assert_eq!(same(&a, &a), 1000);
        assert!(same(&a, &b) < 200, "{}", same(&a, &b));
    }

    #[test]
    fn addresses_in_a_row_spread_over_all_places() {
        let mut clients = table(1 << 20, 5);
        for n in 0..8000 {
            clients.ask(v4(0x0a00_0000 + n), at(0));
        }
        assert!(clients.bytes() < 8000 * 64 * 4, "it grew to {} bytes for 8000 clients", clients.bytes());
    }

    #[test]
    fn the_smallest_table_is_one_place() {
        let mut clients = table(0, 6);
        for n in 0..100 {
            clients.ask(v4(n), at(n));
        }
        assert_eq!((clients.len(), clients.forgotten(), clients.bytes()), (16, 84, PLACE));
    }

    #[test]
    fn intervals_are_logarithms_of_seconds() {
        let mut clients = table(1 << 16, 7);
        for i in 0..20 {
            clients.ask(v4(1), at(i * 64_000));
            clients.ask(v4(2), at(i * 250));
        }
        let interval = |n| clients.iter().find(|c| c.address == v4(n)).and_then(|c| c.interval);
        assert_eq!((interval(1), interval(2)), (Some(6), Some(-2)));
    }

    #[test]
    fn who_asks_faster_without_answers_is_answered() {
        let mut clients = table(1 << 16, 8);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(8);
        let bucket = Bucket::new(RateLimit { interval: 3, burst: 1, leak: 2, kod: 0 });
        let (mut now, mut answers, mut dropped) = (Instant::ZERO, 0, false);
        for i in 0..4000 {
            // 4 s after an answer, 0.1 s after none.
            now = now + if dropped { Duration::from_millis(100) } else { Duration::from_secs(4) };
            let slot = clients.ask(v4(1), now);
            dropped = clients.limit(slot, &bucket, now, &mut rng) != Turn::Pass;
            answers += u32::from(!dropped && i >= 1000);
        }
        assert!(answers > 2000, "{answers} of 3000");
    }

    #[test]
    fn a_sending_time_is_told_once_and_only_for_its_reply() {
        let mut clients = table(1 << 16, 9);
        let slot = clients.ask(v4(1), at(0));
        let (receive, early, late) = (NtpTimestamp(101), NtpTimestamp(200), NtpTimestamp(202));
        clients.keep_sent(slot, receive, early);
        assert!(!clients.correct_sent(v4(1), NtpTimestamp(103), late) && !clients.correct_sent(v4(2), receive, late));
        assert!(clients.correct_sent(v4(1), receive, late));
        assert_eq!(clients.interleaving(), 1);
        assert_eq!(clients.take_sent(slot, NtpTimestamp(103)), None);
        assert_eq!(clients.take_sent(slot, receive), Some(late));
        assert_eq!(clients.take_sent(slot, receive), None);
    }
}
