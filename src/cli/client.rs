//! Asks a running daemon for its report over the control socket.
//!
//! One JSON line out, one JSON line back, both bounded in size and time.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wire::control::{ClientReport, Report, Request, Response};

/// An answer longer than this is not one of ours.
const MAX_ANSWER: usize = 64 << 20;

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// No socket at that path.
    #[error(
        "{path}: no such socket, so paraclock is not running (start it: systemctl start paraclock) or listens elsewhere (--socket PATH)"
    )]
    Absent {
        /// The path tried.
        path: PathBuf,
    },
    /// A socket that nobody serves.
    #[error(
        "{path}: nobody answers there: paraclock was stopped or died (see: systemctl status paraclock; start it: systemctl start paraclock)"
    )]
    Deserted {
        /// The path tried.
        path: PathBuf,
    },
    /// The socket's mode keeps us out.
    #[error("{path}: permission denied: use root, or join the socket's group (usermod -aG paraclock USER, then log in again)")]
    Denied {
        /// The path tried.
        path: PathBuf,
    },
    /// No answer in time.
    #[error("{path}: no answer within {} s: paraclock hangs or the machine is overloaded (see: systemctl status paraclock)", PATIENCE.as_secs())]
    Silent {
        /// The path tried.
        path: PathBuf,
    },
    /// Something else of the system.
    #[error("{path}: {reason}")]
    System {
        /// The path tried.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Not an answer of this version's protocol.
    #[error("{path}: the answer cannot be understood ({reason}): client and daemon may be of different versions")]
    Garbled {
        /// The path tried.
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// The daemon declined.
    #[error("paraclock answered: {message}")]
    Declined {
        /// Its words.
        message: String,
    },
}

/// The report of the daemon that listens at `path`.
pub(super) fn report(path: &Path) -> Result<Report, ClientError> {
    match ask(path, &Request::Report)? {
        Response::Report(report) => Ok(*report),
        _ => Err(garbled(path, &"it answers another question")),
    }
}

/// Who asks the daemon that listens at `path` for time.
pub(super) fn clients(path: &Path) -> Result<Vec<ClientReport>, ClientError> {
    match ask(path, &Request::Clients)? {
        Response::Clients(clients) => Ok(clients),
        _ => Err(garbled(path, &"it answers another question")),
    }
}

fn ask(path: &Path, request: &Request) -> Result<Response, ClientError> {
    let line = exchange(path, request).map_err(|reason| explain(path, reason))?;
    let text = line.strip_suffix(b"\n").ok_or_else(|| garbled(path, &"it is cut short"))?;
    match serde_json::from_slice(text).map_err(|reason| garbled(path, &reason))? {
        Response::Error { message } => Err(ClientError::Declined { message }),
        answer => Ok(answer),
    }
}

/// Sends one line, reads up to the end of the first line.
fn exchange(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = serde_json::to_vec(request)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let n = match stream.read(&mut chunk) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let part = &chunk[..n];
        if let Some(end) = part.iter().position(|&byte| byte == b'\n') {
            answer.extend_from_slice(&part[..=end]);
            return Ok(answer);
        }
        answer.extend_from_slice(part);
        if n == 0 || answer.len() > MAX_ANSWER {
            return Ok(answer);
        }
    }
}

/// The system's error in words that help.
fn explain(path: &Path, reason: io::Error) -> ClientError {
    let path = path.to_owned();
    match reason.kind() {
        ErrorKind::NotFound => ClientError::Absent { path },
        ErrorKind::ConnectionRefused => ClientError::Deserted { path },
        ErrorKind::PermissionDenied => ClientError::Denied { path },
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Silent { path },
        _ => ClientError::System { path, reason },
    }
}

fn garbled(path: &Path, reason: &dyn std::fmt::Display) -> ClientError {
    ClientError::Garbled { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A daemon that answers one question with `answer`; returns what `report` makes of it and the question.
    fn ask(answer: &'static [u8]) -> (Result<Report, ClientError>, String) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = String::new();
            io::BufReader::new(&stream).read_line(&mut question).unwrap();
            // The client may hang up early on an endless answer.
            let _ = stream.write_all(answer);
            question
        });
        let result = report(&path);
        (result, daemon.join().unwrap())
    }

    #[test]
    fn a_report_comes_back() {
        let report = crate::cli::sample::report();
        let mut line = serde_json::to_vec(&Response::Report(Box::new(report.clone()))).unwrap();
        line.push(b'\n');
        let (result, question) = ask(line.leak());
        assert_eq!(question, "{\"command\":\"report\"}\n");
        assert_eq!(result.unwrap(), report);
    }

    #[test]
    fn odd_answers_are_explained() {
        let (cut, _) = ask(b"{\"report\":");
        assert!(cut.unwrap_err().to_string().contains("cut short"));
        let (nonsense, _) = ask(b"hello\n");
        assert!(nonsense.unwrap_err().to_string().contains("different versions"));
        let (declined, _) = ask(b"{\"error\":{\"message\":\"too early\"}}\n");
        assert_eq!(declined.unwrap_err().to_string(), "paraclock answered: too early");
        let (endless, _) = ask(vec![b'x'; 6 << 20].leak());
        assert!(endless.unwrap_err().to_string().contains("cut short"));
    }

    #[test]
    fn missing_and_deserted_sockets_say_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let absent = report(&path).unwrap_err().to_string();
        assert!(absent.contains("control.sock: no such socket") && absent.contains("systemctl start"), "{absent}");
        drop(UnixListener::bind(&path).unwrap());
        let deserted = report(&path).unwrap_err().to_string();
        assert!(deserted.contains("nobody answers there"), "{deserted}");
    }
}
