//! The server's side: from a request and a snapshot of the clock to a reply, or to silence.
//!
//! Pure. A reply is never longer than its request, and modes 6 and 7 are never answered. Two steps: [`Responder::judge`] decides whether a
//! request is answered, [`Responder::answer`] builds the reply at the moment it leaves. What is remembered of clients lives in here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arrayvec::ArrayVec;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::access::Access;
use super::clients::{Client, Clients, Slot};
use super::keys::{self, Keys, Tail};
use super::rate::{Bucket, Turn};
use super::served::{Refusal, Served};
use super::snapshot::{Prepared, Snapshot};
use crate::config::RateLimit;
use crate::units::{Instant, Leap, NtpTimestamp, Poll};
use crate::wire::ntp::{HEADER_LEN, Header, Mode, ParseError};

/// The longest reply: a header, authentication and extension fields.
pub const MAX_REPLY: usize = 1024;
/// The standard port: who asks from it in NTPv1 is no client.
const NTP_PORT: u16 = 123;

/// Room for one reply.
pub type Reply = ArrayVec<u8, MAX_REPLY>;

/// Whom to serve, and how often.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Who may ask.
    pub access: Arc<Access>,
    /// Keys that requests may be signed with.
    pub keys: Arc<Keys>,
    /// How often; `None`: as often as they like.
    pub rate_limit: Option<RateLimit>,
    /// Bytes for what is remembered of clients; 0 remembers nothing, and limits nobody.
    pub client_memory: usize,
    /// For the clients' places and for chance.
    pub seed: u64,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send what was built.
    Reply,
    /// Say nothing.
    Refused(Refusal),
}

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks: what rate limits, access rules and interleaving go by.
    pub from: SocketAddr,
    /// When it arrived, on the timebase.
    pub received: Instant,
    /// What it says.
    pub bytes: &'a [u8],
}

/// A request that will be answered.
#[derive(Clone, Copy, Debug)]
pub struct Admitted {
    asked: Asked,
    mode: Mode,
    received: Instant,
    length: usize,
    slot: Option<Slot>,
    /// We ask the client too.
    sibling: bool,
    kiss: bool,
    /// Where the key lies that signed the request and signs the reply.
    key: Option<usize>,
    /// In the interleaved mode: when the last reply left.
    sent: Option<NtpTimestamp>,
    /// The client may ask for this reply's sending time next.
    interleaves: bool,
}

/// What a reply repeats of its request.
#[derive(Clone, Copy, Debug)]
struct Asked {
    version: u8,
    poll: i8,
    receive: NtpTimestamp,
    transmit: NtpTimestamp,
}

impl Admitted {
    /// Whether the kernel should be asked when the reply leaves; the reply's receive timestamp names it.
    #[must_use]
    pub const fn wants_stamp(&self) -> bool {
        self.interleaves
    }

    /// Whether the reply will be signed, which takes a while.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.key.is_some()
    }
}

/// Answers requests. One for each serving thread; per-client state lives here.
#[derive(Clone, Debug)]
pub struct Responder {
    access: Arc<Access>,
    keys: Arc<Keys>,
    bucket: Option<Bucket>,
    slowest_poll: Poll,
    clients: Option<Clients>,
    rng: Xoshiro256PlusPlus,
    served: Served,
}

impl Responder {
    /// A responder that has answered nobody yet.
    #[must_use]
    pub fn new(options: &ServerOptions) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(options.seed);
        let clients = (options.client_memory > 0).then(|| Clients::new(options.client_memory, &mut rng));
        Self {
            access: Arc::clone(&options.access),
            keys: Arc::clone(&options.keys),
            bucket: options.rate_limit.map(Bucket::new),
            slowest_poll: options.rate_limit.map_or(Poll::MIN, |limit| Poll::new(limit.interval)),
            clients,
            rng,
            served: Served::default(),
        }
    }

    /// One that answers everybody and remembers nobody.
    #[must_use]
    pub fn open() -> Self {
        Self::new(&ServerOptions {
            access: Arc::new(Access::everybody()),
            keys: Arc::default(),
            rate_limit: None,
            client_memory: 0,
            seed: 0,
        })
    }

    /// Whether somebody may ask at all; who may not has asked in vain, and is counted.
    pub fn admits(&mut self, address: IpAddr) -> bool {
        let admits = self.access.allows(address);
        if !admits {
            self.served.received += 1;
            self.served.refuse(Refusal::Denied);
        }
        admits
    }

    /// Whether a request is answered.
    pub fn judge(&mut self, request: &Request<'_>) -> Result<Admitted, Refusal> {
        let judged = self.weigh(request);
        match judged {
            Ok(admitted) if admitted.kiss => self.served.kissed += 1,
            Ok(_) => {}
            Err(refusal) => self.served.refuse(refusal),
        }
        judged
    }

    fn weigh(&mut self, request: &Request<'_>) -> Result<Admitted, Refusal> {
        self.served.received += 1;
        let bytes = request.bytes;
        let (asked, _) = Header::parse(bytes).map_err(|error| match error {
            ParseError::Short(_) => Refusal::Malformed,
            ParseError::Version => Refusal::Version,
        })?;
        if bytes.len() % 4 != 0 {
            return Err(Refusal::Malformed);
        }
        let mode = match asked.mode {
            Mode::Client => Mode::Server,
            Mode::SymmetricActive => Mode::SymmetricPassive,
            // NTPv1 had no modes: there the port tells who is a client.
            Mode::Other(0) if asked.version == 1 && request.from.port() != NTP_PORT => Mode::Server,
            Mode::Other(6 | 7) => return Err(Refusal::Control),
            _ => return Err(Refusal::Mode),
        };
        if asked.version > 4 {
            return Err(Refusal::Version);
        }
        if !self.access.allows(request.from.ip()) {
            return Err(Refusal::Denied);
        }
        let mut admitted = Admitted {
            asked: Asked { version: asked.version, poll: asked.poll, receive: asked.receive, transmit: asked.transmit },
            mode,
            received: request.received,
            length: bytes.len(),
            slot: None,
            sibling: false,
            kiss: false,
            key: None,
            sent: None,
            interleaves: false,
        };
        if let Some(clients) = &mut self.clients {
            let slot = clients.ask(request.from.ip(), request.received);
            (admitted.slot, admitted.sibling) = (Some(slot), clients.is_sibling(slot));
            if let Some(bucket) = &self.bucket {
                match clients.limit(slot, bucket, request.received, &mut self.rng) {
                    Turn::Pass => {}
                    Turn::Drop => return Err(Refusal::Limited),
                    Turn::Kiss => admitted.kiss = true,
                }
            }
        }
        if bytes.len() > HEADER_LEN {
            admitted.key = self.authenticate(asked.version, bytes)?;
        }
        if let (Some(clients), Some(slot)) = (&mut self.clients, admitted.slot) {
            // RFC 9769 section 2: an origin that is one of our receive timestamps, whose last bit is set, and stamps of its own that differ.
            admitted.interleaves = !admitted.kiss && asked.version == 4 && asked.origin.0 & 1 == 1 && asked.receive != asked.transmit;
            if admitted.interleaves {
                admitted.sent = clients.take_sent(slot, asked.origin);
                self.served.interleaved += u64::from(admitted.sent.is_some());
            }
        }
        Ok(admitted)
    }

    /// Where the key lies that a request is signed with, if it is signed.
    fn authenticate(&mut self, version: u8, packet: &[u8]) -> Result<Option<usize>, Refusal> {
        match keys::tail(version, packet) {
            Tail::Plain => Ok(None),
            Tail::Garbled => Err(Refusal::Malformed),
            Tail::Coded { id, message, code } => {
                let place = self.keys.place(id).ok_or(Refusal::Authentication)?;
                let good = self.keys.at(place).is_some_and(|key| key.verifies(version, message, code));
                if !good {
                    return Err(Refusal::Authentication);
                }
                self.served.authenticated += 1;
                Ok(Some(place))
            }
        }
    }

    /// Builds the reply to an admitted request in `out`; `now` is the moment just before sending.
    pub fn answer(&mut self, prepared: &Prepared, admitted: &Admitted, now: Instant, out: &mut Reply) {
        let asked = &admitted.asked;
        // A kernel's stamp may seem a little late: it is placed with the precision of a reading.
        let receive = prepared.receive(admitted.received.min(now));
        let transmit = prepared.transmit(now);
        let mut bytes = prepared.template;
        bytes[0] |= asked.version << 3 | admitted.mode.bits();
        bytes[2] = asked.poll.max(self.slowest_poll.log2()).to_be_bytes()[0];
        let origin = if admitted.sent.is_some() { asked.receive } else { asked.transmit };
        bytes[24..32].copy_from_slice(&origin.0.to_be_bytes());
        bytes[32..40].copy_from_slice(&receive.0.to_be_bytes());
        bytes[40..].copy_from_slice(&admitted.sent.unwrap_or(transmit).0.to_be_bytes());
        if admitted.sibling {
            bytes[8..12].copy_from_slice(&prepared.testimony);
        }
        if admitted.kiss {
            kiss(&mut bytes, asked.transmit);
        }
        out.clear();
        // There is room for a header.
        let _ = out.try_extend_from_slice(&bytes);
        if let Some(key) = admitted.key.and_then(|place| self.keys.at(place)) {
            key.sign(asked.version, out);
        }
        if let (true, Some(slot), Some(clients)) = (admitted.interleaves, admitted.slot, &mut self.clients) {
            clients.keep_sent(slot, receive, transmit);
        }
        debug_assert!(out.len() <= admitted.length, "a reply is never longer than its request");
        self.served.replied += 1;
    }

    /// Judges and answers at once.
    pub fn reply(&mut self, snapshot: &Snapshot, request: &Request<'_>, now: Instant, out: &mut Reply) -> Verdict {
        match self.judge(request) {
            Ok(admitted) => {
                self.answer(&Prepared::new(snapshot, now), &admitted, now, out);
                Verdict::Reply
            }
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// The kernel says when a reply left that wanted to know.
    pub fn on_sent(&mut self, prepared: &Prepared, to: SocketAddr, reply: &[u8], at: Instant) {
        self.served.stamped += u64::from(self.on_better_sent(prepared, to, reply, at));
    }

    /// The network card says it better; false if nobody would ask.
    pub fn on_better_sent(&mut self, prepared: &Prepared, to: SocketAddr, reply: &[u8], at: Instant) -> bool {
        match (&mut self.clients, Header::parse(reply)) {
            (Some(clients), Ok((header, _))) => clients.correct_sent(to.ip(), header.receive, prepared.transmit(at)),
            _ => false,
        }
    }

    /// So many replies could not be sent after all.
    pub const fn on_unsent(&mut self, replies: u64) {
        self.served.unsent += replies;
    }

    /// What was counted.
    #[must_use]
    pub fn served(&self) -> Served {
        let mut served = self.served;
        if let Some(clients) = &self.clients {
            served.forgotten = clients.forgotten();
        }
        served
    }

    /// How many clients are remembered, how many of them interleave, and the bytes for that.
    #[must_use]
    pub fn memory(&self) -> (usize, usize, usize) {
        self.clients.as_ref().map_or((0, 0, 0), |c| (c.len(), c.interleaving(), c.bytes()))
    }

    /// We ask this machine. If it asks us, it is told from now on what we know without it; true if it is remembered.
    pub fn mark_sibling(&mut self, address: IpAddr) -> bool {
        self.clients.as_mut().is_some_and(|clients| clients.mark_sibling(address))
    }

    /// Everybody that is remembered.
    pub fn clients(&self) -> impl Iterator<Item = Client> {
        self.clients.iter().flat_map(Clients::iter)
    }
}

/// Makes a reply a kiss-o'-death RATE (RFC 5905 section 7.4), with timestamps that nobody can take a measurement from.
fn kiss(bytes: &mut [u8; HEADER_LEN], asked: NtpTimestamp) {
    bytes[0] |= Leap::Unsynchronised.bits() << 6;
    bytes[1] = 0;
    bytes[4..12].fill(0);
    bytes[12..16].copy_from_slice(b"RATE");
    bytes[16..24].fill(0);
    bytes[32..40].copy_from_slice(&asked.0.to_be_bytes());
    bytes[40..].copy_from_slice(&asked.0.to_be_bytes());
}

#[cfg(test)]
mod tests;
