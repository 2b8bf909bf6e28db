//! `paraclock serverstats`: what was served, in the words of `chronyc serverstats` and a few more.

use crate::wire::control::{Report, Server, ServerThread};

/// The figures of all threads together, then the refusals by reason.
pub(super) fn render(report: &Report) -> String {
    let Some(server) = &report.server else {
        return "Time is served to nobody (`allow` changes that)\n".to_owned();
    };
    let sum = |of: fn(&ServerThread) -> u64| server.threads.iter().map(of).sum::<u64>();
    let refused = |reason: &str| server.threads.iter().filter_map(|t| t.refused.get(reason)).sum::<u64>();
    let rows = [
        ("NTP packets received", sum(|t| t.received)),
        ("NTP packets dropped", refused("rate_limited")),
        ("NTP packets denied", refused("denied")),
        ("Replies sent", sum(|t| t.replied) - sum(|t| t.unsent).min(sum(|t| t.replied))),
        ("Kiss-o'-death replies", sum(|t| t.kissed)),
        ("Client log records dropped", sum(|t| t.forgotten)),
        ("Authenticated NTP packets", sum(|t| t.authenticated)),
        ("Interleaved NTP packets", sum(|t| t.interleaved)),
        ("NTP timestamps held", server.timestamps),
        ("NTP kernel TX timestamps", sum(|t| t.stamped)),
        ("Malformed packets", refused("malformed") + refused("version")),
        ("Packets that ask nothing", refused("mode") + refused("control")),
        ("Authentication failures", refused("authentication")),
        ("Clients remembered", server.clients),
        ("Bytes to remember them", server.memory),
        ("Serving threads", threads(server)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<27}: {value}\n")).collect()
}

fn threads(server: &Server) -> u64 {
    u64::try_from(server.threads.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    #[test]
    fn threads_are_added_up() {
        let text = render(&sample::report());
        for line in [
            "NTP packets received       : 1598\n",
            "NTP packets dropped        : 8\n",
            "Replies sent               : 1580\n",
            "Serving threads            : 2\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let nobody = Report { server: None, ..sample::report() };
        assert!(render(&nobody).starts_with("Time is served to nobody"));
    }
}
