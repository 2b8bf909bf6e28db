//! One run of one program: no shell, a process group of its own, a time limit, its first lines into the log.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, pipe2};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant as Deadline, sleep_until, timeout};

use super::facts::Facts;
use crate::config::Hook;

/// Lines of its output that are logged.
const LINES: usize = 20;
/// A longer line is cut.
const WIDTH: usize = 240;

/// Readings of what a program that has ended left in the pipe, which holds 64 KiB.
const DRAIN: usize = 16;

/// How long a program may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until it is told to end.
    pub(super) run: Duration,
    /// From then until it is ended.
    pub(super) grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { run: Duration::from_secs(30), grace: Duration::from_secs(5) }
    }
}

/// What came of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    /// Exit code 0.
    Success,
    /// Another exit code, or a signal.
    Failure,
    /// It took too long and was ended.
    Timeout,
    /// It could not be started.
    Error,
}

impl Outcome {
    pub(super) const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Timeout, Self::Error];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

/// A child that does not outlive us: dropped while it runs, its group is told to end.
struct Group(Child);

impl Group {
    /// To the whole group. The leader has not been waited for, so that its number is still its own.
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // It may just have ended.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
    }
}

/// Runs it. Anything but success comes with a sentence that says what happened and what to do.
pub(super) async fn run(hook: &Hook, facts: &Facts, limits: Limits) -> (Outcome, Option<String>) {
    let (mut child, mut output) = match start(hook, facts).await {
        Ok(started) => started,
        Err(error) => return (Outcome::Error, Some(format!("cannot be started: {error}"))),
    };
    let mut lines = Lines::new(hook.program.display().to_string());
    let deadline = Deadline::now() + limits.run;
    let mut open = true;
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            biased;
            () = sleep_until(deadline) => break,
            status = child.0.wait() => {
                // What it had written; what its children may write later is not waited for.
                for _ in 0..DRAIN {
                    let Ok(n @ 1..) = output.try_read(&mut buffer) else { break };
                    lines.take(&buffer[..n]);
                }
                lines.end();
                return judge(status);
            }
            read = output.read(&mut buffer), if open => match read {
                Ok(n) if n > 0 => lines.take(&buffer[..n]),
                _ => open = false,
            },
        }
    }
    lines.end();
    (Outcome::Timeout, Some(end(&mut child, limits).await))
}

/// Asks it to end, then ends it.
async fn end(child: &mut Group, limits: Limits) -> String {
    let late = format!("was still running after {} s", limits.run.as_secs_f64());
    child.signal(Signal::SIGTERM);
    if timeout(limits.grace, child.0.wait()).await.is_ok() {
        return format!("{late} and was ended: let it start what takes long in the background");
    }
    child.signal(Signal::SIGKILL);
    // Nothing can be done about one that cannot even be killed.
    let _ = child.0.wait().await;
    format!("{late}, did not end when told to, and was killed")
}

fn judge(status: io::Result<ExitStatus>) -> (Outcome, Option<String>) {
    match status {
        Ok(status) if status.success() => (Outcome::Success, None),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => (Outcome::Failure, Some(format!("ended with exit code {code}"))),
            (None, signal) => (Outcome::Failure, Some(format!("was ended by signal {}", signal.unwrap_or(0)))),
        },
        Err(error) => (Outcome::Failure, Some(format!("its end could not be seen: {error}"))),
    }
}

async fn start(hook: &Hook, facts: &Facts) -> io::Result<(Group, pipe::Receiver)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let output = pipe::Receiver::from_owned_fd(reader)?;
    let command = command(hook, facts, writer)?;
    // Loading a program from a slow disk takes its time: not the loop's. Who stops waiting for it drops it like one that runs.
    let child = tokio::task::spawn_blocking(move || Command::from(command).spawn().map(Group)).await.map_err(io::Error::other)??;
    Ok((child, output))
}

fn command(hook: &Hook, facts: &Facts, writer: OwnedFd) -> io::Result<std::process::Command> {
    let mut command = std::process::Command::new(&hook.program);
    command
        .args(&hook.arguments)
        .env_clear()
        .envs(facts.environment())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer));
    Ok(command)
}

/// The first lines that a program writes, into the log.
struct Lines {
    name: String,
    line: Vec<u8>,
    logged: usize,
}

impl Lines {
    const fn new(name: String) -> Self {
        Self { name, line: Vec::new(), logged: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end();
            } else if self.line.len() < WIDTH && self.logged < LINES {
                self.line.push(byte);
            }
        }
    }

    /// A line has ended, or all of them.
    fn end(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let text: String = String::from_utf8_lossy(&self.line).chars().flat_map(char::escape_debug).collect();
        self.line.clear();
        self.logged += 1;
        tracing::info!("{}: {text}{}", self.name, if self.logged == LINES { " (no more of it is logged)" } else { "" });
    }
}
