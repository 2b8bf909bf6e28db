//! Asks a machine of this host over vsock: a connection, one question, one answer.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use arrayvec::ArrayVec;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Answer, Question, judge};
use crate::sys::time;
use crate::sys::vsock::{LACKING, VsockStream};
use crate::units::{Instant, Vsock};
use crate::wire::frame::{self, Frames};

/// Asks once, and says what came of it.
pub(super) fn ask(machine: Vsock, port: u16, patience: Duration) -> Answer {
    match exchange(machine, port, time::raw() + patience) {
        Ok(answer) => answer.unwrap_or(Answer::Silence),
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Answer::NotSent(LACKING.to_owned()),
        Err(error) => Answer::Unreachable(error.to_string()),
    }
}

fn exchange(machine: Vsock, port: u16, end: Instant) -> io::Result<Option<Answer>> {
    let Some(mut question) = Question::new((machine.address(), port).into())? else { return Ok(None) };
    let frame = frame::emit(&question.bytes).ok_or(io::ErrorKind::InvalidInput)?;
    let stream = VsockStream::connect(machine, port)?;
    if !is_ready(&stream, PollFlags::POLLOUT, end) {
        return Ok(None);
    }
    if let Some(error) = stream.error() {
        return Err(error);
    }
    question.is_sent();
    if stream.write(&frame)? != frame.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let (mut frames, mut packet) = (Frames::default(), ArrayVec::new());
    while is_ready(&stream, PollFlags::POLLIN, end) {
        match stream.read(frames.room()) {
            Ok(0) => return Err(io::Error::other("it hung up without an answer: it may not allow us to ask")),
            Ok(count) => frames.fill(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let arrived = time::raw();
        if frames.take(&mut packet).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            // Which machine this is does not matter: nothing is followed.
            return Ok(judge(&mut question.association, Vsock::LOCAL.address(), arrived, &packet));
        }
    }
    Ok(None)
}

/// Waits until so much can be done, or the end has come.
fn is_ready(stream: &VsockStream, what: PollFlags, end: Instant) -> bool {
    let left = end.elapsed_since(time::raw());
    let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    !left.is_zero() && poll(&mut [PollFd::new(stream.as_fd(), what)], wait).is_ok_and(|ready| ready > 0)
}
