use super::*;

const GOOD: &str = r#"
about = "a test"
duration = 100

[[guest]]
config = """
server 10.0.0.1
makestep 1 3
"""
oscillator = { frequency = 1e-4 }

[[server]]
path.both = { base = 1e-3, queue = { exponential = 1e-4 } }

[[action]]
at = 50
do = { step-clock = { by = 1 } }
"#;

fn errors(text: &str) -> Vec<String> {
    match Experiment::parse("test", "test.toml", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The one error of the good file with something replaced.
fn error(what: &str, by: &str) -> String {
    assert!(GOOD.contains(what), "{what}");
    let mut errors = errors(&GOOD.replace(what, by));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

#[test]
fn a_file_says_what_it_says() {
    let e = Experiment::parse("test", "test.toml", GOOD).unwrap();
    assert_eq!((e.name.as_str(), e.about.as_str(), e.scenario.guests.len()), ("test", "a test", 1));
    let guest = &e.scenario.guests[0];
    assert_eq!(guest.config.servers.len(), 1);
    assert!(guest.config.makestep.is_some());
    assert_eq!(guest.paths, [Path::symmetric(1e-3, 1e-4)]);
    assert_eq!(e.scenario.servers, [Server::new()]);
    assert_eq!(e.scenario.actions.len(), 1);
    assert_eq!(e.scenario.epoch, Scenario::USUAL_EPOCH);
}

#[test]
fn dates_are_read() {
    let parse = |epoch: &str| Experiment::parse("", "", &format!("epoch = {epoch}\n{GOOD}")).map(|e| e.scenario.epoch.parts().0).ok();
    assert_eq!(parse("2036-02-07T06:28:16Z"), Some(2_085_978_496));
    assert_eq!(parse("2036-02-07"), Some(2_085_955_200));
    assert_eq!(parse("2085978496"), Some(2_085_978_496));
    assert_eq!(parse("2036-02-07T06:28:16+01:00"), None);
    assert_eq!(parse("-5"), None);
}

#[test]
fn unknown_keys_are_named_with_their_place_and_what_may_stand_there() {
    let found = error("about =", "abuot =");
    assert!(found.starts_with("test.toml:2:1: error: unknown field `abuot`, expected one of `about`"), "{found}");
    let found = error("exponential", "exponentail");
    assert!(found.starts_with("test.toml:13:38: error: unknown variant `exponentail`") && found.contains("`exponential`"), "{found}");
    let found = error("step-clock", "stepclock");
    assert!(found.starts_with("test.toml:17:8: error: unknown variant `stepclock`"), "{found}");
}

#[test]
fn impossible_values_are_refused_with_what_would_be_possible() {
    for (what, by, place, mend) in [
        ("duration = 100", "duration = 0", "3:12", "seconds above 0"),
        ("duration = 100", "duration = nan", "3:12", "seconds above 0"),
        ("duration = 100", "duration = \"long\"", "3:12", "write seconds above 0"),
        ("base = 1e-3", "base = -1e-3", "13:22", "seconds from 0"),
        ("frequency = 1e-4", "frequency = 100", "10:28", "ratio (1 ppm is 1e-6)"),
        ("base = 1e-3", "base = 1e-3, loss = 1.5", "13:35", "probability from 0 to 1"),
        ("path.both = {", "path.up = {", "13:1", "either `both`"),
        ("duration = 100", "duration = 100\nreset = 100", "4:9", "below the duration of 100"),
        ("{ by = 1 }", "{ by = 1, guest = 0 }", "17:39", "counted from 1"),
        ("{ by = 1 }", "{ by = 1, guest = 2 }", "15:1", "there is no such guest"),
        ("do = { step-clock = { by = 1 } }", "do = { serve = { server = 2, alive = false } }", "15:1", "there is no such server"),
        ("duration = 100", "duration = 100\nleap = { at = 5, kind = \"unsynchronised\" }", "4:8", "insert"),
    ] {
        let found = error(what, by);
        assert!(found.starts_with(&format!("test.toml:{place}: error: ")) && found.contains(mend), "{by}: {found}");
    }
}

#[test]
fn a_wrong_configuration_is_shown_at_its_line_of_the_scenario() {
    let found = error("makestep 1 3", "makestap 1 3");
    assert!(found.starts_with("test.toml:8: error: ") && found.contains("makestep"), "{found}");
    let one_line = GOOD.replace("\"\"\"\nserver 10.0.0.1\nmakestep 1 3\n\"\"\"", "\"server\"");
    let found = errors(&one_line);
    assert!(found[0].starts_with("test.toml:6: error: "), "{found:?}");
    let included = error("makestep 1 3", "include /etc/chrony.conf");
    assert!(included.contains("includes no files"), "{included}");
}

#[test]
fn a_file_without_guests_or_with_missing_clocks_is_refused() {
    assert!(errors("duration = 1").iter().any(|e| e.contains("add a [[guest]]")));
    let found = error("server 10.0.0.1", "refclock PHC /dev/ptp0");
    assert!(found.starts_with("test.toml:5:1: error: ") && found.contains("[[guest.phc]]"), "{found}");
}

#[test]
fn what_is_no_toml_is_refused_at_its_place() {
    let found = errors("duration = = 3");
    assert!(found.len() == 1 && found[0].starts_with("test.toml:1:12: error: "), "{found:?}");
    assert_eq!(errors(&"#".repeat(MOST_BYTES + 1)).len(), 1);
}

#[test]
fn the_example_of_the_documentation_is_right() {
    let text = include_str!("../../../docs/simulate.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let experiment = Experiment::parse("example", "docs/simulate.md", example).unwrap();
    assert_eq!((experiment.scenario.servers.len(), experiment.scenario.actions.len()), (2, 1));
    assert_eq!(experiment.run(1, |_| true).map(|figures| figures[0].steps), Some(1), "it is put right after the restore");
}
