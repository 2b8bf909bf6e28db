//! What a reply costs: closed loop over the loopback, CPU time of the server for each valid reply, beside a bare echo and beside chronyd.
//!
//! ```text
//! cargo bench --bench serving -- [--seconds N] [--rounds N] [--threads N] [--chronyd COMMAND]
//! ```
//! Servers are pinned to the first core (to the first N with `--threads N`) and take turns, so that what disturbs one disturbs all; medians of the
//! rounds are printed. Plain requests come from eight clients with sixteen on their way each, as do signed ones (AES-CMAC); interleaved ones from 64 clients with one each.
#![allow(unsafe_code, reason = "the load and the echo call recvmmsg and sendmmsg themselves: they are what the server is measured against")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use paraclock::config::{SymmetricKey, parse_keys};
use paraclock::ntp::{Keys, Packet};
use paraclock::sys::time;
use paraclock::units::count;

/// Messages in one call.
const BATCH: usize = 64;
const HEADER: usize = 48;
const KEY: &str = "6 AES128 HEX:7EA62AE64D190114D46D5A082F948EC1\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [word, port, threads] = arguments.as_slice() {
        if word == "--echo" {
            echo_server(port.parse().expect("a port"), threads.parse().expect("a number"));
        }
    }
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1));
    let number = |name: &str, default: u32| value(name).map_or(default, |v| v.parse().expect("a number"));
    let (seconds, rounds, threads) = (number("--seconds", 1), number("--rounds", 7), number("--threads", 1));
    let installed = Some("/usr/sbin/chronyd".to_owned()).filter(|p| Path::new(p).exists());
    let chronyd = value("--chronyd").cloned().or(installed).filter(|_| threads == 1);
    let scratch = tempfile::tempdir().expect("a directory for sockets");
    std::fs::write(scratch.path().join("keys"), KEY).expect("a file for keys");

    let mut servers = vec![Server::echo(threads)];
    if threads > 1 {
        servers.extend([Server::paraclock(threads, scratch.path()), Server::paraclock(1, scratch.path())]);
    } else {
        servers.push(Server::paraclock(1, scratch.path()));
        servers.extend(chronyd.map(|command| Server::chronyd(&command, scratch.path())));
    }
    let mut rows: Vec<(usize, Kind, Vec<Cost>)> = Vec::new();
    for kind in [Kind::Plain, Kind::Signed, Kind::Interleaved] {
        let able = |i: usize| i > 0 || kind == Kind::Plain;
        rows.extend((0..servers.len()).filter(|&i| able(i)).map(|i| (i, kind, Vec::new())));
    }
    for _ in 0..rounds {
        for (server, kind, costs) in &mut rows {
            costs.push(load(&servers[*server], *kind, Duration::from_secs(seconds.into())));
        }
    }
    let base = median(&rows[0].2, |c| c.micros);
    println!("{:<40} {:>10} {:>12} {:>8}", "", "us a reply", "replies/s", "of echo");
    for (server, kind, costs) in &rows {
        let micros = median(costs, |c| c.micros);
        let name = format!("{}, {}", servers[*server].name, kind.name());
        println!("{name:<40} {micros:>10.3} {:>12.0} {:>8.3}", median(costs, |c| c.rate), micros / base);
    }
}

/// What the requests are like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Signed,
    Interleaved,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Signed => "AES-CMAC",
            Self::Interleaved => "interleaved",
        }
    }

    /// Clients, and requests that each has on its way.
    const fn clients(self) -> (u8, usize) {
        if matches!(self, Self::Interleaved) { (64, 1) } else { (8, 16) }
    }

    fn request(self) -> Packet {
        let mut bytes = [0; HEADER];
        (bytes[0], bytes[40]) = (0x23, 1);
        let mut packet: Packet = bytes.into_iter().collect();
        if self == Self::Signed {
            let keys: Vec<SymmetricKey> = parse_keys("keys", KEY).expect("a good key").0;
            Keys::new(&keys).get(6).expect("the key").sign(4, &mut packet);
        }
        packet
    }
}

/// One measurement.
struct Cost {
    micros: f64,
    rate: f64,
}

fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Server {
    name: String,
    port: u16,
    process: Child,
}

impl Server {
    fn start(name: String, port: u16, threads: u32, program: &str, arguments: &[String]) -> Self {
        let cores = (0..threads).map(|c| c.to_string()).collect::<Vec<_>>().join(",");
        let mut command = Command::new("taskset");
        command.args(["-c", &cores]).args(program.split(' ')).args(arguments);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("taskset is there");
        let server = Self { name, port, process };
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        let begun = time::raw();
        loop {
            let _ = client.send_to(&Kind::Plain.request(), (Ipv4Addr::LOCALHOST, port));
            if client.recv(&mut [0; 256]).is_ok() {
                return server;
            }
            assert!(time::raw() < begun + Duration::from_secs(20), "{} does not answer", server.name);
        }
    }

    fn echo(threads: u32) -> Self {
        let port = free_port();
        let own = std::env::current_exe().expect("our own path").display().to_string();
        Self::start(format!("echo, {threads} thread(s)"), port, threads, &own, &["--echo".into(), port.to_string(), threads.to_string()])
    }

    fn paraclock(threads: u32, scratch: &Path) -> Self {
        let port = free_port();
        let mut arguments: Vec<String> = ["run", "-x", "allow 127/8", "local stratum 10", "metrics off"].map(str::to_owned).to_vec();
        arguments.extend([format!("port {port}"), format!("serverthreads {threads}"), format!("keyfile {}/keys", scratch.display())]);
        arguments.push(format!("control {}/{port}.sock", scratch.display()));
        Self::start(format!("paraclock, {threads} thread(s)"), port, threads, env!("CARGO_BIN_EXE_paraclock"), &arguments)
    }

    fn chronyd(command: &str, scratch: &Path) -> Self {
        let port = free_port();
        let (file, place) = (scratch.join("chrony.conf"), scratch.display());
        let text = format!(
            "port {port}\ncmdport 0\nbindcmdaddress /\nlocal stratum 10\nallow 127/8\nkeyfile {place}/keys\npidfile {place}/chronyd.pid\n"
        );
        std::fs::write(&file, text).expect("a file for chronyd");
        let arguments = ["-x", "-d", "-U", "-u", "root", "-f", &file.display().to_string()].map(str::to_owned);
        Self::start("chronyd".to_owned(), port, 1, command, &arguments)
    }

    /// Seconds of CPU that all its threads have used.
    fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the server runs");
        let nanos = tasks.flatten().filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        nanos.sum::<f64>() / 1e9
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a port").port()
}

/// Headers that point to buffers of their own.
struct Messages {
    buffers: Vec<[u8; 128]>,
    names: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Messages {
    fn new() -> Self {
        // SAFETY: both are integers and pointers, for which zero is a value.
        let (name, header): (libc::sockaddr_in, libc::mmsghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut m =
            Self { buffers: vec![[0; 128]; BATCH], names: vec![name; BATCH], parts: vec![none; BATCH], headers: vec![header; BATCH] };
        for i in 0..BATCH {
            m.parts[i] = libc::iovec { iov_base: m.buffers[i].as_mut_ptr().cast(), iov_len: 128 };
            m.headers[i].msg_hdr.msg_iov = &raw mut m.parts[i];
            m.headers[i].msg_hdr.msg_iovlen = 1;
        }
        m
    }

    fn receive(&mut self, socket: &UdpSocket, flags: i32) -> usize {
        let most = libc::c_uint::try_from(BATCH).expect("a small number");
        // SAFETY: BATCH headers that point to buffers which live as long as `self`.
        let n = unsafe { libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), most, flags, std::ptr::null_mut()) };
        usize::try_from(n).unwrap_or(0)
    }

    fn send(&mut self, socket: &UdpSocket, messages: usize) {
        let messages = libc::c_uint::try_from(messages.min(BATCH)).expect("a small number");
        // SAFETY: as above; at most BATCH. What is not sent is missed by the load's window, which is filled again.
        unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), messages, 0) };
    }

    /// A length that the kernel wrote.
    fn length(&self, i: usize) -> usize {
        usize::try_from(self.headers[i].msg_len).unwrap_or(0)
    }
}

/// Clients that keep their windows full.
struct Load {
    clients: Vec<UdpSocket>,
    kind: Kind,
    window: usize,
    out: Messages,
    back: Messages,
    /// The windows have been filled: more on the way would break the interleaved mode.
    begun: bool,
}

impl Load {
    fn new(server: &Server, kind: Kind) -> Self {
        let (clients, window) = kind.clients();
        let connect = |i: u8| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2 + i), 0)).expect("an address of the loopback");
            socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port))).expect("a way to the server");
            socket
        };
        let mut out = Messages::new();
        let request = kind.request();
        for (buffer, part) in out.buffers.iter_mut().zip(&mut out.parts) {
            buffer[..request.len()].copy_from_slice(&request);
            part.iov_len = request.len();
        }
        Self { clients: (0..clients).map(connect).collect(), kind, window, out, back: Messages::new(), begun: false }
    }

    fn refill(&mut self) {
        for client in &self.clients {
            self.out.send(client, self.window);
        }
    }

    /// Replies that count, in so much time.
    fn run(&mut self, for_so_long: Duration) -> u64 {
        let until = time::raw() + for_so_long;
        let (mut valid, mut idle) = (0, 0_u32);
        if !std::mem::replace(&mut self.begun, true) {
            self.refill();
        }
        while time::raw() < until {
            idle += 1;
            for i in 0..self.clients.len() {
                let n = self.back.receive(&self.clients[i], libc::MSG_DONTWAIT);
                if n > 0 {
                    idle = 0;
                    valid += (0..n).map(|j| u64::from(self.counts(j))).sum::<u64>();
                    self.out.send(&self.clients[i], n);
                }
            }
            if idle > 5_000 {
                // Something was lost.
                self.refill();
                idle = 0;
            }
        }
        valid
    }

    /// Whether a reply counts. In the interleaved mode the next request asks when this one left.
    fn counts(&mut self, j: usize) -> bool {
        let (reply, length) = (&self.back.buffers[j], self.back.length(j));
        match self.kind {
            Kind::Plain => length == HEADER,
            Kind::Signed => length == HEADER + 20,
            Kind::Interleaved => {
                let request = &mut self.out.buffers[0];
                request[24..32].copy_from_slice(&reply[32..40]);
                request[32..40].copy_from_slice(&[7; 8]);
                length == HEADER && reply[24..32] == [7; 8]
            }
        }
    }
}

fn load(server: &Server, kind: Kind, for_so_long: Duration) -> Cost {
    let mut load = Load::new(server, kind);
    load.run(Duration::from_millis(200));
    let (cpu, begun) = (server.cpu(), time::raw());
    let replies = count(load.run(for_so_long));
    let (used, elapsed) = (server.cpu() - cpu, time::raw().elapsed_since(begun).as_secs_f64());
    assert!(replies > 0.0, "{} gave no {} reply", server.name, kind.name());
    Cost { micros: used / replies * 1e6, rate: replies / elapsed }
}

/// The limit of sockets: datagrams go back as they came, with one reading of the clock each.
fn echo_server(port: u16, threads: usize) -> ! {
    for _ in 1..threads {
        std::thread::spawn(move || echo(port));
    }
    echo(port)
}

fn echo(port: u16) -> ! {
    let socket = shared_socket(port).expect("the port is free");
    let mut messages = Messages::new();
    loop {
        for i in 0..BATCH {
            messages.parts[i].iov_len = 128;
            messages.headers[i].msg_hdr.msg_name = (&raw mut messages.names[i]).cast();
            messages.headers[i].msg_hdr.msg_namelen = 16;
        }
        let n = messages.receive(&socket, libc::MSG_WAITFORONE);
        for i in 0..n {
            let now = time::realtime().nanos().to_be_bytes();
            messages.buffers[i][40..48].copy_from_slice(&now);
            messages.parts[i].iov_len = messages.length(i);
        }
        messages.send(&socket, n);
    }
}

fn shared_socket(port: u16) -> io::Result<UdpSocket> {
    let one: libc::c_int = 1;
    let family = libc::sa_family_t::try_from(libc::AF_INET).expect("a small number");
    // SAFETY: plain calls with pointers to values of ours; the descriptor is owned by the socket made from it.
    unsafe {
        let socket = UdpSocket::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, (&raw const one).cast(), 4);
        let mut name: libc::sockaddr_in = std::mem::zeroed();
        (name.sin_family, name.sin_port) = (family, port.to_be());
        if libc::bind(socket.as_raw_fd(), (&raw const name).cast(), 16) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket)
    }
}
