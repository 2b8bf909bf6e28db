//! One socket and who answers there: takes a batch of requests, judges, answers each at the moment it leaves.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::slate::{Notice, Slate};
use super::{Counter, REST};
use crate::ntp::{Admitted, Prepared, Reply, Request};
use crate::sys::server_socket::{BATCH, Batch, ServerSocket};
use crate::sys::time;
use crate::units::{Instant, Offset, Timestamp};

/// A reading of both clocks serves for so long.
const FRESH: Offset = Offset::from_nanos(250_000);
/// A stamp may lie so far ahead of a reading, beside [`FRESH`].
const AHEAD: Offset = Offset::from_nanos(50_000);
/// A request that waited longer in the queue, by its stamp, has crossed a step of the clock.
const OLDEST: Offset = Offset::from_nanos(-2_000_000_000);
/// What is prepared for replies holds for so long, and is stated for its end.
const PREPARED: Duration = Duration::from_millis(4);
/// After a pause like this, or a jump of the clocks against each other, the machine may have slept.
const PAUSE: Offset = Offset::from_nanos(10_000_000);
const JUMP: Offset = Offset::from_nanos(1_000_000);
/// A shorter sleep is none.
const SHORTEST_SUSPEND: Duration = Duration::from_millis(50);
/// Batches of so many replies tell how fast they leave.
const LEARNING: u32 = 4;
/// Replies whose sending stamps are awaited.
const AWAITED: usize = 64;
/// The part of a looped packet that names the reply: from its receive timestamp's place to the end.
const RECEIVE_AT: usize = 32;

/// What one thread sees of the clocks.
#[derive(Debug)]
struct Sight {
    slate: Arc<Slate>,
    sequence: u64,
    notice: Notice,
    prepared: Prepared,
    prepared_at: Instant,
    /// Both clocks at one moment.
    raw: Instant,
    real: Timestamp,
    /// The machine slept, and the slate does not say so yet.
    asleep: bool,
}

impl Sight {
    fn new(slate: Arc<Slate>) -> Self {
        let (sequence, notice) = slate.read();
        let (raw, real) = (time::raw(), time::realtime());
        let prepared = Prepared::new(&notice.snapshot, raw);
        Self { slate, sequence, notice, prepared, prepared_at: raw, raw, real, asleep: false }
    }

    /// Reads both clocks again, and notices that the machine slept.
    fn refresh(&mut self) {
        let (mut raw, mut real) = (time::raw(), time::realtime());
        if time::raw().since(raw) > Offset::from_nanos(20_000) {
            // Preempted in between.
            (raw, real) = (time::raw(), time::realtime());
        }
        let pause = raw.since(self.raw);
        let drift = real.since(self.real) - pause;
        (self.raw, self.real) = (raw, real);
        if pause > PAUSE || drift.abs() > JUMP.abs() || self.asleep {
            self.look_for_sleep();
        }
    }

    fn look_for_sleep(&mut self) {
        let slept = time::suspended().unwrap_or_default().saturating_sub(self.notice.suspended);
        let asleep = slept >= SHORTEST_SUSPEND;
        if asleep != self.asleep {
            self.asleep = asleep;
            self.prepare(self.raw);
        }
    }

    fn prepare(&mut self, now: Instant) {
        let snapshot = if self.asleep { self.notice.snapshot.distrusted() } else { self.notice.snapshot };
        self.prepared = Prepared::new(&snapshot, now + PREPARED);
        self.prepared_at = now;
    }

    /// Before a batch whose first stamp this is.
    fn look(&mut self, stamp: Option<Timestamp>) {
        let fresh = stamp.is_some_and(|stamp| {
            let age = stamp.since(self.real);
            age <= FRESH && age >= -FRESH
        });
        let changed = self.slate.changed(self.sequence);
        if changed {
            (self.sequence, self.notice) = self.slate.read();
        }
        if changed || !fresh {
            self.refresh();
        }
        if changed || self.raw.since(self.prepared_at) >= Offset::from(PREPARED) {
            if self.asleep {
                self.look_for_sleep();
            }
            self.prepare(self.raw);
        }
    }

    /// When a stamp was made, on the timebase; now, if it cannot be told.
    fn instant_of(&self, stamp: Option<Timestamp>) -> Instant {
        let Some(stamp) = stamp else { return time::raw() };
        let along = stamp.since(self.real);
        if along > FRESH + AHEAD || along < OLDEST {
            return time::raw();
        }
        self.raw + along + Offset::from_seconds(-along.seconds() * self.notice.rate)
    }
}

/// One socket and its responder.
pub(super) struct Desk {
    socket: ServerSocket,
    batch: Batch,
    counter: Counter,
    sight: Sight,
    admitted: ArrayVec<(usize, SocketAddr, Admitted), BATCH>,
    /// Where replies went whose sending stamps are awaited: the client, the reply's length and its receive timestamp.
    awaited: VecDeque<(SocketAddr, usize, [u8; 8])>,
    looped: Box<[u8; 2048]>,
    reply: Reply,
    /// Between two replies of a batch: the later ones leave so much later, and say so.
    pace: Duration,
}

impl Desk {
    pub(super) fn new(socket: ServerSocket, counter: Counter, slate: Arc<Slate>) -> Self {
        Self {
            socket,
            batch: Batch::new(),
            counter,
            sight: Sight::new(slate),
            admitted: ArrayVec::new(),
            awaited: VecDeque::with_capacity(AWAITED),
            looped: Box::new([0; 2048]),
            reply: Reply::new(),
            pace: Duration::ZERO,
        }
    }

    pub(super) const fn socket(&self) -> &ServerSocket {
        &self.socket
    }

    pub(super) const fn socket_mut(&mut self) -> &mut ServerSocket {
        &mut self.socket
    }

    /// Serves until the slate says stop.
    pub(super) fn serve(&mut self) {
        let mut said = false;
        while !self.sight.slate.stopped() {
            match self.turn() {
                Ok(_) => said = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!("a serving socket cannot be read: {error}; trying again");
                    }
                    std::thread::sleep(REST);
                }
            }
        }
    }

    /// One batch: waits for it if the socket does.
    pub(super) fn turn(&mut self) -> io::Result<usize> {
        let count = self.batch.receive(&mut self.socket)?;
        if count == 0 {
            return Ok(0);
        }
        if !self.awaited.is_empty() {
            self.hear_of_sent();
        }
        self.sight.look(self.batch.datagram(0).and_then(|d| d.stamp));
        self.admitted.clear();
        let mut responder = self.counter.look();
        for i in 0..count {
            let Some(datagram) = self.batch.datagram(i) else { continue };
            let request = Request { from: datagram.from, received: self.sight.instant_of(datagram.stamp), bytes: datagram.bytes };
            if let Ok(admitted) = responder.judge(&request) {
                self.admitted.push((i, request.from, admitted));
            }
        }
        let start = time::raw();
        let mut leaves = start;
        for (i, from, admitted) in &self.admitted {
            let reply = &mut self.reply;
            responder.answer(&self.sight.prepared, admitted, leaves, reply);
            leaves = leaves + self.pace;
            if let (true, Some(receive)) = (admitted.wants_stamp(), reply.get(RECEIVE_AT..).and_then(<[u8]>::first_chunk)) {
                if self.awaited.len() == AWAITED {
                    self.awaited.pop_front();
                }
                self.awaited.push_back((*from, reply.len(), *receive));
            }
            self.batch.queue(*i, &self.reply, &mut self.socket, admitted.wants_stamp());
        }
        drop(responder);
        let unsent = self.batch.send(&mut self.socket);
        self.learn_pace(start);
        if unsent > 0 {
            self.counter.look().on_unsent(unsent);
        }
        if !self.awaited.is_empty() {
            self.hear_of_sent();
        }
        Ok(count)
    }

    /// How long each reply of the batch took to leave since `start`.
    fn learn_pace(&mut self, start: Instant) {
        let Ok(count) = u32::try_from(self.admitted.len()) else { return };
        if count >= LEARNING {
            let measured = time::raw().elapsed_since(start) / count;
            // Down at once and up slowly: a reply must not say that it left later than it did.
            self.pace = measured.min(self.pace + self.pace / 8 + Duration::from_nanos(1));
        }
    }

    /// Takes the stamps of replies that left.
    fn hear_of_sent(&mut self) {
        for _ in 0..AWAITED {
            let Some((length, stamp)) = self.socket.sent(self.looped.as_mut_slice()) else { return };
            let packet = &self.looped[..length.min(self.looped.len())];
            let place = self.awaited.iter().position(|(_, reply, receive)| {
                let start = length.checked_sub(*reply);
                start.is_some_and(|start| packet.get(start + RECEIVE_AT..).is_some_and(|p| p.starts_with(receive)))
            });
            let Some((to, reply, _)) = place.and_then(|place| self.awaited.remove(place)) else { continue };
            if stamp != Timestamp::UNIX_EPOCH {
                self.sight.refresh();
                let at = self.sight.instant_of(Some(stamp));
                self.counter.look().on_sent(&self.sight.prepared, to, &packet[length - reply..], at);
            }
        }
    }
}

impl AsRawFd for Desk {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Desk at {:?}", self.socket.local_address())
    }
}
