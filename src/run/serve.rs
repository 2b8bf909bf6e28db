//! Serving time: sockets, threads, and what they are told.
//!
//! [`open`] binds everything while nothing else has begun; [`Opened::start`] starts the threads, or tasks in the main loop. Each thread waits on one socket
//! and owns a [`Responder`](crate::ntp::Responder); the kernel steers every client to one thread. They read the time from the [`Slate`].

mod desk;
mod open;
mod sight;
mod slate;
#[cfg(test)]
mod tests;
mod vsock;

pub use open::{Opened, open};
pub use slate::Slate;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::Interest;

use super::registered::register;
use crate::ntp::{Refusal, Responder, Served};
use crate::sys::server_socket::Bell;
use crate::sys::{thread, time};
use crate::units::{Instant, shown};
use crate::wire::control::{ClientReport, Server, ServerThread};
use desk::Desk;

/// A socket that fails to read rests for so long.
const REST: Duration = Duration::from_millis(100);
/// How long the end of the program waits for a thread that was told to stop.
const FAREWELL: Duration = Duration::from_millis(500);

/// A responder that a thread serves with and others look into between two batches.
#[derive(Clone, Debug)]
struct Counter(Arc<Mutex<Responder>>);

impl Counter {
    fn look(&self) -> MutexGuard<'_, Responder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time is being served. Dropping it ends that.
#[derive(Debug)]
pub struct Service {
    slate: Arc<Slate>,
    counters: Vec<Counter>,
    addresses: Vec<String>,
    threads: Vec<(JoinHandle<()>, Bell)>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Opened {
    /// Asks for the stamps of network cards too.
    pub fn stamp_by_cards(&mut self) {
        for (socket, _) in &mut self.sockets {
            socket.stamp_by_cards();
        }
    }

    /// Starts serving what the slate says. Call it after privileges were given up, within the event loop.
    pub fn start(self) -> Service {
        let slate = Arc::new(Slate::new());
        let mut service =
            Service { slate: Arc::clone(&slate), counters: Vec::new(), addresses: self.addresses, threads: Vec::new(), tasks: Vec::new() };
        let threaded = self.threads > 0;
        for (i, (socket, responder)) in self.sockets.into_iter().enumerate() {
            let counter = match responder {
                Some(responder) => Counter(Arc::new(Mutex::new(responder))),
                // Within the main loop all sockets share the first one's.
                None => service.counters[0].clone(),
            };
            if threaded || service.counters.is_empty() {
                service.counters.push(counter.clone());
            }
            let desk = Desk::new(socket, counter, Arc::clone(&slate));
            if threaded { service.start_thread(i, desk, self.threads > 1) } else { service.start_task(desk) }
        }
        let how = if threaded { format!("on {} thread(s)", service.threads.len()) } else { "within the main loop".to_owned() };
        tracing::info!("serving time at {} {how}", service.addresses.join(", "));
        if let Some((listener, responder)) = self.vsock {
            let counter = Counter(Arc::new(Mutex::new(responder)));
            service.counters.push(counter.clone());
            service.tasks.push(tokio::spawn(vsock::serve(listener, counter, slate)));
        }
        service
    }
}

impl Service {
    fn start_thread(&mut self, i: usize, mut desk: Desk, several: bool) {
        let bell = desk.socket().bell();
        let started = std::thread::Builder::new().name(format!("serve-{i}")).spawn(move || {
            if several {
                // Several can hold every core: they leave the loop that steers the first place, and on busy cores find more requests at each waking.
                // Requests carry the time they came, so that waiting makes no answer wrong. Where it is forbidden nothing is lost but that.
                let _ = thread::step_back();
            }
            desk.serve();
        });
        match started {
            Ok(thread) => self.threads.push((thread, bell)),
            Err(error) => tracing::error!("a serving thread cannot start: {error}; its clients get no answers"),
        }
    }

    fn start_task(&mut self, mut desk: Desk) {
        desk.socket_mut().set_nonblocking();
        self.tasks.push(tokio::spawn(serve_here(desk)));
    }

    /// Where the time is written for those who serve it.
    #[must_use]
    pub fn slate(&self) -> Arc<Slate> {
        Arc::clone(&self.slate)
    }

    /// A look into it for reports.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        Viewer { slate: self.slate(), counters: self.counters.clone(), addresses: self.addresses.clone() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.slate.stop();
        for task in &self.tasks {
            task.abort();
        }
        for (_, bell) in &self.threads {
            bell.ring();
        }
        let until = time::raw() + FAREWELL;
        for (thread, _) in self.threads.drain(..) {
            while !thread.is_finished() && time::raw() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

/// One socket, on the thread of the main loop: a batch, then whatever else is due.
async fn serve_here(desk: Desk) {
    let Ok(mut desk) = register(desk, Interest::READABLE) else {
        return tracing::error!("time cannot be served: the event loop does not take the socket");
    };
    loop {
        let Ok(mut ready) = desk.readable_mut().await else { return };
        match ready.try_io(|desk| desk.get_mut().turn()) {
            Ok(Ok(_)) => tokio::task::yield_now().await,
            Ok(Err(_)) => tokio::time::sleep(REST).await,
            Err(_would_block) => {}
        }
    }
}

/// Shows what is served.
#[derive(Clone, Debug)]
pub struct Viewer {
    slate: Arc<Slate>,
    counters: Vec<Counter>,
    addresses: Vec<String>,
}

impl Viewer {
    /// Counters of every thread.
    #[must_use]
    pub fn report(&self) -> Server {
        let [card_received, card_sent, card_refused] = self.slate.uses();
        let mut server = Server { addresses: self.addresses.clone(), card_received, card_sent, card_refused, ..Server::default() };
        for counter in &self.counters {
            let (served, (clients, timestamps, bytes)) = {
                let responder = counter.look();
                (responder.served(), responder.memory())
            };
            server.clients += length(clients);
            server.timestamps += length(timestamps);
            server.memory += length(bytes);
            server.threads.push(thread_report(&served));
        }
        server
    }

    /// We ask this machine. If it asks us, it is told from now on what we know without it; true if it is remembered.
    #[must_use]
    pub fn mark_sibling(&self, address: IpAddr) -> bool {
        // At each of our addresses somebody else may remember it.
        self.counters.iter().filter(|counter| counter.look().mark_sibling(address)).count() > 0
    }

    /// Every client that is remembered.
    #[must_use]
    pub fn clients(&self, now: Instant) -> Vec<ClientReport> {
        let mut clients = Vec::new();
        for counter in &self.counters {
            let responder = counter.look();
            clients.extend(responder.clients().map(|c| ClientReport {
                address: shown(c.address),
                received: c.asked,
                dropped: c.dropped,
                interval: c.interval,
                interval_limited: c.interval_limited,
                last_age: now.since(c.last).seconds().max(0.0),
            }));
        }
        clients
    }
}

fn length(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn thread_report(served: &Served) -> ServerThread {
    ServerThread {
        received: served.received,
        replied: served.replied,
        kissed: served.kissed,
        interleaved: served.interleaved,
        authenticated: served.authenticated,
        stamped: served.stamped,
        unsent: served.unsent,
        forgotten: served.forgotten,
        refused: Refusal::ALL.into_iter().map(|r| (r.as_str().to_owned(), served.refused(r))).collect(),
    }
}
