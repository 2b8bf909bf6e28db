//! `paraclock clients`: who asks this machine for time, in the first columns of `chronyc clients`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{DEFAULT_SOCKET, client, complain, format, print, to_json};
use crate::wire::control::ClientReport;

/// Options of `clients`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Leave out clients with fewer packets
    #[arg(short = 'p', long = "packets", value_name = "N", default_value_t = 0)]
    packets: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

/// Asks the daemon and prints.
pub(super) fn show(options: &Options) -> ExitCode {
    match client::clients(&options.socket) {
        Ok(clients) => {
            let clients = chosen(clients, options.packets);
            print(&if options.json { to_json(&clients) } else { render(&clients) })
        }
        Err(error) => complain(&error),
    }
}

/// Those with enough packets, the busiest first.
fn chosen(mut clients: Vec<ClientReport>, packets: u32) -> Vec<ClientReport> {
    clients.retain(|c| c.received >= packets);
    clients.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| a.address.cmp(&b.address)));
    clients
}

const HEADER: &str = "Hostname                      NTP   Drop Int IntL Last";

fn render(clients: &[ClientReport]) -> String {
    let mut text = format!("{HEADER}\n{}\n", "=".repeat(HEADER.len()));
    for c in clients {
        let interval = |i: Option<i8>| i.map_or_else(|| "-".to_owned(), |i| i.to_string());
        text += &format!(
            "{:<25} {:>7} {:>6} {:>3} {:>3}  {}\n",
            c.address,
            c.received,
            c.dropped,
            interval(c.interval),
            interval(c.interval_limited),
            format::age(Some(c.last_age))
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, received: u32, dropped: u32, interval: Option<i8>, last_age: f64) -> ClientReport {
        let interval_limited = interval.filter(|_| dropped > 0).map(|i| i - 1);
        ClientReport { address: address.to_owned(), received, dropped, interval, interval_limited, last_age }
    }

    #[test]
    fn the_columns_are_chronycs() {
        let all = vec![
            client("192.0.2.7", 2, 0, Some(2), 133.4),
            client("2001:db8:1234:5678:9abc:def0:1234:5678", 1, 0, None, 4.0),
            client("10.0.0.12", 120_412, 96, Some(-3), 0.2),
        ];
        assert_eq!(
            render(&chosen(all.clone(), 0)),
            "\
Hostname                      NTP   Drop Int IntL Last
======================================================
10.0.0.12                  120412     96  -3  -4     0
192.0.2.7                       2      0   2   -   133
2001:db8:1234:5678:9abc:def0:1234:5678       1      0   -   -     4
"
        );
        assert_eq!(chosen(all, 2).len(), 2);
    }
}
