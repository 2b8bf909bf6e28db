//! Requests on their way: each on a socket of its own, or over vsock, until its answer has come or nobody waits for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Executor, MAX_DATAGRAM, stamps};
use crate::agent::Input;
use crate::ntp::{StampedBy, Token};
use crate::run::registered::register;
use crate::run::vsock::Answer;
use crate::sys::socket::{ClientSocket, Received};
use crate::sys::time;
use crate::units::Instant;

pub(super) struct Flight {
    pub(super) token: Token,
    pub(super) server: SocketAddr,
    pub(super) local: IpAddr,
    pub(super) socket: AsyncFd<ClientSocket>,
    /// The network card may stamp it.
    pub(super) by_cards: bool,
    pub(super) sent_by: StampedBy,
    /// Just before sending, while better stamps may come.
    pub(super) sent: Option<Instant>,
}

impl Executor {
    pub(super) fn send(&mut self, token: Token, server: SocketAddr, bytes: &[u8]) {
        match self.take_off(token, server, bytes) {
            Ok((at, by)) => self.tell(Input::Sent { token, at, by }),
            Err(error) => {
                self.narrator.send_failed(server, &error);
                self.tell(Input::SendFailed { token });
            }
        }
    }

    /// When it left, and who says so.
    fn take_off(&mut self, token: Token, server: SocketAddr, bytes: &[u8]) -> io::Result<(Instant, StampedBy)> {
        let from = if server.is_ipv4() { self.departure.v4 } else { self.departure.v6 };
        let mut socket = ClientSocket::open(server, from, self.departure.port)?;
        if !socket.has_stamps() {
            self.narrator.no_stamps();
        }
        let by_cards = !self.cards.is_empty() && socket.stamp_by_cards();
        let local = socket.local_address().unwrap_or(server.ip());
        let mut socket = register(socket, Interest::READABLE)?;
        if by_cards && self.cards.read_fresh(time::raw()) {
            self.publish_cards();
        }
        let before = time::raw();
        socket.get_mut().send(bytes)?;
        // Without the best stamp yet, it is asked for again when the answer comes.
        let stamps = socket.get_mut().sent_stamps();
        let (at, by) = stamps::sent(self.clock.as_mut(), &mut self.cards, &stamps, before);
        let mut flight = Flight { token, server, local, socket, by_cards, sent_by: by, sent: None };
        flight.sent = (!Self::is_settled(&flight, by)).then_some(before);
        self.flights.push(flight);
        Ok((at, by))
    }

    pub(super) fn receive(&mut self, index: usize, received: io::Result<Received>) {
        let arrived = time::raw();
        if self.shared.look_for_suspend() {
            // The answer slept too: what its stamps say is not to be believed.
            return;
        }
        self.look_at_clock();
        let Some(flight) = self.flights.get_mut(index) else { return };
        let (token, server, to) = (flight.token, flight.server, flight.local);
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                self.narrator.send_failed(server, &error);
                self.tell(Input::SendFailed { token });
                return;
            }
        };
        if let Some((at, by)) = self.settle_sent(index) {
            self.tell(Input::Sent { token, at, by });
            if let Some(flight) = self.flights.get_mut(index) {
                flight.sent_by = by;
            }
        }
        let (at, by) = self.came_at(&received, arrived);
        if let (Some(logs), Some(flight)) = (&mut self.logs, self.flights.get(index)) {
            logs.stamped(flight.sent_by, by);
        }
        self.notice_sibling(server.ip());
        let bytes = &self.buffer[..received.len.min(MAX_DATAGRAM)];
        self.tell(Input::Datagram { token, from: server, to, received: at, by, bytes });
    }

    /// Tells the agent if a server that answers asks us as well.
    fn notice_sibling(&self, server: IpAddr) {
        if self.viewer.as_ref().is_some_and(|viewer| viewer.mark_sibling(server)) {
            self.tell(Input::AskedBy(server));
        }
    }

    /// A request over vsock came to an end.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer { token, machine, port, asked, result } = answer;
        self.calls.end(token);
        if self.shared.look_for_suspend() {
            return;
        }
        let server = SocketAddr::new(machine.address(), port);
        match result {
            Ok(reply) => {
                self.tell(Input::Sent { token, at: reply.sent, by: StampedBy::Daemon });
                self.notice_sibling(server.ip());
                let to = reply.local.address();
                self.tell(Input::Datagram {
                    token,
                    from: server,
                    to,
                    received: Some(reply.received),
                    by: StampedBy::Daemon,
                    bytes: &reply.bytes,
                });
            }
            Err(error) => {
                self.narrator.send_failed(server, &error);
                // Who was asked and hung up has not answered: that is waited out, as silence is.
                if !asked {
                    self.tell(Input::SendFailed { token });
                }
            }
        }
    }

    /// Closes a request's socket; what the network said of a request without an answer is told once.
    pub(super) fn land(&mut self, token: Token) {
        self.calls.end(token);
        let Some(index) = self.flights.iter().position(|f| f.token == token) else { return };
        let flight = self.flights.swap_remove(index);
        if let Some(error) = flight.socket.get_ref().pending_error() {
            self.narrator.send_failed(flight.server, &error);
        }
    }
}

/// The next datagram of any flight.
pub(super) fn poll_flights(
    flights: &mut [Flight],
    buffer: &mut [u8; MAX_DATAGRAM],
    context: &mut Context<'_>,
) -> Poll<(usize, io::Result<Received>)> {
    for (index, flight) in flights.iter_mut().enumerate() {
        while let Poll::Ready(Ok(mut guard)) = flight.socket.poll_read_ready_mut(context) {
            match guard.try_io(|socket| socket.get_mut().receive_into(buffer)) {
                Ok(received) => return Poll::Ready((index, received)),
                Err(_would_block) => {}
            }
        }
    }
    Poll::Pending
}
