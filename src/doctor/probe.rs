//! Asks the servers of a plan once each, with a real request over a real socket.
//!
//! Every address has a thread of its own; all are waited for together. An address that does not answer is asked a
//! second time, since packets get lost.

mod vsock;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::evidence::PlannedServer;
use crate::core::SourceId;
use crate::ntp::{Association, AssociationOptions, Outcome, Packet, Rejection, StampedBy, Token};
use crate::sys::socket::ClientSocket;
use crate::sys::time;
use crate::units::{Instant, Timescale, Vsock};
use crate::wire::ntp::Header;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long everything is waited for, names included.
const DEADLINE: Duration = Duration::from_secs(8);
/// No more addresses of one name than these are asked.
const MOST_ADDRESSES: usize = 4;

/// Where NTP servers listen.
const NTP_PORT: u16 = 123;

/// What became of asking one address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// The name as configured.
    pub server: String,
    /// The address; empty if there is none.
    pub address: String,
    /// What came.
    pub answer: Answer,
}

/// What came.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The name has no address, and why.
    NoName(String),
    /// The request could not be sent, and why.
    NotSent(String),
    /// Nothing.
    Silence,
    /// The network said that it cannot be reached.
    Unreachable(String),
    /// The server is not synchronised itself.
    Unsynchronised,
    /// A kiss-o'-death with this code.
    Kiss(String),
    /// Something else that cannot be used, and why.
    Useless(String),
    /// A measurement.
    Time(Measured),
}

/// A measurement.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// By how much this clock is ahead of the server, in seconds.
    pub offset: f64,
    /// By how much that can be wrong.
    pub error: f64,
    /// The server's stratum.
    pub stratum: u8,
}

/// Asks every server; one probe for each address, in order.
#[must_use]
pub fn ask(servers: &[PlannedServer]) -> Vec<Probe> {
    let (tell, told) = mpsc::channel();
    for (i, server) in servers.iter().enumerate() {
        let (tell, server) = (tell.clone(), server.clone());
        thread::spawn(move || {
            // Nobody listens any more after the deadline.
            let _ = tell.send((i, ask_server(&server)));
        });
    }
    drop(tell);
    let end = time::raw() + DEADLINE;
    let mut answers: Vec<Option<Vec<Probe>>> = vec![None; servers.len()];
    while let Ok((i, probes)) = told.recv_timeout(end.elapsed_since(time::raw())) {
        answers[i] = Some(probes);
    }
    let late = |name: &str| {
        let reason = format!("no answer from the name servers within {} s", DEADLINE.as_secs());
        vec![Probe { server: name.to_owned(), address: String::new(), answer: Answer::NoName(reason) }]
    };
    answers.into_iter().zip(servers).flat_map(|(probes, server)| probes.unwrap_or_else(|| late(&server.name))).collect()
}

fn ask_server(server: &PlannedServer) -> Vec<Probe> {
    let probe = |address: String, answer| Probe { server: server.name.clone(), address, answer };
    if let Some(machine) = Vsock::or_ip(&server.name).and_then(Vsock::of) {
        return vec![probe(machine.to_string(), vsock::ask(machine, server.port, PATIENCE))];
    }
    let addresses: Vec<SocketAddr> = match (server.name.as_str(), server.port).to_socket_addrs() {
        Ok(found) => found.take(server.addresses.min(MOST_ADDRESSES)).collect(),
        Err(error) => return vec![probe(String::new(), Answer::NoName(error.to_string()))],
    };
    if addresses.is_empty() {
        return vec![probe(String::new(), Answer::NoName("the name has no address".to_owned()))];
    }
    thread::scope(|scope| {
        let threads: Vec<_> = addresses.iter().map(|&to| (to, scope.spawn(move || ask_address(to, PATIENCE)))).collect();
        threads
            .into_iter()
            .map(|(to, thread)| probe(place_of(to), thread.join().unwrap_or_else(|_| Answer::Useless("it could not be read".to_owned()))))
            .collect()
    })
}

/// The address, with the port if it is not NTP's own.
fn place_of(to: SocketAddr) -> String {
    if to.port() == NTP_PORT { to.ip().to_string() } else { to.to_string() }
}

fn ask_address(to: SocketAddr, patience: Duration) -> Answer {
    match ask_once(to, patience) {
        Ok(Answer::Silence) => ask_once(to, patience).unwrap_or_else(|error| Answer::NotSent(error.to_string())),
        Ok(answer) => answer,
        Err(error) => Answer::NotSent(error.to_string()),
    }
}

/// One request, and what comes of it.
fn ask_once(to: SocketAddr, patience: Duration) -> io::Result<Answer> {
    let Some(mut question) = Question::new(to)? else { return Ok(Answer::Silence) };
    let mut socket = ClientSocket::open(to, None, None)?;
    let local = socket.local_address().unwrap_or(to.ip());
    question.is_sent();
    socket.send(&question.bytes)?;
    Ok(listen(&mut socket, &mut question.association, local, time::raw() + patience))
}

/// One request, and who judges the answer.
struct Question {
    association: Association,
    bytes: Packet,
}

impl Question {
    fn new(to: SocketAddr) -> io::Result<Option<Self>> {
        let mut rng = ChaCha20Rng::try_from_os_rng().map_err(|error| io::Error::other(error.to_string()))?;
        let now = time::raw();
        // What the server hands out does not matter to a single look.
        let options = AssociationOptions { timescale: Timescale::Unknown, ..AssociationOptions::default() };
        let mut association = Association::new(SourceId(0), to, options, now);
        Ok(association.on_timer(now, Token(0), &mut rng).map(|(question, _)| Self { association, bytes: question.bytes }))
    }

    /// It leaves now.
    fn is_sent(&mut self) {
        self.association.on_sent(Token(0), time::raw(), StampedBy::Daemon);
    }
}

fn listen(socket: &mut ClientSocket, association: &mut Association, local: IpAddr, end: Instant) -> Answer {
    let mut buffer = [0; 2048];
    loop {
        let left = end.elapsed_since(time::raw());
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        // Errors of the network show as readiness too; stamps of sending wake us for nothing.
        let ready = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], wait).unwrap_or(0);
        let arrived = time::raw();
        match socket.receive_into(&mut buffer) {
            Ok(received) => {
                let bytes = &buffer[..received.len.min(buffer.len())];
                if let Some(answer) = judge(association, local, arrived, bytes) {
                    return answer;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Takes the stamp off the socket's queue, or poll would return at once for ever.
                let _ = socket.sent_stamps();
            }
            Err(error) => return Answer::Unreachable(error.to_string()),
        }
        if ready == 0 || left.is_zero() {
            return Answer::Silence;
        }
    }
}

/// `None`: not the answer to our request, wait on.
fn judge(association: &mut Association, local: IpAddr, arrived: Instant, bytes: &[u8]) -> Option<Answer> {
    let (now, raw) = (time::realtime(), time::raw());
    let outcome = association.on_datagram(Some(arrived), local, now, bytes);
    match outcome {
        Outcome::Sample(sample) => {
            let there = sample.reference + raw.since(sample.at);
            let error = sample.delay / 2 + sample.dispersion + sample.root_delay / 2 + sample.root_dispersion;
            let measured = Measured { offset: now.since(there).seconds(), error: error.as_secs_f64(), stratum: sample.stratum.get() };
            Some(Answer::Time(measured))
        }
        Outcome::Unsynchronised => Some(Answer::Unsynchronised),
        Outcome::Denied | Outcome::Rejected(Rejection::Kiss) => {
            let code = Header::parse(bytes).ok().and_then(|(header, _)| header.reference_id.name());
            Some(Answer::Kiss(code.unwrap_or_default()))
        }
        Outcome::Repeated | Outcome::Rejected(Rejection::Origin | Rejection::Malformed | Rejection::Mode | Rejection::Version) => None,
        Outcome::Rejected(reason) => Some(Answer::Useless(format!("its answer is thrown away: {}", reason.as_str().replace('_', " ")))),
    }
}

#[cfg(test)]
mod tests;
