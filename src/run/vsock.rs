//! Requests over vsock: each is a connection, one question, one answer, on the loop's thread.
//!
//! The kernel stamps nothing here: a request left when it was written to a connection that stood, its answer came when it was read.

use std::io;
use std::time::Duration;

use arrayvec::ArrayVec;
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::registered::register;
use crate::ntp::{Packet, Token};
use crate::sys::time;
use crate::sys::vsock::{VsockStream, local_machine};
use crate::units::{Instant, Vsock};
use crate::wire::frame::{self, Frames, MAX_PACKET};

/// Longer than the agent waits for any answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers that nobody has looked at.
const WAITING: usize = 64;

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) local: Vsock,
    pub(super) sent: Instant,
    pub(super) received: Instant,
    pub(super) bytes: ArrayVec<u8, MAX_PACKET>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) token: Token,
    pub(super) machine: Vsock,
    pub(super) port: u16,
    /// It was put to a machine that took the connection: whatever came of it, it was asked.
    pub(super) asked: bool,
    pub(super) result: io::Result<Reply>,
}

/// Requests under way.
#[derive(Debug)]
pub(super) struct Calls {
    under_way: Vec<(Token, JoinHandle<()>)>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
}

impl Default for Calls {
    fn default() -> Self {
        Self { under_way: Vec::new(), answers: mpsc::channel(WAITING) }
    }
}

impl Calls {
    /// Asks.
    pub(super) fn begin(&mut self, token: Token, machine: Vsock, port: u16, question: Packet) {
        let answers = self.answers.0.clone();
        let call = tokio::spawn(async move {
            let mut asked = false;
            let result = tokio::time::timeout(PATIENCE, ask(machine, port, &question, &mut asked)).await;
            let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            // The loop may have ended meanwhile.
            let _ = answers.send(Answer { token, machine, port, asked, result }).await;
        });
        self.under_way.push((token, call));
    }

    /// The next that came to an end.
    pub(super) async fn answered(&mut self) -> Option<Answer> {
        self.answers.1.recv().await
    }

    /// Nobody waits for this one any more.
    pub(super) fn end(&mut self, token: Token) {
        if let Some(place) = self.under_way.iter().position(|(t, _)| *t == token) {
            self.under_way.swap_remove(place).1.abort();
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        for (_, call) in &self.under_way {
            call.abort();
        }
    }
}

async fn ask(machine: Vsock, port: u16, question: &[u8], asked: &mut bool) -> io::Result<Reply> {
    let frame = frame::emit(question).ok_or(io::ErrorKind::InvalidInput)?;
    let stream = VsockStream::connect(machine, port)?;
    let mut stream = register(stream, Interest::READABLE | Interest::WRITABLE)?;
    let sent = loop {
        let mut ready = stream.writable_mut().await?;
        if let Some(error) = ready.get_inner().error() {
            return Err(error);
        }
        *asked = true;
        let now = time::raw();
        match ready.try_io(|stream| stream.get_ref().write(&frame)) {
            // A connection that was just made takes a packet whole.
            Ok(Ok(count)) if count == frame.len() => break now,
            Ok(Ok(_)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Err(_)) => return Err(hung_up()),
            Err(_would_block) => {}
        }
    };
    let (mut frames, mut bytes) = (Frames::default(), ArrayVec::new());
    loop {
        let mut ready = stream.readable_mut().await?;
        let Ok(count) = ready.try_io(|stream| stream.get_ref().read(frames.room())) else { continue };
        let received = time::raw();
        match count.map_err(|_| hung_up())? {
            0 => return Err(hung_up()),
            count => frames.fill(count),
        }
        if frames.take(&mut bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            let local = if machine == Vsock::LOCAL { machine } else { local_machine().unwrap_or(Vsock::LOCAL) };
            return Ok(Reply { local, sent, received, bytes });
        }
    }
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "it hung up without an answer: it may not allow us to ask")
}
