//! A server's socket, batch and responder on the loopback, with limits, keys and more clients than it may remember.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use paraclock::config::{RateLimit, parse_keys};
use paraclock::ntp::{Access, Keys, Packet, Prepared, Reply, Request, Responder, ServerOptions, Snapshot};
use paraclock::sys::server_socket::{Batch, ServerSocket};
use paraclock::sys::time;

/// Requests sent at a time.
const ASKED: usize = 32;

pub(crate) struct Desk {
    socket: ServerSocket,
    bound: SocketAddr,
    batch: Batch,
    responder: Responder,
    reply: Reply,
    clients: Vec<UdpSocket>,
    requests: [Packet; 2],
}

impl Desk {
    pub(crate) fn new() -> Self {
        let socket = ServerSocket::open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), None, 1).expect("a port").remove(0);
        let port = socket.local_address().expect("a bound socket").port();
        let keys = Keys::new(&parse_keys("keys", "6 AES128 HEX:7EA62AE64D190114D46D5A082F948EC1").expect("a good key").0);
        let mut plain = Packet::from_iter([0; 48]);
        (plain[0], plain[40]) = (0x23, 1);
        let mut signed = plain.clone();
        keys.get(6).expect("the key").sign(4, &mut signed);
        let options = ServerOptions {
            access: Arc::new(Access::everybody()),
            keys: Arc::new(keys),
            // Sixteen records: clients are forgotten all the time.
            rate_limit: Some(RateLimit { interval: -19, ..RateLimit::default() }),
            client_memory: 1,
            seed: 1,
        };
        Self {
            socket,
            bound: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            batch: Batch::new(),
            responder: Responder::new(&options),
            reply: Reply::new(),
            clients: (1..=40).map(|i| UdpSocket::bind((Ipv4Addr::new(127, 0, 2, i), 0)).expect("a client")).collect(),
            requests: [plain, signed],
        }
    }

    /// So many rounds of requests; the replies.
    pub(crate) fn serve(&mut self, rounds: usize) -> u64 {
        let before = self.responder.served().replied;
        for round in 0..rounds {
            for i in 0..ASKED {
                let client = &self.clients[(round + i) % self.clients.len()];
                client.send_to(&self.requests[i % 2], self.bound).expect("the loopback carries it");
            }
            let mut left = ASKED;
            while left > 0 {
                left -= self.batch();
            }
            for client in &self.clients {
                client.set_nonblocking(true).expect("a socket");
                while client.recv(&mut [0; 128]).is_ok() {}
            }
        }
        self.responder.served().replied - before
    }

    fn batch(&mut self) -> usize {
        let count = self.batch.receive(&mut self.socket).expect("requests");
        let now = time::raw();
        let prepared = Prepared::new(&Snapshot::unsynchronised(), now);
        for i in 0..count {
            let Some(datagram) = self.batch.datagram(i) else { continue };
            let request = Request { from: datagram.from, received: now, bytes: datagram.bytes };
            if let Ok(admitted) = self.responder.judge(&request) {
                self.responder.answer(&prepared, &admitted, time::raw(), &mut self.reply);
                self.batch.queue(i, &self.reply, &mut self.socket, admitted.wants_stamp());
            }
        }
        assert_eq!(self.batch.send(&mut self.socket), 0);
        count
    }
}
