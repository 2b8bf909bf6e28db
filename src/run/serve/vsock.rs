//! Machines of this host that ask over vsock: a few connections at a time, each for a short while, on the loop's thread.
//!
//! The same responder, limits and slate as for those who ask over the network. Who is refused is hung up on: a stream cannot be silent and stay
//! in step, and the asker learns at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::sight::Sight;
use super::slate::Slate;
use super::{Counter, REST};
use crate::ntp::{Reply, Request};
use crate::run::registered::register;
use crate::sys::time;
use crate::sys::vsock::{VsockListener, VsockStream};
use crate::units::{Instant, Vsock};
use crate::wire::frame::{self, Frame, Frames, MAX_PACKET};

/// Connections at a time, and those of one machine.
const CONNECTIONS: usize = 64;
const CONNECTIONS_EACH: usize = 8;
/// A connection that brings no whole request for so long is closed, however it drips.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who answers, and to how many.
struct Desk {
    counter: Counter,
    sight: Mutex<Sight>,
    connections: Mutex<BTreeMap<Vsock, usize>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A machine's place for one connection.
struct Place {
    desk: Arc<Desk>,
    machine: Vsock,
}

impl Place {
    fn take(desk: &Arc<Desk>, machine: Vsock) -> Option<Self> {
        if !desk.counter.look().admits(machine.address()) {
            return None;
        }
        let mut connections = lock(&desk.connections);
        let all: usize = connections.values().sum();
        let own = connections.get(&machine).copied().unwrap_or(0);
        if all >= CONNECTIONS || own >= CONNECTIONS_EACH {
            return None;
        }
        connections.insert(machine, own + 1);
        Some(Self { desk: Arc::clone(desk), machine })
    }

    /// The reply to a request, ready to leave at once; `None` if it is refused.
    fn answer(&self, port: u16, received: Instant, bytes: &[u8]) -> Option<Frame> {
        let mut sight = lock(&self.desk.sight);
        sight.look(None);
        let request = Request { from: SocketAddr::new(self.machine.address(), port), received, bytes };
        let mut responder = self.desk.counter.look();
        let admitted = responder.judge(&request).ok()?;
        let mut reply = Reply::new();
        responder.answer(sight.prepared(), &admitted, time::raw(), &mut reply);
        frame::emit(&reply)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = lock(&self.desk.connections);
        if let Some(own) = connections.get_mut(&self.machine) {
            *own -= 1;
            if *own == 0 {
                connections.remove(&self.machine);
            }
        }
    }
}

/// Takes connections until it is dropped.
pub(super) async fn serve(listener: VsockListener, counter: Counter, slate: Arc<Slate>) {
    let desk = Arc::new(Desk { counter, sight: Mutex::new(Sight::new(slate)), connections: Mutex::default() });
    let Ok(listener) = register(listener, Interest::READABLE) else {
        return tracing::error!("time cannot be served over vsock: the event loop does not take the socket");
    };
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        match ready.try_io(|listener| listener.get_ref().accept()) {
            Ok(Ok((stream, machine, port))) => {
                // Who may not ask, or finds no place, is hung up on.
                if let Some(place) = Place::take(&desk, machine) {
                    tokio::spawn(async move {
                        let _ = converse(place, stream, port).await;
                    });
                }
                tokio::task::yield_now().await;
            }
            // Out of descriptors, most likely, or gone again: do not spin.
            Ok(Err(_)) => tokio::time::sleep(REST).await,
            Err(_would_block) => {}
        }
    }
}

async fn converse(place: Place, stream: VsockStream, port: u32) -> io::Result<()> {
    // Ports are wider here than elsewhere; they only tell NTPv1's clients from its servers.
    let port = u16::try_from(port).unwrap_or(u16::MAX);
    let stream = register(stream, Interest::READABLE)?;
    let (mut frames, mut request) = (Frames::default(), ArrayVec::new());
    loop {
        let received = tokio::time::timeout(PATIENCE, next(&stream, &mut frames, &mut request)).await??;
        let Some(reply) = received.and_then(|received| place.answer(port, received, &request)) else { return Ok(()) };
        // Who does not take a reply at once asked for more than it reads.
        if stream.get_ref().write(&reply).unwrap_or(0) < reply.len() {
            place.desk.counter.look().on_unsent(1);
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// The next request, and when it was read; `None` at the end of the stream, or if it brings no packet.
async fn next(stream: &AsyncFd<VsockStream>, frames: &mut Frames, request: &mut ArrayVec<u8, MAX_PACKET>) -> io::Result<Option<Instant>> {
    let mut received = time::raw();
    loop {
        match frames.take(request) {
            Ok(true) => return Ok(Some(received)),
            Ok(false) => {}
            Err(_) => return Ok(None),
        }
        let mut ready = stream.readable().await?;
        let Ok(count) = ready.try_io(|stream| stream.get_ref().read(frames.room())) else { continue };
        received = time::raw();
        match count? {
            0 => return Ok(None),
            count => frames.fill(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntp::Responder;

    fn desk() -> Arc<Desk> {
        let counter = Counter(Arc::new(Mutex::new(Responder::open())));
        Arc::new(Desk { counter, sight: Mutex::new(Sight::new(Arc::new(Slate::new()))), connections: Mutex::default() })
    }

    #[test]
    fn no_machine_takes_the_places_of_all() {
        let desk = desk();
        let mut places: Vec<Place> = (0..CONNECTIONS_EACH).map(|_| Place::take(&desk, Vsock(3)).unwrap()).collect();
        assert!(Place::take(&desk, Vsock(3)).is_none());
        places.extend((0..50).filter_map(|i| Place::take(&desk, Vsock(100 + i))));
        places.extend((0..50).filter_map(|i| Place::take(&desk, Vsock(200 + i))));
        assert_eq!(places.len(), CONNECTIONS);
        drop(places);
        assert!(lock(&desk.connections).is_empty());
        assert!(Place::take(&desk, Vsock(3)).is_some());
    }

    #[test]
    fn a_reply_is_as_long_as_its_request_and_tells_what_is_known() {
        let place = Place::take(&desk(), Vsock(3)).unwrap();
        let mut request = [0; 48];
        (request[0], request[40]) = (0x23, 9);
        let reply = place.answer(1000, time::raw(), &request).unwrap();
        assert_eq!((&reply[..2], reply.len()), (&[0, 48][..], 50));
        assert_eq!((reply[2], reply[26]), (0xe4, 9), "leap 3, version 4, mode 4, and the request's timestamp");
        request[0] = 0x26;
        assert_eq!(place.answer(1000, time::raw(), &request), None);
    }
}
