//! What was recorded is replayed to the same decisions, whole or in parts; what was damaged is refused or reported.

mod guest;

use std::sync::OnceLock;

use guest::{Guest, files};
use paraclock::core::{SourceState, Status};
use paraclock::trace::{Happening, Reader, Record, Replay, Start, Story, Wrong};
use proptest::prelude::*;

/// Reads and replays; the lines left out come with it.
fn replay(text: &[u8]) -> Result<(Replay, Story, Vec<Start>, Vec<u64>), Wrong> {
    let (mut reader, mut replay, mut story) = (Reader::default(), Replay::default(), Story::default());
    let mut starts = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some(located) = reader.line(line)? {
            let moment = replay.take(&located)?;
            starts.extend(moment.start);
            story.see(&located, &moment, &replay);
        }
    }
    let left_out = reader.finish(text.ends_with(b"\n"))?;
    Ok((replay, story, starts, left_out))
}

/// A guest after an eventful hour and a half.
fn lived() -> Guest {
    let mut guest = Guest::new();
    guest.live_until(5000.0);
    guest
}

/// Its trace in one file.
fn trace() -> &'static str {
    static TRACE: OnceLock<String> = OnceLock::new();
    TRACE.get_or_init(|| files(&lived().records, usize::MAX).remove(0))
}

#[test]
fn the_same_records_give_the_same_decisions() {
    let guest = lived();
    let text = files(&guest.records, usize::MAX).concat();
    let (replayed, story, starts, left_out) = replay(text.as_bytes()).unwrap();
    assert_eq!((starts, left_out), (vec![Start::Run], Vec::new()));
    assert!(story.compared > 5000, "{} decisions", story.compared);
    assert_eq!((story.different, story.first_difference), (0, None));
    let core = replayed.core().unwrap();
    assert_eq!(
        (core.line(), core.course(), core.status()),
        (guest.agent.core().line(), guest.agent.core().course(), guest.agent.core().status())
    );
    let states: Vec<SourceState> = replayed.sources().iter().map(|s| core.state(s.id)).collect();
    assert_eq!(states, guest.agent.states().map(|s| s.2).collect::<Vec<_>>());
}

#[test]
fn the_story_has_what_happened() {
    let (_, story, ..) = replay(trace().as_bytes()).unwrap();
    let happened = |wanted: &dyn Fn(&Happening) -> bool| story.notable.iter().filter(|n| wanted(&n.what)).count();
    assert_eq!(happened(&|h| matches!(h, Happening::Run { .. })), 1);
    assert!(happened(&|h| matches!(h, Happening::Stepped { by } if (by.seconds() + 0.3).abs() < 0.01)) == 1, "{:#?}", story.notable);
    assert!(happened(&|h| matches!(h, Happening::Stepped { by } if (by.seconds() + 2.0).abs() < 0.01)) == 1, "the foreign step is undone");
    assert!(happened(&|h| matches!(h, Happening::Stepped { by } if (by.seconds() - 60.0).abs() < 0.1)) == 1, "the restore is made up for");
    let liar = |h: &Happening| matches!(h, Happening::Source { name, to: SourceState::Falseticker, .. } if name == "192.0.2.3");
    assert!(happened(&liar) >= 1);
    let lost = |h: &Happening| matches!(h, Happening::Status { to: Status::Holdover, .. });
    let broken = |h: &Happening| matches!(h, Happening::Status { to: Status::Disrupted, .. });
    assert!(happened(&lost) >= 1 && happened(&broken) == 2);
    let removed = story.notable.iter().find_map(|n| if let Happening::Removed { name } = &n.what { Some(name.as_str()) } else { None });
    assert_eq!(removed, Some("192.0.2.4"), "it never answered");
    assert!(happened(&|h| matches!(h, Happening::Selected { to: Some(name), .. } if name == "PHC0")) >= 1);
    let phc = story.sources.iter().find(|s| s.name == "PHC0").unwrap();
    let liar = story.sources.iter().find(|s| s.name == "192.0.2.3").unwrap();
    assert!(phc.samples > 500 && phc.followed > 3000.0 && phc.falseticker < 1.0, "{phc:?}");
    assert!(liar.falseticker > 1000.0 && liar.worst_innovation > 0.04, "{liar:?}");
    assert!(story.surprises.len() == 10 && story.surprises.is_sorted_by(|a, b| a.offset.abs() >= b.offset.abs()));
    let end = story.end.unwrap();
    assert_eq!(end.status, Status::Synchronised);
    assert!(end.remaining.abs() < 1e-3 && end.line.is_known());
}

#[test]
fn parts_in_order_are_the_whole_and_a_part_alone_begins_cold() {
    let records = lived().records;
    let parts = files(&records, 2000);
    assert!(parts.len() > 2);
    let (_, whole, starts, _) = replay(parts.concat().as_bytes()).unwrap();
    assert_eq!((whole.different, starts.len()), (0, parts.len()));
    assert!(starts[1..].iter().all(|s| *s == Start::Seamless));
    let (_, alone, starts, _) = replay(parts[1].as_bytes()).unwrap();
    assert_eq!((starts, alone.compared, alone.different), (vec![Start::Cold { missing: 2000 - 1 }], 0, 0));
    assert!(alone.notable.iter().any(|n| matches!(n.what, Happening::Status { to: Status::Synchronised, .. })), "{alone:#?}");
    // One is missing in between: what follows is replayed, and not compared.
    let gap = [parts[0].as_str(), parts[2].as_str()].concat();
    let (_, gap, starts, _) = replay(gap.as_bytes()).unwrap();
    assert_eq!((starts, gap.different), (vec![Start::Run, Start::Cold { missing: 2000 }], 0));
    assert!(gap.compared > 1000);
    let wrong = replay([parts[1].as_str(), parts[0].as_str()].concat().as_bytes()).unwrap_err();
    assert!(wrong.what.contains("the oldest first"), "{wrong}");
}

#[test]
fn another_input_makes_another_decision_and_that_is_said() {
    let lines: Vec<&str> = trace().lines().collect();
    let changed = lines.iter().position(|l| l.contains("\"sample\"") && l.contains("\"synchronised\"")).unwrap();
    let Ok(Record::Event { what: paraclock::core::Event::Sample(sample), .. }) = Record::parse(lines[changed]) else { panic!() };
    let nanos = sample.reference.nanos();
    let other = lines[changed].replace(&nanos.to_string(), &(nanos + 50_000).to_string());
    let text = [&lines[..changed], &[other.as_str()], &lines[changed + 1..]].concat().join("\n") + "\n";
    let (_, story, ..) = replay(text.as_bytes()).unwrap();
    assert!(story.different >= 1);
    let first = story.first_difference.unwrap();
    assert_eq!(first.line, u64::try_from(changed + 1).unwrap());
    assert_ne!(first.recorded, first.replayed);
}

#[test]
fn a_torn_end_is_forgiven_and_other_damage_is_not() {
    let text = trace().as_bytes();
    let whole = text.iter().filter(|&&b| b == b'\n').count();
    let (_, story, _, left_out) = replay(&text[..text.len() - 10]).unwrap();
    assert_eq!((left_out, story.different), (vec![u64::try_from(whole).unwrap()], 0));
    // The program was killed while it wrote, and started again.
    let later = trace().replacen("\"time\":18", "\"time\":17", 1);
    let again = [&text[..text.len() - 10], b"\n", later.as_bytes()].concat();
    let (_, _, starts, left_out) = replay(&again).unwrap();
    assert_eq!((starts.len(), left_out.len()), (2, 1));
    let middle = trace().replacen("\"decision\":", "\"decision", 1);
    let wrong = replay(middle.as_bytes()).unwrap_err();
    assert_eq!(wrong.line, 2);
    assert!(wrong.to_string().starts_with("line 2: column ") && wrong.what.contains("take the file as the program wrote it"), "{wrong}");
    let cut = [&text[..text.len() - 10], b"\n"].concat();
    assert!(replay(&cut).is_err(), "it ends with a line feed: nobody was killed here");
}

#[test]
fn what_no_program_writes_is_refused_with_the_reason() {
    let lines: Vec<String> = trace().lines().take(12).map(|l| l.to_owned() + "\n").collect();
    let expect = |text: String, line: u64, what: &str| {
        let wrong = replay(text.as_bytes()).unwrap_err();
        assert_eq!(wrong.line, line, "{wrong}");
        assert!(wrong.what.contains(what), "{wrong}");
    };
    expect(lines[1..].concat(), 1, "begins with a heading");
    expect(lines[0].replace("\"format\":1", "\"format\":2,\"colour\":3"), 1, "has format 2, written by paraclock");
    expect(lines[0].replace("\"max_drift\":", "\"max_drift\":-") + &lines[1], 1, "maxdrift is -500000 ppm");
    expect(lines[0].replace("\"rate\":0.0", "\"rate\":1e7") + &lines[1], 1, "the course's rate is");
    let added = lines.iter().position(|l| l.starts_with("{\"add\"")).unwrap();
    expect(lines[..=added].concat() + &lines[added], u64::try_from(added + 2).unwrap(), "this source is there already");
    let early = lines[0].clone() + &lines[1].replace("{\"start\":{\"at\":1", "{\"start\":{\"at\":-1");
    expect(early, 2, "time runs backwards");
    let many: String = (0..100).map(|id| format!("{{\"add\":{{\"at\":1234567890,\"source\":{{\"id\":{},\"name\":\"x\",\"options\":{{\"prefer\":false,\"trust\":false,\"require\":false,\"noselect\":false}}}}}}}}\n", 1000 + id)).collect();
    expect(lines[0].clone() + &many, 66, "more than 64 sources");
    expect("x".repeat(1 << 17) + "\n", 1, "longer than any");
    expect("Nov 20 12:03:29 host systemd[1]: Started\n".to_owned(), 1, "no trace");
    assert!(replay(b"").unwrap().0.core().is_none());
}

/// What may befall a file.
#[derive(Clone, Debug)]
enum Damage {
    Byte(usize, u8),
    Cut(usize, usize),
    Swap(usize, usize),
    Repeat(usize),
    Number(usize, usize, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        Just("9223372036854775807"),
        Just("-9223372036854775808"),
        Just("18446744073709551615"),
        Just("0"),
        Just("-1"),
        Just("1e300"),
        Just("-999999.9"),
        Just("1e999"),
        Just("null"),
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (any::<usize>(), 0_usize..200).prop_map(|(at, length)| Damage::Cut(at, length)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Damage::Swap(a, b)),
        any::<usize>().prop_map(Damage::Repeat),
        (any::<usize>(), any::<usize>(), number.prop_map(str::to_owned))
            .prop_map(|(line, which, number)| Damage::Number(line, which, number)),
    ]
}

fn suffer(lines: &mut Vec<Vec<u8>>, damage: &Damage) {
    let count = lines.len();
    match damage {
        Damage::Byte(at, byte) => {
            let line = &mut lines[at % count];
            let place = at / count % line.len().max(1);
            line[place..].iter_mut().take(1).for_each(|b| *b = *byte);
        }
        Damage::Cut(at, length) => {
            let line = &mut lines[at % count];
            let from = at / count % line.len().max(1);
            let to = (from + length).min(line.len());
            line.drain(from..to);
        }
        Damage::Swap(a, b) => lines.swap(a % count, b % count),
        Damage::Repeat(at) => lines.insert(at % count, lines[at % count].clone()),
        Damage::Number(line, which, number) => {
            let line = &mut lines[line % count];
            let text = String::from_utf8_lossy(line).into_owned();
            let starts: Vec<usize> = text
                .match_indices(':')
                .map(|(at, _)| at + 1)
                .filter(|&at| text[at..].starts_with(|c: char| c.is_ascii_digit() || c == '-'))
                .collect();
            if let Some(&start) = starts.get(which % starts.len().max(1)) {
                let end = start + text[start..].find([',', '}']).unwrap_or(0);
                *line = [&text[..start], number, &text[end..]].concat().into_bytes();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever befell the file: an answer or an error with a line that is there, and never a panic.
    #[test]
    fn damage_is_survived(from in 0_usize..4000, all in proptest::collection::vec(damage(), 1..12)) {
        // The run's beginning, and a stretch of it.
        let mut lines: Vec<Vec<u8>> = trace().lines().map(|l| l.as_bytes().to_vec()).collect();
        let stretch: Vec<Vec<u8>> = lines.drain(12 + from..).take(300).collect();
        lines.truncate(60);
        lines.extend(stretch);
        for damage in &all {
            suffer(&mut lines, damage);
        }
        let text = lines.join(&b'\n');
        match replay(&text) {
            Ok((_, story, ..)) => prop_assert!(serde_json::to_string(&story).is_ok()),
            Err(wrong) => {
                let present = u64::try_from(text.split(|&b| b == b'\n').count()).unwrap();
                prop_assert!(wrong.line >= 1 && wrong.line <= present && !wrong.what.is_empty(), "{wrong}");
            }
        }
    }
}
