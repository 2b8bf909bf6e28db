//! The control socket: a line of JSON in, a line of JSON out.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::wire::control::{ClientReport, Report, Request, Response};

/// Connections served at once; more wait in the listen queue.
const CONNECTIONS: usize = 16;
/// The longest request.
const MAX_REQUEST: u64 = 4096;
/// A client that says nothing, or reads nothing, for so long is dropped.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the socket, mode 0660; says once why not, if it cannot be opened.
#[must_use]
pub fn listen(path: &Path) -> Option<UnixListener> {
    match open(path) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!("control socket {}: {error}; going on without (`control PATH` or `control off` changes it)", path.display());
            None
        }
    }
}

fn open(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    // A socket left behind by a crash; one that still answers belongs to a running daemon.
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another paraclock answers there"));
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers until the future is dropped.
pub async fn serve<R, C>(listener: UnixListener, reports: R, clients: C)
where
    R: Fn() -> Report + Clone + Send + Sync + 'static,
    C: Fn() -> Vec<ClientReport> + Clone + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (reports, clients) = (reports.clone(), clients.clone());
                tokio::spawn(async move {
                    let _ = converse(stream, reports, clients).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: do not spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: UnixStream, reports: impl Fn() -> Report, clients: impl Fn() -> Vec<ClientReport>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(0));
    let mut line = Vec::new();
    loop {
        line.clear();
        read.get_mut().set_limit(MAX_REQUEST);
        let got = tokio::time::timeout(PATIENCE, read.read_until(b'\n', &mut line)).await??;
        if got == 0 {
            return Ok(());
        }
        let complete = line.ends_with(b"\n");
        let response = match serde_json::from_slice(&line) {
            Ok(Request::Report) => Response::Report(Box::new(reports())),
            Ok(Request::Clients) => Response::Clients(clients()),
            Err(error) => Response::Error { message: format!("not a request: {error}; ask {{\"command\":\"report\"}}") },
        };
        let mut text = serde_json::to_vec(&response)?;
        text.push(b'\n');
        tokio::time::timeout(PATIENCE, write.write_all(&text)).await??;
        if !complete {
            return Ok(()); // Too long to be one of ours.
        }
    }
}
