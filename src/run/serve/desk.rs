//! One socket and who answers there: takes a batch of requests, judges, answers each at the moment it leaves.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::sight::Sight;
use super::slate::Slate;
use super::{Counter, REST};
use crate::ntp::{Admitted, Reply, Request};
use crate::sys::server_socket::{BATCH, Batch, Sent, ServerSocket};
use crate::sys::time;
use crate::units::Instant;

/// Batches of so many replies tell how fast they leave.
const LEARNING: u32 = 4;
/// So many batches tell of the pace at present.
const LATELY: u32 = 32;
/// Replies whose sending stamps are awaited.
const AWAITED: usize = 64;
/// The part of a looped packet that names the reply: from its receive timestamp's place to the end.
const RECEIVE_AT: usize = 32;

/// A reply whose sending stamps are awaited.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// The client.
    to: SocketAddr,
    /// Its length.
    length: usize,
    /// Its receive timestamp, which names it.
    receive: [u8; 8],
    /// It did not leave before this.
    handed: Instant,
    /// The kernel has said when.
    told: bool,
}

/// One socket and its responder.
pub(super) struct Desk {
    socket: ServerSocket,
    batch: Batch,
    counter: Counter,
    sight: Sight,
    admitted: ArrayVec<(usize, SocketAddr, Admitted), BATCH>,
    /// Replies whose sending stamps are awaited.
    awaited: VecDeque<Awaited>,
    looped: Box<[u8; 2048]>,
    reply: Reply,
    pace: Pace,
}

/// How much later each reply of a batch leaves than the one before, and says so: less than it took lately, as a reply must not say that it left later
/// than it did.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// What is said.
    stated: Duration,
    /// The least of the last batches, and of those before them.
    least: [Option<Duration>; 2],
    batches: u32,
}

impl Pace {
    /// A batch took so long for each reply.
    fn take_in(&mut self, each: Duration) {
        if self.batches % LATELY == 0 {
            self.least = [None, self.least[0]];
        }
        self.batches = self.batches.wrapping_add(1);
        self.least[0] = Some(self.least[0].map_or(each, |least| least.min(each)));
        let least = self.least.into_iter().flatten().min().unwrap_or_default();
        self.stated = if self.batches < LATELY { Duration::ZERO } else { least / 4 * 3 };
    }
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
            pace: Pace::default(),
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
        while !self.sight.is_over() {
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
            let received = self.sight.received(datagram.stamp, datagram.card.as_ref());
            let request = Request { from: datagram.from, received, bytes: datagram.bytes };
            if let Ok(admitted) = responder.judge(&request) {
                self.admitted.push((i, request.from, admitted));
            }
        }
        let start = time::raw();
        let mut leaves = start;
        for (i, from, admitted) in &self.admitted {
            let reply = &mut self.reply;
            responder.answer(self.sight.prepared(), admitted, leaves, reply);
            leaves = leaves + self.pace.stated;
            if let (true, Some(receive)) = (admitted.wants_stamp(), reply.get(RECEIVE_AT..).and_then(<[u8]>::first_chunk)) {
                if self.awaited.len() == AWAITED {
                    self.awaited.pop_front();
                }
                self.awaited.push_back(Awaited { to: *from, length: reply.len(), receive: *receive, handed: start, told: false });
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
        self.sight.count_uses();
        Ok(count)
    }

    /// How long each reply of the batch took to leave since `start`.
    fn learn_pace(&mut self, start: Instant) {
        let Ok(count) = u32::try_from(self.admitted.len()) else { return };
        if count >= LEARNING {
            self.pace.take_in(time::raw().elapsed_since(start) / count);
        }
    }

    /// Takes the stamps of replies that left.
    fn hear_of_sent(&mut self) {
        for _ in 0..AWAITED {
            let Some(Sent { length, stamp, card }) = self.socket.sent(self.looped.as_mut_slice()) else { return };
            let packet = &self.looped[..length.min(self.looped.len())];
            let place = self.awaited.iter().position(|awaited| {
                let start = length.checked_sub(awaited.length);
                start.is_some_and(|start| packet.get(start + RECEIVE_AT..).is_some_and(|p| p.starts_with(&awaited.receive)))
            });
            let Some(place) = place else { continue };
            let Awaited { to, length: reply, handed, told, .. } = self.awaited[place];
            self.sight.refresh();
            let at = match (&card, stamp) {
                (Some(card), _) => self.sight.sent(card, handed),
                (None, Some(stamp)) => Some(self.sight.instant_of(Some(stamp))),
                (None, None) => None,
            };
            // A card's stamp comes after the kernel's, or never.
            match (self.socket.has_card_stamps() && card.is_none(), at) {
                (true, Some(at)) => (self.awaited[place].handed, self.awaited[place].told) = (at.max(handed), true),
                (true, None) => {}
                (false, _) => drop(self.awaited.remove(place)),
            }
            if let Some(at) = at {
                let (mut responder, bytes) = (self.counter.look(), &packet[length - reply..]);
                if told {
                    responder.on_better_sent(self.sight.prepared(), to, bytes, at);
                } else {
                    responder.on_sent(self.sight.prepared(), to, bytes, at);
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_batch_does_not_change_the_pace_and_a_quick_one_does() {
        let (mut pace, micros) = (Pace::default(), Duration::from_micros);
        (1..LATELY).for_each(|_| pace.take_in(micros(4)));
        assert_eq!(pace.stated, Duration::ZERO, "it is not known yet");
        (0..LATELY).for_each(|_| pace.take_in(micros(4)));
        assert_eq!(pace.stated, micros(3));
        // Half a second of a busy core.
        (1..LATELY).for_each(|_| pace.take_in(micros(400)));
        assert_eq!(pace.stated, micros(3));
        pace.take_in(micros(2));
        assert_eq!(pace.stated, Duration::from_nanos(1500));
        (0..2 * LATELY).for_each(|_| pace.take_in(micros(40)));
        assert_eq!(pace.stated, micros(30), "that is how it is now");
    }
}
