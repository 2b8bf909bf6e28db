//! The metrics of serving time to others, by thread.

use prometheus::Error;

use super::page::Page;
use crate::units::count;
use crate::wire::control::{Report, ServerThread};

/// A thread's number and how it is called.
type Counter = (&'static str, &'static str, fn(&ServerThread) -> u64);

const COUNTERS: [Counter; 8] = [
    ("paraclock_server_received_total", "Packets that came to the serving sockets.", |t| t.received),
    ("paraclock_server_replies_total", "Replies to them.", |t| t.replied),
    ("paraclock_server_kisses_total", "Of the replies, kiss-o'-death RATE.", |t| t.kissed),
    ("paraclock_server_interleaved_total", "Of the replies, those in the interleaved mode.", |t| t.interleaved),
    ("paraclock_server_authenticated_total", "Of the replies, those that were authenticated.", |t| t.authenticated),
    ("paraclock_server_stamped_total", "Of the replies, those whose sending the kernel stamped.", |t| t.stamped),
    ("paraclock_server_unsent_total", "Of the replies, those that could not be sent.", |t| t.unsent),
    ("paraclock_server_clients_forgotten_total", "Clients forgotten for want of room.", |t| t.forgotten),
];

/// Nothing if nobody is served.
pub(super) fn add(page: &mut Page, report: &Report) -> Result<(), Error> {
    let Some(server) = &report.server else { return Ok(()) };
    let names: Vec<String> = (0..server.threads.len()).map(|i| i.to_string()).collect();
    let threads = || names.iter().zip(&server.threads);
    for (name, help, value) in COUNTERS {
        page.counters(name, help, &["thread"], threads().map(|(n, t)| ([n.as_str()], count(value(t)))))?;
    }
    page.counters(
        "paraclock_server_refused_total",
        "Packets without a reply: malformed, version, mode, control (modes 6 and 7), denied, rate_limited, authentication.",
        &["thread", "reason"],
        threads().flat_map(|(n, t)| t.refused.iter().map(|(reason, &of)| ([n.as_str(), reason.as_str()], count(of)))),
    )?;
    if let Some(smoothing) = &report.smoothing {
        page.gauge(
            "paraclock_smoothing_offset_seconds",
            "How far the served time is ahead of the line on purpose (smoothtime).",
            smoothing.offset,
        )?;
        page.gauge("paraclock_smoothing_frequency_ratio", "How fast that grows.", smoothing.frequency_ppm * 1e-6)?;
        page.gauge("paraclock_smoothing_remaining_seconds", "Seconds until the served time is the line again.", smoothing.remaining)?;
    }
    page.gauge("paraclock_server_clients", "Clients remembered.", count(server.clients))?;
    page.gauge("paraclock_server_timestamps", "Clients whose timestamps are held for the interleaved mode.", count(server.timestamps))?;
    page.gauge("paraclock_server_client_memory_bytes", "Memory in which clients are remembered.", count(server.memory))
}
