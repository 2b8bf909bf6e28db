//! Binds what is to be served, before anything else of the daemon begins: a mistake here stops the start and leaves nothing behind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use ipnet::IpNet;
use rand_core::{OsRng, TryRngCore};

use crate::config::{AccessSubject, Config, Diagnostic, Origin, Severity, blame};
use crate::ntp::{Access, Keys, Responder, Rule, ServerOptions};
use crate::sys::server_socket::ServerSocket;
use crate::sys::time;
use crate::sys::vsock::{LACKING, VsockListener};
use crate::units::Vsock;

/// Bound sockets; a responder comes with each, or with the first alone if one thread serves them all.
#[derive(Debug)]
pub struct Opened {
    pub(super) sockets: Vec<(ServerSocket, Option<Responder>)>,
    pub(super) vsock: Option<(VsockListener, Responder)>,
    pub(super) addresses: Vec<String>,
    /// Threads for each address; 0: the main loop.
    pub(super) threads: usize,
}

/// Binds what the configuration asks for; `None` if nobody is served.
pub fn open(config: &Config, keys: &Arc<Keys>) -> Result<Option<Opened>, Vec<Diagnostic>> {
    if config.port == 0 || !config.access.iter().any(|rule| rule.allow) {
        return Ok(None);
    }
    let access = Arc::new(Access::new(rules(config, resolve)?));
    let (v4, v6) = access.families();
    let mut threads = config.server_threads.map_or_else(cores, usize::from);
    let mut groups = Vec::new();
    for (address, chosen) in addresses(config, v4, v6) {
        let address = SocketAddr::new(address, config.port);
        let device = config.bind_device.as_ref().map(|(_, name)| name.as_str());
        match ServerSocket::open(address, device, threads.max(1)) {
            Ok(sockets) => groups.push((address, sockets)),
            // A machine without IPv6 serves IPv4.
            Err(error) if !chosen && address.is_ipv6() && has_no_family(&error) => tracing::info!("no IPv6 here: serving IPv4 alone"),
            Err(error) => return Err(vec![refused(config, address, &error)]),
        }
    }
    let vsock = access.vsock().then(|| open_vsock(config)).transpose().map_err(|wrong| vec![wrong])?;
    if groups.is_empty() && vsock.is_none() {
        return Ok(None);
    }
    if threads > 0 && !groups.iter().all(|(_, sockets)| sockets.iter().all(ServerSocket::bears_threads)) {
        tracing::info!("these sockets cannot be shared between threads: serving within the main loop");
        threads = 0;
    }
    let mut addresses: Vec<String> = groups.iter().map(|(address, _)| address.to_string()).collect();
    if vsock.is_some() {
        addresses.push(format!("vsock port {}", config.port));
    }
    let mut sockets: Vec<ServerSocket> = groups.into_iter().flat_map(|(_, sockets)| sockets.into_iter().take(threads.max(1))).collect();
    let responders = if threads > 0 { sockets.len() } else { sockets.len().min(1) };
    let memory = if config.client_log {
        usize::try_from(config.client_log_limit).unwrap_or(usize::MAX) / (responders + usize::from(vsock.is_some()))
    } else {
        0
    };
    let mut options = ServerOptions { access, keys: Arc::clone(keys), rate_limit: config.rate_limit, client_memory: memory, seed: 0 };
    let sockets = sockets
        .drain(..)
        .enumerate()
        .map(|(i, socket)| {
            options.seed = seed();
            (socket, (i < responders).then(|| Responder::new(&options)))
        })
        .collect();
    options.seed = seed();
    let vsock = vsock.map(|listener| (listener, Responder::new(&options)));
    Ok(Some(Opened { sockets, vsock, addresses, threads }))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Secret, so that nobody can aim at another's place among the clients.
fn seed() -> u64 {
    OsRng.try_next_u64().unwrap_or_else(|_| time::raw().nanos().unsigned_abs() ^ time::realtime().nanos().unsigned_abs().rotate_left(32))
}

/// Where to bind, and whether a line says so.
fn addresses(config: &Config, v4: bool, v6: bool) -> Vec<(IpAddr, bool)> {
    let mut addresses = Vec::new();
    for (wanted, any) in [(v4, IpAddr::from(Ipv4Addr::UNSPECIFIED)), (v6, IpAddr::from(Ipv6Addr::UNSPECIFIED))] {
        let chosen = config.bind_addresses.iter().map(|b| b.address).filter(|a| a.is_ipv4() == any.is_ipv4());
        let mut chosen: Vec<(IpAddr, bool)> = chosen.map(|a| (a, true)).collect();
        if chosen.is_empty() {
            chosen.push((any, false));
        }
        if wanted {
            addresses.extend(chosen);
        }
    }
    addresses
}

/// The access rules, with host names resolved now.
fn rules(config: &Config, resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>>) -> Result<Vec<Rule>, Vec<Diagnostic>> {
    let mut rules = Vec::new();
    let mut wrong = Vec::new();
    for rule in &config.access {
        let nets: Vec<IpNet> = match &rule.subject {
            AccessSubject::Everybody => [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)]
                .into_iter()
                .filter_map(|any| IpNet::new(any, 0).ok())
                .collect(),
            AccessSubject::Net(net) => vec![*net],
            AccessSubject::Vsock(None) => IpNet::new(Vsock(0).address(), Vsock::PREFIX_BITS).into_iter().collect(),
            AccessSubject::Vsock(Some(machine)) => vec![machine.address().into()],
            AccessSubject::Name(name) => match resolve(name) {
                Ok(addresses) => addresses.into_iter().map(IpNet::from).collect(),
                Err(error) if rule.allow => {
                    tracing::warn!(
                        "{}: the host {name} cannot be resolved ({error}): it is not allowed; write its address, or restart later",
                        rule.origin
                    );
                    Vec::new()
                }
                Err(error) => {
                    let message = format!("the host {name} cannot be resolved ({error}), so it cannot be denied: write its address");
                    wrong.push(Diagnostic { origin: rule.origin.clone(), severity: Severity::Error, message });
                    Vec::new()
                }
            },
        };
        rules.extend(nets.into_iter().map(|net| Rule { allow: rule.allow, all: rule.all, net }));
    }
    if wrong.is_empty() { Ok(rules) } else { Err(wrong) }
}

fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    let addresses: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|a| a.ip()).collect();
    if addresses.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(addresses) }
}

fn open_vsock(config: &Config) -> Result<VsockListener, Diagnostic> {
    VsockListener::open(config.port).map_err(|error| {
        let remedy = match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT) => format!("{LACKING}; or remove the line"),
            Some(libc::EADDRINUSE) => "another program serves there (find it: ss --vsock -lp): stop it, or choose another `port`".to_owned(),
            Some(libc::EACCES | libc::EPERM) if config.port < 1024 => format!(
                "port {} needs CAP_NET_BIND_SERVICE: start as root, give the unit AmbientCapabilities=CAP_NET_BIND_SERVICE, or choose `port` 1024 or above",
                config.port
            ),
            _ => "remove the line".to_owned(),
        };
        let line = config.access.iter().find(|rule| rule.allow && matches!(rule.subject, AccessSubject::Vsock(_)));
        let origin = line.map_or_else(|| Origin { file: Arc::from("configuration"), line: 0, column: 0 }, |rule| rule.origin.clone());
        Diagnostic { origin, severity: Severity::Error, message: format!("cannot serve time over vsock at port {}: {error}; {remedy}", config.port) }
    })
}

fn has_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT | libc::EINVAL))
}

fn refused(config: &Config, address: SocketAddr, error: &io::Error) -> Diagnostic {
    let remedy = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            "another program serves there (find it: ss -lunp 'sport = :{}'): stop it, or choose another address or `port`",
            address.port()
        ),
        Some(libc::EACCES | libc::EPERM) if address.port() < 1024 => format!(
            "port {} needs CAP_NET_BIND_SERVICE: start as root, give the unit AmbientCapabilities=CAP_NET_BIND_SERVICE, or choose `port` 1024 or above",
            address.port()
        ),
        Some(libc::EADDRNOTAVAIL) => "this machine has no such address: see `ip address`".to_owned(),
        Some(libc::ENODEV) => "this machine has no such interface: see `ip link`".to_owned(),
        Some(libc::EPERM) if config.bind_device.is_some() => "`binddevice` needs CAP_NET_RAW: start as root".to_owned(),
        _ => "choose another address or `port`, or `port 0` to serve nobody".to_owned(),
    };
    let at_device =
        config.bind_device.as_ref().filter(|_| matches!(error.raw_os_error(), Some(libc::ENODEV))).map(|(origin, _)| origin.clone());
    let whole = || Origin { file: Arc::from("configuration"), line: 0, column: 0 };
    let origin = at_device.or_else(|| blame(config, address.ip())).unwrap_or_else(whole);
    Diagnostic { origin, severity: Severity::Error, message: format!("cannot serve time at {address}: {error}; {remedy}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_directives;
    use crate::run::config_files::ConfigFiles;
    use std::net::UdpSocket;

    fn config(lines: &[&str]) -> Config {
        parse_directives(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>(), &ConfigFiles).unwrap()
    }

    #[test]
    fn nobody_allowed_opens_nothing() {
        for lines in [&["port 1123"][..], &["allow", "port 0"], &["deny 10"], &["allow 10", "deny all"]] {
            assert!(open(&config(lines), &Arc::default()).unwrap().is_none(), "{lines:?}");
        }
    }

    #[test]
    fn names_are_resolved_when_the_rules_are_read() {
        let found = |name: &str| match name {
            "two.example" => Ok(vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
            _ => Err(io::Error::other("no such name")),
        };
        let rules_of = |lines: &[&str]| rules(&config(lines), found);
        let access = Access::new(rules_of(&["allow two.example", "allow lost.example"]).unwrap());
        assert!(access.allows("192.0.2.1".parse().unwrap()) && access.allows("2001:db8::1".parse().unwrap()));
        assert!(!access.allows("192.0.2.2".parse().unwrap()));
        let wrong = rules_of(&["allow", "deny lost.example"]).unwrap_err();
        assert!(wrong[0].to_string().starts_with("command line:2:1: error: the host lost.example cannot be resolved"), "{}", wrong[0]);
        assert_eq!(rules_of(&["allow all"]).unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_bound_names_its_line_and_a_remedy() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = format!("port {}", taken.local_addr().unwrap().port());
        for (lines, start, end) in [
            (
                vec!["allow 127", &port, "bindaddress 127.0.0.1"],
                "command line:3:1: error: cannot serve time at 127.0.0.1:",
                "choose another address or `port`",
            ),
            (
                vec!["allow 127", &port, "bindaddress 127.0.0.5", "bindaddress 192.0.2.9"],
                "command line:4:1: error: cannot serve time at 192.0.2.9:",
                "see `ip address`",
            ),
            (vec!["allow 127", "binddevice nosuch0", &port], "command line:2:1: error: cannot serve time at 0.0.0.0:", "see `ip link`"),
        ] {
            let error = open(&config(&lines), &Arc::default()).unwrap_err().remove(0).to_string();
            let unprivileged = error.contains("CAP_NET_RAW") && lines[1].starts_with("binddevice");
            assert!(unprivileged || (error.starts_with(start) && error.ends_with(end)), "{error}");
        }
        // Nothing half started: the address before the wrong one is free again.
        drop(UdpSocket::bind(("127.0.0.5", taken.local_addr().unwrap().port())).unwrap());
    }

    #[test]
    fn each_family_that_is_allowed_is_bound() {
        let bound = |lines: &[&str]| addresses(&config(lines), true, lines[0] != "v4").iter().map(|a| a.0.to_string()).collect::<Vec<_>>();
        assert_eq!(bound(&["allow"]), ["0.0.0.0", "::"]);
        assert_eq!(bound(&["bindaddress 10.0.0.1", "bindaddress 10.0.0.2"]), ["10.0.0.1", "10.0.0.2", "::"]);
        assert_eq!(bound(&["allow", "bindaddress ::1"]), ["0.0.0.0", "::1"]);
    }
}
