//! The dialect as a whole, on files in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::units::{Offset, Poll, Stratum, Timescale, Vsock};

/// Files in memory.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    fn with(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn list(&self, dir: &Path, suffix: &str) -> Result<Vec<PathBuf>, String> {
        if dir == Path::new("/secret") {
            return Err("permission denied".to_owned());
        }
        let within = |path: &&PathBuf| path.parent() == Some(dir) && path.to_string_lossy().ends_with(suffix);
        Ok(self.0.keys().filter(within).cloned().rev().collect())
    }
}

fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    load(Path::new("c"), &Memory::with(&[("c", text)]))
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|findings| panic!("{text}: {}", shown(&findings).join("\n")))
}

fn shown(findings: &[Diagnostic]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// The errors of a text that must be refused.
fn errors(text: &str) -> Vec<String> {
    shown(&parse(text).expect_err(text))
}

/// The only error of a text.
fn error(text: &str) -> String {
    let mut all = errors(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn smoothed_time() {
    let parsed = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        parse_directives(&lines, &Memory::default()).map_err(|wrong| wrong[0].to_string())
    };
    let config = parsed(&["leapsecmode slew", "smoothtime 400 0.001 leaponly"]).unwrap();
    let smooth = config.smoothtime.unwrap();
    assert!((smooth.max_frequency.ppm() - 400.0).abs() < 1e-9 && (smooth.max_wander.ppm() - 0.001).abs() < 1e-12 && smooth.leap_only);
    assert!(config.warnings.is_empty());
    let config = parsed(&["smoothtime 50000 0.01"]).unwrap();
    assert!(!config.smoothtime.unwrap().leap_only);
    assert!(config.warnings[0].to_string().contains("1:1: warning: ") && config.warnings[0].to_string().contains("leapsecmode slew"));
    for (line, wrong) in [
        ("smoothtime 400", "smoothtime"),
        ("smoothtime 0 1", "1:12: error: `smoothtime` needs a number of ppm from 0.001"),
        ("smoothtime 400 -1", "1:16: error: `smoothtime` needs a number of ppm per second"),
        ("smoothtime 400 1 leap", "1:18: error: unknown option `leap` of `smoothtime`: there is `leaponly`"),
    ] {
        let error = parsed(&[line]).unwrap_err();
        assert!(error.contains(wrong), "{line}: {error}");
    }
}

#[test]
fn machines_of_this_host() {
    let parsed = |line: &str| parse_directives(&[line.to_owned()], &Memory::default()).map_err(|wrong| wrong[0].to_string());
    for (line, name, port) in
        [("server vsock:2", "vsock:2", 123), ("server VSOCK:Host:1123", "vsock:2", 1123), ("server vsock:local port 99", "vsock:1", 99)]
    {
        let config = parsed(line).unwrap();
        assert_eq!((config.servers[0].name.as_str(), config.servers[0].port), (name, port), "{line}");
    }
    for (line, subject) in [("allow vsock", None), ("deny vsock 7", Some(Vsock(7))), ("allow all vsock host", Some(Vsock::HOST))] {
        assert_eq!(parsed(line).unwrap().access[0].subject, AccessSubject::Vsock(subject), "{line}");
    }
    for (line, wrong) in [
        ("server vsock:", "1:8: error: `vsock:` names no machine"),
        ("server vsock:any", "1:8: error: `vsock:any` names no machine"),
        ("server vsock:2:0", "1:8: error: `vsock:2:0` has no good port"),
        ("server vsock:2:x", "1:8: error: `vsock:2:x` has no good port"),
        ("pool vsock:2", "1:6: error: one machine is no pool"),
        ("server 100::2", "1:8: error: nobody answers at `100::2`"),
        ("allow vsock any", "1:13: error: `any` names no machine"),
        ("allow vsock 3 4", "1:15: error: "),
        ("allow 100::/96", "1:7: error: nobody asks from `100::/96`"),
    ] {
        let error = parsed(line).unwrap_err();
        assert!(error.contains(wrong), "{line}: {error}");
    }
}

#[test]
fn nothing_said_means_chronys_defaults() {
    let config = good("# nothing\n\n  ! at all\r\n");
    assert_eq!(config, Config::default());
    assert_eq!((config.port, config.chrony_control.port, config.min_sources), (123, 323, 1));
    assert!(config.makestep.is_none() && config.autodetect.is_none() && config.access.is_empty());
}

#[test]
fn a_server_with_all_its_options() {
    let text = "SERVER ntp.example.net port 11123 minpoll 2 MaxPoll 5 iburst burst prefer trust require noselect minstratum 3 \
                version 3 xleave offset -0.001 maxdelay 0.5 key 7 nts presend 9 filter 5 offline";
    let config = good(text);
    let server = &config.servers[0];
    assert_eq!((server.name.as_str(), server.port, server.is_pool()), ("ntp.example.net", 11123, false));
    assert_eq!((server.min_poll, server.max_poll), (Poll::new(2), Poll::new(5)));
    assert!(server.iburst && server.burst && server.xleave && server.nts);
    assert_eq!(server.select, SelectOptions { prefer: true, trust: true, require: true, noselect: true });
    assert_eq!((server.min_stratum, server.version, server.key), (Stratum::new(3), Some(3), Some(7)));
    assert_eq!((server.offset, server.max_delay), (Offset::from_nanos(-1_000_000), Duration::from_millis(500)));
    assert_eq!(
        shown(&config.warnings),
        ["c:1:1: warning: `nts` (answers of this server are not authenticated), \
          `presend`, `filter`, `offline`: accepted but not served yet"]
    );
}

#[test]
fn poll_limits() {
    let polls = |options: &str| {
        let config = good(&format!("server a {options}"));
        (config.servers[0].min_poll.log2(), config.servers[0].max_poll.log2())
    };
    assert_eq!(polls(""), (6, 10));
    assert_eq!(polls("minpoll 4"), (4, 10));
    assert_eq!(polls("minpoll 12"), (12, 12));
    assert_eq!(polls("maxpoll 4"), (4, 4));
    assert_eq!(polls("minpoll -7 maxpoll 24"), (-7, 24));
    assert_eq!(error("server a minpoll 5 maxpoll 4"), "c:1:20: error: `minpoll` 5 is above `maxpoll` 4: lower one or raise the other");
    assert_eq!(error("server a minpoll 25"), "c:1:18: error: `minpoll` needs a whole number from -7 to 24, not `25`");
    assert_eq!(error("server a maxpoll"), "c:1:17: error: `maxpoll` needs a whole number from -7 to 24 after it");
}

#[test]
fn mistakes_are_named_with_the_nearest_word_and_all_at_once() {
    let text = "sever a\nserver b mnipoll 4 ibrust\nrtcsync # really\n\nport x\nmakestep 1\npool\nserver c maxsources 2\nfrobnicate\n";
    assert_eq!(
        errors(text),
        [
            "c:1:1: error: unknown directive `sever`; did you mean `server`?",
            "c:2:10: error: unknown option `mnipoll` of `server`; did you mean `minpoll`?",
            "c:2:20: error: unknown option `ibrust` of `server`; did you mean `iburst`?",
            "c:3:9: error: a comment needs a line of its own: move it to the line above",
            "c:5:6: error: `port` needs a whole number from 0 to 65535, not `x`",
            "c:6:11: error: `makestep` needs a whole number from -2147483648 to 2147483647 after it",
            "c:7:5: error: `pool` needs a host name or address after it",
            "c:8:10: error: `maxsources` belongs to `pool`: a `server` is one source; remove it or write `pool`",
            "c:9:1: error: unknown directive `frobnicate`",
        ]
    );
}

#[test]
fn local_clocks() {
    let config = good(
        "refclock PHC /dev/ptp0:nocrossts poll 3 dpoll -2 offset 1e-6 stratum 2 refid ABC delay 1e-5 precision 1e-7 tai\n\
         refclock phc ptp_kvm poll -1\n\
         refclock KVM prefer\n\
         refclock VMCLOCK\n\
         refclock VmClock /dev/vmclock1 timescale smeared trust require noselect\n\
         refclock SHM 0 refid GPS precision 1e-1\n\
         refclock PHC /dev/ptp1:extpps:pin=1 lock GPS rate 10\n",
    );
    let [physical, named, kvm, vmclock, smeared, pulsed] = config.refclocks.as_slice() else { panic!("{:?}", config.refclocks) };
    assert_eq!(physical.kind, RefclockKind::Phc { device: PhcDevice::Path("/dev/ptp0".into()), nocrossts: true });
    assert_eq!((physical.poll, physical.dpoll, physical.stratum), (Poll::new(3), Poll::new(-2), Stratum::new(2)));
    assert_eq!((physical.offset, physical.delay), (Offset::from_nanos(1000), Duration::from_micros(10)));
    assert_eq!((physical.precision, physical.timescale), (Some(Duration::from_nanos(100)), Some(Timescale::Tai)));
    assert_eq!(physical.refid.and_then(|id| id.name()).as_deref(), Some("ABC"));
    assert_eq!(named.kind, RefclockKind::Phc { device: PhcDevice::Name("ptp_kvm".into()), nocrossts: false });
    assert_eq!((named.poll, named.dpoll), (Poll::new(-1), Poll::new(-1)));
    assert_eq!((&kvm.kind, kvm.select.prefer, kvm.poll, kvm.dpoll), (&RefclockKind::Kvm, true, Poll::new(4), Poll::new(0)));
    assert_eq!(vmclock.kind, RefclockKind::Vmclock { device: "/dev/vmclock0".into() });
    assert_eq!((&smeared.kind, smeared.timescale), (&RefclockKind::Vmclock { device: "/dev/vmclock1".into() }, Some(Timescale::Smeared)));
    assert_eq!(pulsed.kind, RefclockKind::Phc { device: PhcDevice::Path("/dev/ptp1".into()), nocrossts: false });
    assert_eq!(
        shown(&config.warnings),
        [
            "c:1:1: warning: `nocrossts` (cross timestamps are used if the device has them): accepted but not served yet",
            "c:6:1: warning: `refclock SHM` (this clock is not read): accepted but not served yet",
            "c:7:1: warning: `extpps` (the clock itself is read, not its pulse input), `pin`, `lock`, `rate`: accepted but not served yet",
        ]
    );
    assert_eq!(
        errors("refclock PTP /dev/ptp0\nrefclock KVM /dev/kvm\nrefclock PHC a:nocrosst refid LONGER tai timescale utc\nrefclock"),
        [
            "c:1:10: error: unknown kind of clock `PTP`: use `PHC`, `KVM` or `VMCLOCK`",
            "c:2:14: error: unknown option `/dev/kvm` of `refclock`",
            "c:3:14: error: unknown suffix `nocrosst` of a PHC device; did you mean `nocrossts`?",
            "c:3:31: error: `refid` needs one to four ASCII characters, not `LONGER`",
            "c:3:42: error: the clock cannot keep both tai and utc: say one timescale",
            "c:4:9: error: `refclock` needs a kind of clock: `PHC`, `KVM` or `VMCLOCK` after it",
        ]
    );
}

#[test]
fn the_clock() {
    let config = good(
        "driftfile /d interval 60\nmakestep 0.1 -1\nmaxdistance 1.5\nminsources 2\nmaxslewrate 1000\nmaxdrift 100\nmaxclockerror 2.5\n\
         leapsecmode slew\nrtcsync\nforeignstep accept\nlocal stratum 5 orphan distance 0.5 activate 0.1 waitsynced 10",
    );
    assert_eq!(config.driftfile, Some(Driftfile { path: "/d".into(), interval: Duration::from_secs(60) }));
    assert_eq!(config.makestep, Some(Makestep { threshold: Duration::from_millis(100), limit: None }));
    assert_eq!((config.max_distance, config.min_sources), (Duration::from_millis(1500), 2));
    assert_eq!([config.max_slew_rate, config.max_drift, config.max_clock_error].map(|rate| rate.ppm().to_string()), ["1000", "100", "2.5"]);
    assert_eq!((config.leap_second_mode, config.foreign_step, config.rtc_sync), (LeapSecondMode::Slew, ForeignStep::Accept, true));
    let local = config.local.unwrap();
    assert_eq!((local.stratum, local.orphan, local.wait_unsynced), (Stratum::new(5), true, Duration::from_secs(300)));
    assert_eq!((local.distance, local.activate, local.wait_synced.as_secs()), (Duration::from_millis(500), Duration::from_millis(100), 10));
    assert_eq!(good("local").local.unwrap().stratum, Stratum::new(10));
    assert_eq!(good("makestep 1 3\nmakestep 2 4").makestep, Some(Makestep { threshold: Duration::from_secs(2), limit: Some(4) }));
    assert_eq!(error("leapsecmode jump"), "c:1:13: error: `leapsecmode` needs one of `system`, `step`, `slew`, `ignore`, not `jump`");
    assert_eq!(error("maxdistance nan"), "c:1:13: error: `maxdistance` needs a number of seconds not below 0, not `nan`");
}

#[test]
fn sockets() {
    let config = good(
        "port 0\nbindaddress 10.0.0.1\nbindaddress ::1\nbindaddress 10.0.0.2\nbindacqaddress 10.0.0.3\nacquisitionport 1123\ncmdport 0\n\
         bindcmdaddress 127.0.0.2\nbindcmdaddress /\nmetrics 0.0.0.0:9 chrony\ncontrol /run/x.sock",
    );
    assert_eq!(config.port, 0);
    let bound: Vec<(usize, String)> = config.bind_addresses.iter().map(|b| (b.origin.line, b.address.to_string())).collect();
    assert_eq!(bound, [(2, "10.0.0.1".to_owned()), (3, "::1".to_owned()), (4, "10.0.0.2".to_owned())]);
    assert_eq!(config.acquisition_addresses.v4, Some("10.0.0.3".parse().unwrap()));
    assert_eq!(config.acquisition_port, Some(1123));
    assert_eq!((config.chrony_control.port, config.chrony_control.socket), (0, None));
    assert_eq!(config.metrics, Some(Metrics { address: "0.0.0.0:9".parse().unwrap(), chrony_names: true }));
    assert_eq!(config.control, Some(PathBuf::from("/run/x.sock")));
    let off = good("metrics off\ncontrol OFF\nbindcmdaddress /run/c.sock\nautodetect off");
    assert_eq!((off.metrics, off.control, off.autodetect), (None, None, Some(false)));
    assert_eq!(off.chrony_control.socket, Some(PathBuf::from("/run/c.sock")));
    assert_eq!(errors("metrics 10123\ncontrol x\nbindaddress localhost\nmetrics 1.1.1.1:1 yes").len(), 4);
}

#[test]
fn serving() {
    let config = good("allow\nratelimit kod 2 interval -19 leak 4\nclientloglimit 1048576\nserverthreads 0\nbinddevice eth0\nport 1123");
    assert_eq!(config.rate_limit, Some(RateLimit { interval: -19, burst: 8, leak: 4, kod: 2 }));
    assert_eq!((config.client_log_limit, config.client_log, config.server_threads, config.port), (1 << 20, true, Some(0), 1123));
    assert_eq!(config.bind_device.as_ref().map(|(at, name)| (at.line, name.as_str())), Some((5, "eth0")));
    assert!(config.warnings.is_empty());
    assert_eq!(blame(&config, "10.0.0.1".parse().unwrap()).map(|at| at.line), Some(6));
    assert_eq!(blame(&good("allow 10"), "10.0.0.1".parse().unwrap()).map(|at| at.line), Some(1));
    let plain = good("ratelimit\nnoclientlog");
    assert_eq!((plain.rate_limit, plain.client_log), (Some(RateLimit { interval: 3, burst: 8, leak: 2, kod: 0 }), false));
    assert_eq!(good("clientloglimit 4294967295").client_log_limit, 1 << 31);
    assert_eq!(
        errors("ratelimit interval 13\nratelimit leak 0\nratelimit burts\nserverthreads 65\nbinddevice a/b\nclientloglimit -1").len(),
        6
    );
    assert_eq!(error("ratelimit burts"), "c:1:11: error: unknown option `burts` of `ratelimit`; did you mean `burst`?");
}

#[test]
fn the_process() {
    let config =
        good("logdir /l\nlog tracking MEASUREMENTS\nlog tracking rawstatistics trace\npidfile /p\ndumpdir /d\ndumponexit\nuser _chrony");
    assert_eq!(config.logs, [LogKind::Tracking, LogKind::Measurements, LogKind::RawStatistics, LogKind::Trace]);
    assert_eq!((config.log_dir, config.pid_file, config.dump_dir), (Some("/l".into()), Some("/p".into()), Some("/d".into())));
    assert!(config.dump_on_exit);
    assert_eq!(config.user.as_deref(), Some("_chrony"));
    assert_eq!(good("pidfile /p\npidfile /").pid_file, None);
    assert_eq!(error("log trakcing"), "c:1:5: error: unknown log `trakcing`; did you mean `tracking`?");
}

#[test]
fn access_rules_keep_their_order() {
    let config = good("allow\ndeny all\nallow 10.1\ndeny all 10.1.2.3\nallow host.example.net");
    let rules: Vec<(usize, bool, bool)> = config.access.iter().map(|rule| (rule.origin.line, rule.allow, rule.all)).collect();
    assert_eq!(rules, [(1, true, false), (2, false, true), (3, true, false), (4, false, true), (5, true, false)]);
    assert_eq!(config.access[0].subject, AccessSubject::Everybody);
    assert_eq!(config.access[2].subject, AccessSubject::Net("10.1.0.0/16".parse().unwrap()));
    assert_eq!(config.access[4].subject, AccessSubject::Name("host.example.net".into()));
    assert_eq!(errors("allow 10.1 10.2\nallow 300.1").len(), 2);
}

#[test]
fn chronys_other_directives_warn_once_a_line() {
    for (name, _) in unserved::UNSERVED {
        let config = good(&format!("{name} some words\n"));
        assert_eq!(config.warnings.len(), 1, "{name}");
        assert_eq!(config.lines.len(), 1, "{name}");
        assert!(config.warnings[0].message.ends_with(": accepted but not served yet"));
    }
}

#[test]
fn network_cards_are_chosen_and_read_as_chrony_does() {
    let config = good(
        "hwtimestamp eth0 minpoll -2 precision 50e-9 txcomp 300e-9 rxcomp 645e-9 nocrossts rxfilter ntp minsamples 4 maxsamples 32\n\
         hwtimestamp *\nhwtimestamp eth1 minpoll 3 maxpoll 1\nhwtstimeout 0.005",
    );
    let [eth0, all, eth1] = config.hw_timestamps.as_slice() else { panic!("{:?}", config.hw_timestamps) };
    assert_eq!((eth0.interface.as_deref(), all.interface.as_deref()), (Some("eth0"), None));
    assert_eq!((eth0.min_poll.log2(), eth0.max_poll.log2()), (-2, -1));
    assert_eq!((all.min_poll.log2(), all.max_poll.log2(), eth1.max_poll.log2()), (0, 1, 3));
    assert_eq!((eth0.tx_comp.nanos(), eth0.rx_comp.nanos(), eth0.precision), (300, 645, Duration::from_nanos(50)));
    assert_eq!((eth0.rx_filter, all.rx_filter), (Some(RxFilter::Ntp), None));
    assert_eq!((eth0.min_samples, eth0.max_samples, all.min_samples, all.max_samples), (4, 32, 2, 16));
    assert!(eth0.nocrossts && !all.nocrossts);
    assert_eq!((config.hw_timeout, config.warnings.len()), (Duration::from_millis(5), 0));
    for wrong in ["hwtimestamp", "hwtimestamp eth0 maxpol", "hwtimestamp eth0 rxfilter some", "hwtimestamp a/b", "hwtimestamp * minpoll -7"]
    {
        assert_eq!(errors(wrong).len(), 1, "{wrong}");
    }
}

#[test]
fn what_is_not_done_is_said_once_a_line() {
    for line in [
        "cmdport 1323",
        "bindcmdaddress 127.0.0.1",
        "bindcmdaddress /run/c.sock",
        "dumpdir /d",
        "dumponexit",
        "driftfile /d interval 7200",
        "server a key 1 nts",
        "refclock PHC /dev/ptp0:nocrossts",
        "logdir /l\nlog rtc tempcomp tracking",
        "log rtc",
        "log tracking",
    ] {
        let config = good(line);
        assert_eq!(config.warnings.len(), 1, "{line}: {:?}", shown(&config.warnings));
        let meaning = &config.lines.last().unwrap().meaning;
        for claim in ["interleaved", "keep measurements", "rtc"] {
            assert!(!meaning.contains(claim), "{line}: {meaning}");
        }
    }
    for line in [
        "port 0",
        "cmdport 0",
        "bindcmdaddress /",
        "deny",
        "leapsecmode system",
        "leapsecmode ignore",
        "dumpdir /",
        "driftfile /d interval 60",
        "logdir /l\nlog tracking measurements rawmeasurements statistics rawstatistics refclocks selection trace",
        "log",
    ] {
        assert!(good(line).warnings.is_empty(), "{line}");
    }
    assert!(Config::default().warnings.is_empty());
    let nowhere = good("log tracking rtc");
    assert_eq!(shown(&nowhere.warnings), ["c:1:1: warning: `log` has no effect without `logdir`: add `logdir /var/log/paraclock`"]);
    assert_eq!(explain(&nowhere), ["c:1: write no logs, as there is no `logdir`"]);
    let partly = good("logdir /l\nlog tracking rtc");
    assert_eq!(shown(&partly.warnings), ["c:2:1: warning: `rtc` (there is nothing to write): accepted but not served yet"]);
    assert_eq!(explain(&partly)[1], "c:2: write logs of tracking");
}

#[test]
fn an_ntp_conf_is_recognised_once() {
    let all = errors("driftfile /d\nrestrict 127.0.0.1\nserver a iburst\nkeys /etc/ntp/keys\nincludefile /x\n");
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all[0].starts_with("c: note: this looks like an ntp.conf"));
    assert!(all[1].starts_with("c:2:1: error: `restrict` is a directive of ntpd, not of chrony: say who may ask"));
    assert_eq!(all[3], "c:5:1: error: `includefile` is a directive of ntpd, not of chrony: use `include`");
}

#[test]
fn inclusions() {
    let files = Memory::with(&[
        ("/c", "include /x.conf\ninclude /d/*.conf\nconfdir /a /b /missing\nsourcedir /s\ninclude /none/*.conf"),
        ("/x.conf", "server x"),
        ("/d/2.conf", "server d2"),
        ("/d/1.conf", "server d1"),
        ("/d/.hidden.conf", "server hidden"),
        ("/d/3.txt", "server d3"),
        ("/a/20.conf", "server a20"),
        ("/b/10.conf", "server b10"),
        ("/b/20.conf", "server b20"),
        ("/s/dhcp.sources", "server s1\npeer s2\npool s3 maxsources 2"),
    ]);
    let config = load(Path::new("/c"), &files).unwrap();
    let names: Vec<&str> = config.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["x", "d1", "d2", "b10", "a20", "s1", "s3"]);
    assert_eq!(config.servers[5].origin.to_string(), "/s/dhcp.sources:1:1");
    assert_eq!(config.source_dirs, [[PathBuf::from("/s")]]);
    assert_eq!(load_sources(&config.source_dirs[0], &files).unwrap().servers, config.servers[5..]);
    assert_eq!(config.lines[0].origin.to_string(), "/c:1:1");
    assert_eq!(config.lines[1].text, "server x");
}

#[test]
fn inclusions_that_fail() {
    let files = Memory::with(&[
        ("/c", "include /gone\ninclude /c\nsourcedir /s\nconfdir /ok /secret\ninclude /*/x\ninclude\ninclude /bad"),
        ("/s/a.sources", "server ok\nrtcsync\nservre no"),
        ("/bad", "\n prot 1"),
    ]);
    assert_eq!(
        shown(&load(Path::new("/c"), &files).unwrap_err()),
        [
            "/c:1:1: error: `/gone` cannot be read: no such file; check the path and who may read it",
            "/c:2:1: error: `/c` includes itself: remove this line",
            "/s/a.sources:2:1: error: `rtcsync` does not belong here: a file of sources has only `server`, `pool` and `peer` lines",
            "/s/a.sources:3:1: error: unknown directive `servre`; did you mean `server`?",
            "/c:4:13: error: `/secret` cannot be listed: permission denied; check who may read it",
            "/c:5:9: error: `*` and `?` stand for files only, not for directories as in `/*`: write a line for each",
            "/c:6:8: error: `include` needs a file or a pattern such as `/etc/chrony.d/*.conf` after it",
            "/bad:2:2: error: unknown directive `prot`; did you mean `port`?",
        ]
    );
    assert_eq!(
        shown(&load(Path::new("/nowhere"), &files).unwrap_err()),
        ["/nowhere: error: cannot be read: no such file; check the path and who may read it"]
    );
}

#[test]
fn inclusions_end() {
    let deep: Vec<(String, String)> = (0..20).map(|n| (format!("/{n}"), format!("include /{}", n + 1))).collect();
    let deep: Vec<(&str, &str)> = deep.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let all = shown(&load(Path::new("/0"), &Memory::with(&deep)).unwrap_err());
    assert_eq!(all, ["/10:1:1: error: `/11` is not read: files include each other more than 10 deep"]);

    let wide: Vec<(String, String)> = (0..8).map(|n| (format!("/{n}"), format!("include /{}\n", n + 1).repeat(9))).collect();
    let mut wide: Vec<(&str, &str)> = wide.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    wide.push(("/8", ""));
    let all = shown(&load(Path::new("/0"), &Memory::with(&wide)).unwrap_err());
    assert_eq!(all.len(), 1);
    assert!(all[0].contains("more than 256 files are included"), "{}", all[0]);
}

#[test]
fn directives_on_the_command_line() {
    let files = Memory::with(&[("/x", "port 5")]);
    let words = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let config = parse_directives(&words(&["server a iburst", "makestep 1 3", "include /x"]), &files).unwrap();
    assert_eq!((config.servers.len(), config.port), (1, 5));
    assert_eq!(config.servers[0].origin.to_string(), "command line:1:1");
    let findings = parse_directives(&words(&["server a", "server b pron"]), &files).unwrap_err();
    assert_eq!(shown(&findings), ["command line:2:10: error: unknown option `pron` of `server`"]);
}

#[test]
fn every_line_has_a_meaning() {
    let config = good(
        "server 10.0.0.1 minpoll 4 maxpoll 4 iburst prefer\npool p maxsources 1\nmakestep 1.0 3\nrefclock KVM\nallow all 10\nkeyfile /k\n",
    );
    assert_eq!(
        explain(&config),
        [
            "c:1: ask 10.0.0.1 for the time every 16 s; begin with a few quick requests; follow it before sources without `prefer`",
            "c:2: ask up to 1 address of p for the time every 64 s to 1024 s (17 min)",
            "c:3: step the clock when it is wrong by more than 1 s, in the first 3 updates",
            "c:4: watch the kvm-clock of the hypervisor for disruptions (it carries no time of day) every 1 s",
            "c:5: serve time to 10.0.0.0/8, whatever earlier lines say about parts of it",
            "c:6: read symmetric keys from /k",
        ]
    );
}

#[test]
fn distributions_files_are_accepted_whole() {
    let files = [
        ("amazon-linux", include_str!("../../tests/fixtures/config/amazon-linux.conf"), 3, 4),
        ("centos", include_str!("../../tests/fixtures/config/centos.conf"), 4, 0),
        ("rhel-9", include_str!("../../tests/fixtures/config/rhel-9.conf"), 1, 2),
        ("debian", include_str!("../../tests/fixtures/config/debian.conf"), 1, 3),
        ("ubuntu", include_str!("../../tests/fixtures/config/ubuntu.conf"), 4, 3),
        ("access", include_str!("../../tests/fixtures/config/access.conf"), 1, 0),
        ("kvm-guest", include_str!("../../tests/fixtures/config/kvm-guest.conf"), 1, 1),
    ];
    for (name, text, servers, warnings) in files {
        let config = good(text);
        assert_eq!(config.servers.len(), servers, "{name}");
        assert_eq!(config.warnings.len(), warnings, "{name}: {:?}", shown(&config.warnings));
        let directives = text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '!', '%', ';'])).count();
        assert_eq!(explain(&config).len(), directives, "{name}");
    }
}

/// Words that lead deep into the parsers.
fn token() -> impl Strategy<Value = String> {
    let words: Vec<&str> =
        "server pool refclock PHC KVM VMCLOCK SHM /dev/ptp0:nocrossts:extpps minpoll maxpoll poll key nts local stratum \
        allow deny all 1.2 10.0.0.0/8 ::/0 metrics off [::1]:1 include confdir sourcedir / /d /d/* c log tracking makestep -1 0 3 1e300 \
        -1e-9 nan inf restrict keyfile timescale tai # ! \u{a0} \u{1f552}"
            .split(' ')
            .collect();
    prop_oneof![4 => proptest::sample::select(words).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_lines_are_explained_or_refused(lines in proptest::collection::vec(proptest::collection::vec(token(), 0..9), 0..9)) {
        let text: String = lines.iter().map(|words| words.join(" ") + "\n").collect();
        match parse(&text) {
            Ok(config) => prop_assert!(config.warnings.len() <= config.lines.len()),
            Err(findings) => prop_assert!(findings.iter().any(|finding| finding.severity == Severity::Error)),
        }
    }

    #[test]
    fn servers_are_read_as_written(
        port in 1_u16.., low in -7_i8..=24, more in 0_i8..=31, flags in any::<[bool; 7]>(), max_sources in 1_u8..=16, nanos in -1_000_000_000_i64..1_000_000_000,
    ) {
        let high = (low + more).min(24);
        let [pool, iburst, burst, prefer, trust, require, noselect] = flags;
        let kind = if pool { ServerKind::Pool } else { ServerKind::Server };
        let mut text = format!("{} ntp.example.net port {port} maxpoll {high} minpoll {low}", if pool { "pool" } else { "server" });
        for (on, word) in [(iburst, "iburst"), (burst, "burst"), (prefer, "prefer"), (trust, "trust"), (require, "require"), (noselect, "noselect")] {
            if on {
                text = text + " " + word;
            }
        }
        if pool {
            text = format!("{text} maxsources {max_sources}");
        }
        let offset = Offset::from_nanos(nanos);
        let server = good(&format!("{text} offset {:.9}", offset.seconds())).servers.remove(0);
        let expected = ServerDirective {
            origin: server.origin.clone(), kind, name: "ntp.example.net".to_owned(), port,
            min_poll: Poll::new(low), max_poll: Poll::new(high), iburst, burst,
            select: SelectOptions { prefer, trust, require, noselect },
            max_sources: if pool { max_sources } else { 4 }, min_stratum: Stratum::new(0), version: None, xleave: false,
            offset, max_delay: Duration::from_secs(3), key: None, nts: false,
        };
        prop_assert_eq!(server, expected);
    }

    #[test]
    fn networks_are_read_as_written(bits in any::<u128>(), prefix in 0_u8..=128, v4 in any::<u32>(), short in 0_u8..=32) {
        for net in [
            ipnet::IpNet::new(std::net::Ipv6Addr::from(bits).into(), prefix).unwrap().trunc(),
            ipnet::IpNet::new(std::net::Ipv4Addr::from(v4).into(), short).unwrap().trunc(),
        ] {
            let config = good(&format!("deny {net}"));
            prop_assert_eq!(&config.access[0].subject, &AccessSubject::Net(net));
        }
    }
}
