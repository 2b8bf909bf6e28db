//! The client's side of one NTP server (RFC 5905 section 9, RFC 9109).
//!
//! Decides when to ask, what to send, and what an answer is worth. The executor gives every
//! request a socket with a fresh port; the transmit timestamp we send is a random number and
//! tells nothing about our clock.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arrayvec::ArrayVec;
use rand_core::RngCore;

use super::keys::{self, Key, Tail};
use super::pace::Pace;
use super::reference_id_of;
use super::stamped::StampedBy;
use crate::core::{Sample, SourceId};
use crate::units::{Instant, Leap, NtpTimestamp, Offset, Poll, Reach, ReferenceId, Stratum, Timescale, Timestamp};
use crate::wire::ntp::{HEADER_LEN, Header, Mode, NtpShort};

/// Root distances above this are nonsense (RFC 5905 MAXDISP).
const MAX_ROOT: Duration = Duration::from_secs(16);
/// An answer later than this is not waited for.
const ANSWER_TIME: Duration = Duration::from_secs(8);
/// The longest interval a server can ask for: 36 hours (RFC 5905 MAXPOLL).
const SLOWEST_LOG2: i8 = 17;
/// The longest interval at which the interleaved mode is asked for.
const LONGEST_INTERLEAVED: Duration = Duration::from_secs(64);
/// Requests without an answer after which we ask less often.
const PATIENCE: u32 = 8;
/// A request that could not even leave is repeated after this: the network may come up any moment.
const RETRY: Duration = Duration::from_secs(4);

/// Names one request on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// The longest request: a header, a key's id and the longest code.
pub const MAX_REQUEST: usize = HEADER_LEN + 4 + 64;

/// A request's bytes.
pub type Packet = ArrayVec<u8, MAX_REQUEST>;

/// A request to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Its name.
    pub token: Token,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Packet,
}

/// Why an answer was thrown away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rejection {
    /// Not a packet at all.
    Malformed,
    /// Not a server's answer.
    Mode,
    /// Another version than we asked in.
    Version,
    /// It does not answer our request (bogus, duplicate or spoofed).
    Origin,
    /// A timestamp that must be there is zero, or T3 lies before T2.
    Timestamp,
    /// The server says that it is not synchronised.
    Unsynchronised,
    /// The server follows us.
    Loop,
    /// Root delay or dispersion is absurd.
    RootDistance,
    /// The round trip took longer than `maxdelay`.
    Delay,
    /// A kiss-o'-death (RFC 5905 section 7.4).
    Kiss,
    /// The kernel's stamp falls across a step of the clock.
    Stamp,
    /// Its code is missing or wrong.
    Authentication,
}

impl Rejection {
    /// All reasons, for counters.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Mode,
        Self::Version,
        Self::Origin,
        Self::Timestamp,
        Self::Unsynchronised,
        Self::Loop,
        Self::RootDistance,
        Self::Delay,
        Self::Kiss,
        Self::Stamp,
        Self::Authentication,
    ];

    /// Lower-case word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Mode => "mode",
            Self::Version => "version",
            Self::Origin => "origin",
            Self::Timestamp => "timestamp",
            Self::Unsynchronised => "unsynchronised",
            Self::Loop => "loop",
            Self::RootDistance => "root_distance",
            Self::Delay => "delay",
            Self::Kiss => "kiss_of_death",
            Self::Stamp => "stamp",
            Self::Authentication => "authentication",
        }
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    /// A measurement.
    Sample(Sample),
    /// A good answer that measures the same exchange again: the first in the interleaved mode does.
    Repeated,
    /// The server answered but is not synchronised.
    Unsynchronised,
    /// Thrown away.
    Rejected(Rejection),
    /// The server forbids us to ask (`DENY`, `RSTR`): the association is over.
    Denied,
}

/// How to ask; from a `server` or `pool` line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AssociationOptions {
    /// Shortest interval.
    pub min_poll: Poll,
    /// Longest interval.
    pub max_poll: Poll,
    /// Begin with four requests two seconds apart.
    pub iburst: bool,
    /// Make each poll four requests.
    pub burst: bool,
    /// Least stratum to suppose.
    pub min_stratum: Stratum,
    /// Version to ask in.
    pub version: u8,
    /// Correction of a known error.
    pub offset: Offset,
    /// Longest round trip.
    pub max_delay: Duration,
    /// What the server hands out.
    pub timescale: Timescale,
    /// Ask for the interleaved mode (RFC 9769).
    pub xleave: bool,
}

impl Default for AssociationOptions {
    fn default() -> Self {
        Self {
            min_poll: Poll::new(6),
            max_poll: Poll::new(10),
            iburst: false,
            burst: false,
            min_stratum: Stratum::REFCLOCK,
            version: 4,
            offset: Offset::ZERO,
            max_delay: Duration::from_secs(3),
            timescale: Timescale::Utc,
            xleave: false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    token: Token,
    sent_by: StampedBy,
    nonce: NtpTimestamp,
    /// The origin of an interleaved answer; zero if none is asked for.
    cookie: NtpTimestamp,
    sent: Instant,
    give_up: Instant,
}

/// The exchange that an interleaved answer completes: the last one that was answered.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    sent: Instant,
    received: Instant,
    /// Whose stamps these are.
    by: (StampedBy, StampedBy),
    /// When the server received the request, by its clock.
    server_in: NtpTimestamp,
    /// It was measured already.
    sampled: bool,
}

/// The client's side of one server.
#[derive(Clone, Debug)]
pub struct Association {
    id: SourceId,
    address: SocketAddr,
    options: AssociationOptions,
    /// Answers must be signed by the key; none is, while there is no key.
    authenticated: bool,
    key: Option<Key>,
    pace: Pace,
    reach: Reach,
    /// When the last request was due.
    asked: Instant,
    next: Option<Instant>,
    pending: Option<Pending>,
    last: Option<Exchange>,
    received_by: StampedBy,
    stamps: Option<(StampedBy, StampedBy)>,
    sent: u64,
    received: u64,
    rejected: [u64; Rejection::ALL.len()],
    unanswered: u32,
}

impl Association {
    /// An association that asks first at `first`.
    #[must_use]
    pub fn new(id: SourceId, address: SocketAddr, options: AssociationOptions, first: Instant) -> Self {
        Self {
            id,
            address,
            options,
            authenticated: false,
            key: None,
            pace: Pace::new(options.min_poll, options.max_poll, options.iburst),
            reach: Reach::default(),
            asked: first,
            next: Some(first),
            pending: None,
            last: None,
            received_by: StampedBy::Daemon,
            stamps: None,
            sent: 0,
            received: 0,
            rejected: [0; Rejection::ALL.len()],
            unanswered: 0,
        }
    }

    /// From now on requests are signed, and only answers signed with the same key are believed.
    #[must_use]
    pub fn authenticated_by(self, key: Option<Key>) -> Self {
        Self { key, authenticated: true, ..self }
    }

    /// Whether its answers are authenticated.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// When [`Association::on_timer`] wants to be called.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        match (self.next, self.pending.map(|p| p.give_up)) {
            (Some(next), Some(give_up)) => Some(next.min(give_up)),
            (next, give_up) => next.or(give_up),
        }
    }

    /// Forgets a request whose answer will not come; returns its token so that its socket can be closed.
    pub fn give_up(&mut self, now: Instant) -> Option<Token> {
        if self.pending.is_some_and(|p| now >= p.give_up) { self.pending.take().map(|p| p.token) } else { None }
    }

    /// The request that is due at `now`, if one is. The previous one's token is returned for closing.
    pub fn on_timer(&mut self, now: Instant, token: Token, rng: &mut impl RngCore) -> Option<(Question, Option<Token>)> {
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        let replaced = self.pending.take().map(|p| p.token);
        self.reach.poll();
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered > PATIENCE && !self.pace.is_in_burst() {
            // Nobody there: ask less often, back to `min_poll` with the first answer.
            self.pace.slow_down();
        }
        let spacing = self.pace.on_request(self.options.burst && self.reach.is_reachable());
        self.asked = now;
        self.next = Some(now + spacing);
        // Zero means "no timestamp", so it is the one nonce we cannot use.
        let nonce = NtpTimestamp(rng.next_u64().max(1));
        // RFC 9769 section 2: the server knows the last exchange by its receive timestamp, and we the answer by a cookie of our own. What is
        // measured so is one interval old, which the better stamp outweighs while intervals are short.
        let interleaved = self.last.filter(|_| self.options.xleave && self.options.version == 4 && spacing <= LONGEST_INTERLEAVED);
        let cookie = interleaved.map_or(NtpTimestamp::ZERO, |_| NtpTimestamp(rng.next_u64().max(1)));
        self.pending =
            Some(Pending { token, sent_by: StampedBy::Daemon, nonce, cookie, sent: now, give_up: now + spacing.min(ANSWER_TIME) });
        self.sent += 1;
        // Data minimisation: a client's header tells nothing but the version, mode and nonce.
        let header = Header {
            leap: Leap::Normal,
            version: self.options.version,
            mode: Mode::Client,
            stratum: 0,
            poll: 0,
            precision: 32,
            root_delay: NtpShort(0),
            root_dispersion: NtpShort(0),
            reference_id: ReferenceId::NONE,
            reference: NtpTimestamp::ZERO,
            origin: interleaved.map_or(NtpTimestamp::ZERO, |last| last.server_in),
            receive: cookie,
            transmit: nonce,
        };
        let mut bytes = Packet::from_iter(header.emit());
        if let Some(key) = &self.key {
            key.sign(self.options.version, &mut bytes);
        }
        Some((Question { token, to: self.address, bytes }, replaced))
    }

    /// The request left at `at`, by the kernel's stamp or the timebase just before sending.
    pub fn on_sent(&mut self, token: Token, at: Instant, by: StampedBy) {
        if let Some(pending) = self.pending.as_mut().filter(|p| p.token == token) {
            (pending.sent, pending.sent_by) = (at, by);
        }
    }

    /// Whose stamp the datagram that comes next has.
    pub const fn on_stamp(&mut self, by: StampedBy) {
        self.received_by = by;
    }

    /// Whose stamps the last sample was measured with: of the request and of the answer.
    #[must_use]
    pub const fn stamps(&self) -> Option<(StampedBy, StampedBy)> {
        self.stamps
    }

    /// Judges a datagram from the server's address. `received` is `None` when its stamp could not be placed
    /// on the timebase; `to` is our own address; `time` is the line's time now, which names the NTP era.
    pub fn on_datagram(&mut self, received: Option<Instant>, to: IpAddr, time: Timestamp, bytes: &[u8]) -> Outcome {
        match self.judge(received, to, time, bytes) {
            Outcome::Rejected(reason) => {
                self.count(reason);
                Outcome::Rejected(reason)
            }
            outcome => outcome,
        }
    }

    fn count(&mut self, reason: Rejection) {
        if let Some(i) = Rejection::ALL.iter().position(|&r| r == reason) {
            self.rejected[i] += 1;
        }
    }

    fn judge(&mut self, received: Option<Instant>, to: IpAddr, time: Timestamp, bytes: &[u8]) -> Outcome {
        use Outcome::Rejected;
        let Ok((header, _)) = Header::parse(bytes) else { return Rejected(Rejection::Malformed) };
        if header.mode != Mode::Server {
            return Rejected(Rejection::Mode);
        }
        let answers = |p: &Pending| p.nonce == header.origin || (p.cookie == header.origin && !p.cookie.is_zero());
        let Some(pending) = self.pending.filter(answers) else {
            return Rejected(Rejection::Origin);
        };
        if header.version != self.options.version {
            return Rejected(Rejection::Version);
        }
        if !self.believes(header.version, bytes) {
            return Rejected(Rejection::Authentication);
        }
        // From here on the packet answers our request, and nothing else can answer it again.
        self.pending = None;
        if header.stratum == 0 {
            return self.kissed(header.reference_id, header.poll);
        }
        if header.receive.is_zero() || header.transmit.is_zero() {
            return Rejected(Rejection::Timestamp);
        }
        self.reach.answered();
        self.received += 1;
        if self.unanswered > PATIENCE {
            self.come_back(received);
        }
        self.unanswered = 0;
        if header.leap == Leap::Unsynchronised || header.stratum >= 16 {
            self.count(Rejection::Unsynchronised);
            return Outcome::Unsynchronised;
        }
        let root_delay = header.root_delay.duration();
        let root_dispersion = header.root_dispersion.duration();
        if root_delay / 2 + root_dispersion >= MAX_ROOT {
            return Rejected(Rejection::RootDistance);
        }
        if header.stratum > 1 && header.reference_id == reference_id_of(to) {
            return Rejected(Rejection::Loop);
        }
        let Some(received) = received else {
            self.last = None;
            return Rejected(Rejection::Stamp);
        };
        let by = (pending.sent_by, self.received_by);
        let last = self.last.replace(Exchange { sent: pending.sent, received, by, server_in: header.receive, sampled: true });
        let exchange = if header.origin == pending.nonce {
            Exchange { sent: pending.sent, received, by, server_in: header.receive, sampled: false }
        } else if let Some(last) = last {
            if let Some(now) = &mut self.last {
                now.sampled = false;
            }
            last
        } else {
            return Rejected(Rejection::Origin);
        };
        let Exchange { sent, received, .. } = exchange;
        let server_in = exchange.server_in.to_utc(time);
        let server_out = header.transmit.to_utc(time);
        let processing = server_out.since(server_in);
        let round_trip = received.since(sent);
        // Two stamps of different clocks may cross by their precision, not by more.
        if processing < Offset::ZERO || round_trip < Offset::ZERO || processing - round_trip > Offset::from_nanos(1_000_000) {
            return Rejected(Rejection::Timestamp);
        }
        let precision = Duration::from_secs_f64(f64::from(header.precision.clamp(-30, 0)).exp2());
        let delay = (round_trip - processing).positive();
        if delay > self.options.max_delay {
            return Rejected(Rejection::Delay);
        }
        if exchange.sampled {
            return Outcome::Repeated;
        }
        self.stamps = Some(exchange.by);
        Outcome::Sample(Sample {
            source: self.id,
            at: sent.midpoint(received),
            reference: server_in.midpoint(server_out) + self.options.offset,
            delay,
            dispersion: precision,
            root_delay,
            root_dispersion,
            stratum: Stratum::new(header.stratum).max(self.options.min_stratum),
            leap: header.leap,
            reference_id: header.reference_id,
            timescale: self.options.timescale,
            asks_us: false,
        })
    }

    /// Whether a packet is signed, if it must be.
    fn believes(&self, version: u8, packet: &[u8]) -> bool {
        if !self.authenticated {
            return true;
        }
        match (keys::tail(version, packet), &self.key) {
            (Tail::Coded { id, message, code }, Some(key)) => id == key.id() && key.verifies(version, message, code),
            _ => false,
        }
    }

    /// The first answer after a long silence: begin anew.
    fn come_back(&mut self, received: Option<Instant>) {
        self.pace.begin(self.options.iburst);
        let spacing = self.pace.on_request(false);
        if let (Some(received), Some(next)) = (received, self.next) {
            self.next = Some(next.min(received + spacing));
        }
    }

    fn kissed(&mut self, code: ReferenceId, poll: i8) -> Outcome {
        match &code.0 {
            b"DENY" | b"RSTR" => {
                self.count(Rejection::Kiss);
                self.next = None;
                self.pace.stop_burst();
                self.reach.reset();
                Outcome::Denied
            }
            b"RATE" => {
                // Never ask as often again: at least the server's own interval, at least one step slower.
                let slower = self.pace.poll().max(self.pace.shortest()).longer(Poll::new(SLOWEST_LOG2));
                self.pace.obey(Poll::new(poll).min(Poll::new(SLOWEST_LOG2)).max(slower));
                self.next = self.next.map(|next| next + self.pace.interval());
                Outcome::Rejected(Rejection::Kiss)
            }
            _ => Outcome::Rejected(Rejection::Kiss),
        }
    }

    /// Adapts the interval: `sigmas` is how unexpected the sample was, `gain` how much it brought.
    pub fn adapt(&mut self, sigmas: f64, gain: f64) {
        if let (Some(interval), Some(_)) = (self.pace.adapt(sigmas, gain), self.next) {
            self.next = Some(self.asked + interval);
        }
    }

    /// Ask at once and four times: time was disrupted. Returns the request that is not waited for any more.
    pub fn hurry(&mut self, now: Instant) -> Option<Token> {
        self.last = None;
        let forgotten = self.pending.take().map(|p| p.token);
        if self.next.is_some() {
            self.next = Some(now);
            self.pace.begin(true);
        }
        forgotten
    }

    /// The request could not be sent: it does not wait for an answer, and says nothing of the server.
    pub fn on_send_failed(&mut self, token: Token, now: Instant) {
        if self.pending.is_some_and(|p| p.token == token) {
            self.pending = None;
            self.unanswered = self.unanswered.saturating_sub(1);
            if self.received == 0 {
                self.pace.begin(self.options.iburst);
            }
            let retry = now + RETRY.min(self.pace.interval());
            self.next = self.next.map(|next| if self.received == 0 { retry } else { next });
        }
    }

    /// The request whose answer is awaited.
    #[must_use]
    pub fn awaited(&self) -> Option<Token> {
        self.pending.map(|p| p.token)
    }

    /// Its source id.
    #[must_use]
    pub const fn id(&self) -> SourceId {
        self.id
    }

    /// The server's address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The interval in use, as the nearest power of two.
    #[must_use]
    pub fn poll(&self) -> Poll {
        self.pace.poll()
    }

    /// Where the interval lies between powers of two: 1 is half a step longer than [`Association::poll`], -1 half a step shorter.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.pace.score()
    }

    /// The reachability register.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        self.reach
    }

    /// Requests sent, valid answers received.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Requests in a row without an answer.
    #[must_use]
    pub const fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Answers thrown away, by reason; reasons that never happened are left out.
    pub fn rejected(&self) -> impl Iterator<Item = (Rejection, u64)> + '_ {
        Rejection::ALL.iter().copied().zip(self.rejected).filter(|&(_, n)| n > 0)
    }
}

#[cfg(test)]
mod tests;
