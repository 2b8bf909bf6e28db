use super::runs::{Results, Row};
use super::*;
use crate::config::parse_directives;
use crate::run::config_files::ConfigFiles;
use crate::sim::{Chronyd, Figures, Violation};

fn figures(rms: f64) -> Figures {
    Figures {
        rms,
        p50: rms / 2.0,
        p99: 3.0 * rms,
        max: 5.0 * rms,
        frequency_rms: 1.074e-7,
        reached: [Some(17.0), Some(17.4), Some(66.0), None],
        requests: 1251,
        requests_after_reset: 938,
        poll: Some(15.987),
        readings: 0,
        steps: 0,
        clock_violations: 0,
        line_violations: 0,
        unaware: 0,
        bound: 1.73e-4,
        bound_ratio: 1.27,
        digest: "0123456789abcdef".to_owned(),
        first_violation: None,
    }
}

fn results() -> Results {
    let chronyd = Chronyd { rms: 4e-6, frequency: 1e-7, poll: Some(16.0), reached: [34.0, 34.0, 70.0] };
    let clock = Figures { requests: 0, requests_after_reset: 0, poll: None, readings: 10_001, ..figures(1.1e-8) };
    let violation = Violation { at: 4001.0, clock: (2e-3, 1e-4), line: (1e-6, 1e-4), decisions: vec!["raw+4000.5s Read".to_owned()] };
    let wrong = Figures { clock_violations: 2, unaware: 3, first_violation: Some(violation), ..figures(0.25) };
    Results {
        rows: vec![
            Row::new("S4", "a server", None, Some(chronyd), vec![figures(2e-6), figures(4e-6), figures(8e-6)]),
            Row::new("S7a", "a clock", None, Some(Chronyd { poll: None, ..chronyd }), vec![clock.clone(), clock.clone(), clock]),
            Row::new("tiers", "guests", Some(1), None, vec![figures(0.2), wrong, figures(0.3)]),
        ],
        seeds: vec![1, 2, 3],
        pace: (60_000.0, 0.02),
        jobs: 2,
    }
}

#[test]
fn the_table_is_as_people_know_it() {
    let expected = include_str!("testdata/table.txt");
    assert_eq!(table::render(&results()), expected);
}

/// The same, but for the last digits of numbers: mathematical libraries differ.
fn alike(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= 1e-9 * a.abs()) && a.is_f64() == b.is_f64()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| alike(value, other)))
        }
        _ => a == b,
    }
}

#[test]
fn the_json_is_as_scripts_know_it() {
    let expected: serde_json::Value = serde_json::from_str(include_str!("testdata/results.json")).unwrap();
    let found = results().json();
    assert!(alike(&found, &expected), "\n{}", serde_json::to_string_pretty(&found).unwrap());
}

#[test]
fn pace_and_violations_are_said_in_words() {
    assert_eq!(table::pace(&results()), "60000 s simulated in 0.0 s on 2 threads: 3.00 million a second");
    let results = results();
    let found: Vec<_> = results.violations().map(|(name, seed, guest, v)| table::violation(name, seed, guest, v)).collect();
    assert_eq!(
        found,
        [
            "tiers, seed 2, guest 2: the truth left a bound first at 4001 s.\n  clock: 2.000e-3 s off, bound 1.000e-4 s; line: 1.000e-6 s off, bound 1.000e-4 s\n  raw+4000.5s Read\n  See it again: paraclock simulate tiers --seed 2"
        ]
    );
}

#[test]
fn the_list_names_every_scenario_with_what_it_shows() {
    let list = table::list();
    assert_eq!(list.lines().count(), sim::names().count());
    assert!(list.lines().any(|line| line.starts_with("S4 ") && line.ends_with("A link-local server, asked every 16 s")), "{list}");
}

#[test]
fn what_comes_out_does_not_depend_on_the_number_of_threads() {
    let run = |jobs| {
        let short = |name| {
            let experiment = sim::built_in(name).unwrap();
            Experiment { duration: 300.0, reset: 100.0, reach_from: 0.0, ..experiment }
        };
        let batch = Batch::new(vec![short("S4"), short("tiers")], vec![3, 4, 5]);
        batch.run(jobs, Progress::new(false, 1.0)).json()
    };
    let one = run(1);
    assert_eq!(one, run(3));
    assert_eq!(one["rows"].as_array().map(Vec::len), Some(4), "one row for S4, three for the guests of tiers");
    assert_ne!(one["rows"][0]["runs"][0]["figures"]["digest"], one["rows"][0]["runs"][1]["figures"]["digest"], "seeds differ");
}

#[test]
fn a_users_servers_stand_for_the_scenarios_in_order() {
    let lines = ["pool pool.example maxsources 2 iburst", "server ntp.example port 1123", "server late.example", "refclock PHC /dev/ptp0"];
    let config = parse_directives(&lines.map(str::to_owned), &ConfigFiles).unwrap();
    let mut experiment = sim::built_in("wrong-host").unwrap();
    let notes = adapt::adapt(&config, &mut experiment);
    assert_eq!(
        notes,
        [
            "pool.example (command line:1) is the scenario's server 1, 2",
            "ntp.example (command line:2) is the scenario's server 3",
            "late.example (command line:3) is left out: the scenario has no more than 3 servers",
            "refclock (command line:4) is the scenario's clock 1",
        ]
    );
    let adapted = &experiment.scenario.guests[0].config;
    let servers: Vec<_> = adapted.servers.iter().map(|s| (s.name.as_str(), s.port, s.iburst, s.is_pool())).collect();
    assert_eq!(servers, [("10.0.0.1", 123, true, false), ("10.0.0.2", 123, true, false), ("10.0.0.3", 123, false, false)]);
    assert_eq!(adapted.refclocks.len(), 1);
    assert!(experiment.scenario.check().is_empty());
    let mut without = sim::built_in("S4").unwrap();
    let notes = adapt::adapt(&config, &mut without);
    assert!(notes.last().is_some_and(|n| n.ends_with("is left out: the scenario has 0 clocks")), "{notes:?}");
    assert!(without.chronyd.is_none() && without.scenario.check().is_empty());
}

#[test]
fn what_cannot_be_run_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    let name = file.to_string_lossy().into_owned();
    assert!(load("nothing").unwrap_err()[0].contains("paraclock simulate --list"));
    assert!(load(&name).unwrap_err()[0].contains("cannot be read"));
    std::fs::write(&file, "duration = -1").unwrap();
    assert!(load(&name).unwrap_err()[0].contains("mine.toml:1:12: error: -1 cannot be: write seconds above 0"));
    std::fs::write(&file, sim::text_of("s4").unwrap()).unwrap();
    assert_eq!(load(&name).unwrap().name, "mine");
    let empty = dir.path().join("empty.conf");
    std::fs::write(&empty, "makestep 1 3\n").unwrap();
    assert!(adapt::read(&empty).unwrap_err()[0].contains("it names no source"));
}

#[test]
fn options_that_make_no_sense_together_are_refused() {
    /// The command alone.
    #[derive(clap::Parser, Debug)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }
    let parse = |words: &str| <Line as clap::Parser>::try_parse_from(words.split(' ')).map(|line| line.options);
    let options = parse("simulate S4 mine.toml --seeds 25 --first-seed 100").unwrap();
    assert_eq!((options.scenarios.len(), options.seeds().len(), options.seeds()[0], options.seeds()[24]), (2, 25, 100, 124));
    assert_eq!(parse("simulate S4 --seed 7").unwrap().seeds(), [7]);
    assert_eq!(parse("simulate --replay a b --json").unwrap().replay.len(), 2);
    for wrong in [
        "simulate S4 --seed 7 --seeds 3",
        "simulate S4 --seeds 0",
        "simulate S4 --jobs 0",
        "simulate --list S4",
        "simulate --replay trace.log --seed 3",
        "simulate S4 --plot-from 3",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
