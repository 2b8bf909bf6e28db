//! An NTP server for the demonstration: the production responder on a loopback socket.

use std::time::Duration;

use tokio::net::UdpSocket;

use crate::core::Line;
use crate::ntp::{Curve, Reply, Request, Responder, Snapshot, Verdict};
use crate::sys::time;
use crate::units::{Bound, Leap, Offset, Ppm, ReferenceId, Stratum};

/// What a stratum 1 server on this computer claims of itself.
const CLAIMED: Duration = Duration::from_micros(20);

/// A server whose clock is the truth plus an error.
pub(super) struct Upstream {
    socket: UdpSocket,
    truth: Line,
    error: Offset,
    responder: Responder,
}

impl Upstream {
    pub(super) fn new(socket: UdpSocket, truth: Line, error: Offset) -> Self {
        Self { socket, truth, error, responder: Responder::open() }
    }

    /// Answers until the future is dropped.
    pub(super) async fn serve(mut self) {
        let mut request = [0; 128];
        let mut reply = Reply::new();
        loop {
            // A socket of our own on loopback: what fails here fails for one packet.
            let Ok((len, from)) = self.socket.recv_from(&mut request).await else { continue };
            let received = time::raw();
            let line = self.truth.shifted(self.error);
            let snapshot = Snapshot {
                line,
                bound: Bound { as_of: received, error: CLAIMED, growth: Ppm::ZERO },
                borrowed: Duration::ZERO,
                leap: Leap::Normal,
                stratum: Stratum::new(1),
                reference_id: ReferenceId(*b"DEMO"),
                reference: line.at(received),
                root_delay: Duration::ZERO,
                precision: -24,
                local: None,
                curve: Curve::NONE,
            };
            let asked = Request { from, received, bytes: &request[..len] };
            let verdict = self.responder.reply(&snapshot, &asked, time::raw(), &mut reply);
            if verdict == Verdict::Reply {
                let _ = self.socket.send_to(&reply, from).await;
            }
        }
    }
}
