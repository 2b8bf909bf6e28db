//! Directives about sockets: where questions leave from, chronyc's and our own control, metrics.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::line::{Line, Parsed, quoted};
use super::{BindAddresses, Config, Metrics};

/// `bindacqaddress ADDRESS`.
pub(super) fn bindacqaddress(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let address = bind(line, "bindacqaddress", &mut config.acquisition_addresses)?;
    Ok(format!("ask servers from the local address {address}"))
}

/// One address and the end of the line.
fn bind(line: &mut Line<'_>, name: &str, addresses: &mut BindAddresses) -> Parsed<IpAddr> {
    let address = line.address(name)?;
    line.end()?;
    addresses.set(address);
    Ok(address)
}

/// `acquisitionport NUMBER`; 0 means any.
pub(super) fn acquisitionport(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let port = line.integer("acquisitionport", 0..=u16::MAX)?;
    line.end()?;
    config.acquisition_port = Some(port).filter(|&port| port != 0);
    Ok(match config.acquisition_port {
        None => "ask servers from any free local port".to_owned(),
        Some(port) => format!("ask servers from the local UDP port {port}"),
    })
}

/// `cmdport NUMBER`; 0 means none.
pub(super) fn cmdport(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    config.chrony_control.port = line.integer("cmdport", 0..=u16::MAX)?;
    line.end()?;
    Ok(match config.chrony_control.port {
        0 => "do not listen for chronyc on UDP".to_owned(),
        port => {
            line.note_unserved("`cmdport` (chronyc is not answered)");
            format!("not served yet: listen for chronyc on UDP port {port}")
        }
    })
}

/// `bindcmdaddress ADDRESS` or `bindcmdaddress PATH`; `/` means no Unix socket.
pub(super) fn bindcmdaddress(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let control = &mut config.chrony_control;
    if let Some(path) = line.peek().map(|word| word.text).filter(|text| text.starts_with('/')) {
        line.next();
        line.end()?;
        control.socket = Some(PathBuf::from(path)).filter(|path| path.as_os_str() != "/");
        return Ok(match path {
            "/" => "open no Unix socket for chronyc".to_owned(),
            path => {
                line.note_unserved("`bindcmdaddress` (chronyc is not answered)");
                format!("not served yet: listen for chronyc on the Unix socket {path}")
            }
        });
    }
    let address = line.address("bindcmdaddress")?;
    line.end()?;
    control.bind_addresses.set(address);
    line.note_unserved("`bindcmdaddress` (chronyc is not answered)");
    Ok(format!("not served yet: listen for chronyc on the local address {address}"))
}

/// `metrics ADDRESS:PORT|off [chrony]`.
pub(super) fn metrics(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let what = "`off` or an address and a port such as `127.0.0.1:10123` or `[::1]:10123`";
    let word = line.required("metrics", what)?;
    if word.keyword() == "off" {
        line.end()?;
        config.metrics = None;
        return Ok("serve no metrics".to_owned());
    }
    let address: SocketAddr = word.text.parse().map_err(|_| word.problem(format!("`metrics` needs {what}, not {}", quoted(word.text))))?;
    let chrony_names = line.peek().is_some_and(|word| word.keyword() == "chrony");
    if chrony_names {
        line.next();
    }
    line.end()?;
    config.metrics = Some(Metrics { address, chrony_names });
    let names = if chrony_names { ", also under the names of chrony dashboards" } else { "" };
    Ok(format!("serve Prometheus metrics at http://{address}/metrics{names}"))
}

/// `control PATH|off`.
pub(super) fn control(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let what = "`off` or the full path of a Unix socket";
    let word = line.required("control", what)?;
    let (control, meaning) = match word.text {
        off if off.eq_ignore_ascii_case("off") => (None, "open no control socket".to_owned()),
        path if path.starts_with('/') && path.len() > 1 => (Some(PathBuf::from(path)), format!("answer our own commands on {path}")),
        other => return Err(word.problem(format!("`control` needs {what}, not {}", quoted(other)))),
    };
    line.end()?;
    config.control = control;
    Ok(meaning)
}
