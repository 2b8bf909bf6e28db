//! The page's text, and the server against clients of every kind.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Limits, MAX_CONNECTIONS, router, serve_within};
use super::{render, serve};
use crate::wire::control::Report;

fn sample() -> Report {
    serde_json::from_str(include_str!("../../../tests/data/report.json")).unwrap()
}

fn unsynchronised() -> Report {
    let mut report = sample();
    report.tracking.status = "unsynchronised".into();
    report.tracking.clock.error = None;
    report.problems = vec!["no source answers:\n<port 123>".into()];
    report
}

/// The value of the series whose line begins with `series` and a space.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn assert_close(text: &str, series: &str, expected: f64) {
    let found = value(text, series).unwrap_or_else(|| panic!("no series {series} in:\n{text}"));
    assert!((found - expected).abs() <= expected.abs() * 1e-9, "{series}: {found} instead of {expected}");
}

#[test]
fn the_clock_in_base_units() {
    let text = render(&sample(), false).unwrap();
    assert_close(&text, "paraclock_offset_seconds", -1.234e-6);
    assert_close(&text, "paraclock_max_error_seconds{of=\"clock\"}", 5.4e-6);
    assert_close(&text, "paraclock_max_error_seconds{of=\"line\"}", 4.1e-6);
    assert_close(&text, "paraclock_frequency_error_ratio", -12.345e-6);
    assert_close(&text, "paraclock_synchronized", 1.0);
    assert_close(&text, "paraclock_status{status=\"synchronised\"}", 1.0);
    assert_close(&text, "paraclock_status{status=\"disrupted\"}", 0.0);
    assert_close(&text, "paraclock_build_info{version=\"0.1.0\"}", 1.0);
    assert_close(&text, "paraclock_platform_info{cloud=\"aws\",hypervisor=\"kvm\"}", 1.0);
    assert_close(&text, "paraclock_last_disruption_recovery_seconds", 0.012);
    assert_close(&text, "paraclock_last_disruption_witness_seconds{witness=\"kvm-clock\"}", 0.42);
    assert_close(&text, "paraclock_disruptions_total{kind=\"restore\"}", 1.0);
    assert_close(&text, "paraclock_steal_seconds_total", 12.34);
    assert!(!text.contains("chrony_"));
}

#[test]
fn sources_are_told_apart_by_name_and_address() {
    let text = render(&sample(), false).unwrap();
    assert_close(&text, "paraclock_source_reach_ratio{address=\"192.0.2.1\",source=\"ntp1.example.com\"}", 0.875);
    assert_close(&text, "paraclock_source_poll_interval_seconds{address=\"\",source=\"PHC0\"}", 8.0);
    assert_close(&text, "paraclock_source_rejected_total{address=\"192.0.2.1\",reason=\"too_distant\",source=\"ntp1.example.com\"}", 2.0);
    assert_close(&text, "paraclock_source_state{address=\"\",reason=\"the best source\",source=\"PHC0\",state=\"selected\"}", 1.0);
    assert!(!text.contains("last_sample_age_seconds{address=\"2001:db8"));
}

#[test]
fn every_family_has_help_and_a_proper_name() {
    let text = render(&sample(), true).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn chronys_names_keep_chronys_signs() {
    let text = render(&sample(), true).unwrap();
    assert_close(&text, "chrony_up", 1.0);
    assert_close(&text, "chrony_tracking_system_time_seconds", 1.234e-6);
    assert_close(&text, "chrony_tracking_last_offset_seconds", 6.3e-8);
    assert_close(&text, "chrony_tracking_frequency_ppms", -12.345);
    assert_close(&text, "chrony_tracking_info{tracking_address=\"0.0.0.0\",tracking_name=\"PHC0\",tracking_refid=\"50484330\"}", 1.0);
    assert_close(
        &text,
        "chrony_sources_state_info{source_address=\"80.72.67.48\",source_mode=\"reference clock\",source_name=\"PHC0\",source_state=\"sync\"}",
        1.0,
    );
    assert_close(&text, "chrony_sources_reachability_success{source_address=\"192.0.2.1\",source_name=\"ntp1.example.com\"}", 1.0);
}

#[test]
fn the_unknown_is_infinite_and_the_broken_left_out() {
    let mut report = unsynchronised();
    report.tracking.skew_ppm = f64::NAN;
    report.platform.steal_seconds = Some(-1.0);
    let text = render(&report, false).unwrap();
    assert_eq!(value(&text, "paraclock_max_error_seconds{of=\"clock\"}"), Some(f64::INFINITY));
    assert_eq!(value(&text, "paraclock_frequency_skew_ratio"), None);
    assert_eq!(value(&text, "paraclock_steal_seconds_total"), Some(0.0));
    assert_eq!(value(&text, "paraclock_synchronized"), Some(0.0));
}

const QUICK: Limits = Limits { head: Duration::from_millis(300), connection: Duration::from_millis(600) };

/// Runs `client` against a server of `report`.
fn with_server<F: Future<Output = ()>>(report: Report, client: impl FnOnce(SocketAddr) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve_within(QUICK, listener, router(move || report.clone(), true)));
        tokio::time::timeout(Duration::from_secs(20), client(address)).await.unwrap();
        assert!(!server.is_finished());
    });
}

/// Sends `request` and reads until the server closes or resets.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may refuse before all is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
}

#[test]
fn three_pages_and_nothing_else() {
    with_server(sample(), |address| async move {
        let metrics = get(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.contains("\nparaclock_stratum 1\n"), "{metrics}");
        assert!(metrics.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{metrics}");
        let health = get(address, "/healthz").await;
        assert!(health.starts_with("HTTP/1.1 200 OK") && health.ends_with("\r\n\r\nsynchronised\n"), "{health}");
        let index = get(address, "/").await;
        assert!(index.contains("<a href=\"/metrics\">") && index.contains("Status: synchronised"), "{index}");
        assert!(get(address, "/etc/passwd").await.starts_with("HTTP/1.1 404"));
        assert!(exchange(address, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody").await.starts_with("HTTP/1.1 405"));
    });
}

#[test]
fn health_names_the_reason_in_one_line() {
    with_server(unsynchronised(), |address| async move {
        let health = get(address, "/healthz").await;
        assert!(
            health.starts_with("HTTP/1.1 503") && health.ends_with("\r\n\r\nunsynchronised: no source answers: <port 123>\n"),
            "{health}"
        );
        assert!(get(address, "/").await.contains("&lt;port 123&gt;"));
    });
}

#[test]
fn garbage_is_refused_and_harms_nobody() {
    with_server(sample(), |address| async move {
        let long = vec![b'a'; 1 << 20];
        let endless_head = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &long].concat();
        for garbage in [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".as_slice(), b"hello\r\n\r\n", &long, &endless_head] {
            let answer = exchange(address, garbage).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn many_clients_at_once_are_all_answered() {
    with_server(sample(), |address| async move {
        let clients: Vec<_> = (0..100).map(|_| tokio::spawn(async move { get(address, "/metrics").await })).collect();
        for client in clients {
            assert!(client.await.unwrap().starts_with("HTTP/1.1 200"));
        }
    });
}

#[test]
fn slow_clients_lose_their_places() {
    with_server(sample(), |address| async move {
        // Silent, half a head, one byte at a time, and one that never takes its answer.
        let mut slow = Vec::new();
        for n in 0..MAX_CONNECTIONS * 2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request: &[u8] =
                [b"".as_slice(), b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost:", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"][n % 4];
            stream.write_all(request).await.unwrap();
            slow.push(stream);
        }
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        for mut stream in slow {
            // Closed or reset by the server, with or without a word.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
}

#[test]
fn the_usual_server_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, sample, false));
        assert!(get(address, "/metrics").await.contains("paraclock_wakeups_total 7044"));
    });
}
