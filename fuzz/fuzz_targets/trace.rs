//! Any bytes as a trace: replayed, or refused with a line and a reason, never a panic.
//!
//! A good heading and two sources stand before them, so that single records are worth finding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraclock::trace::{Reader, Replay, Story};

const BEGINNING: &str = r#"{"heading":{"format":1,"program":"0","run":{"at":0,"time":0},"before":0,"core":{"options":{"makestep":null,"max_distance":3000000000,"min_sources":1,"max_slew":83333.333,"max_drift":500000.0,"max_clock_error":1.0,"foreign_step":"undo","clock_leaps":false,"leap_steps":true},"at":0,"course":{"at":0,"time":0,"rate":0.0,"error":0},"clock_is_a_guess":false},"sources":[]}}
{"add":{"at":0,"source":{"id":0,"name":"a","options":{"prefer":false,"trust":false,"require":false,"noselect":false}}}}
{"add":{"at":0,"source":{"id":1,"name":"b","options":{"prefer":false,"trust":false,"require":false,"noselect":false}}}}
"#;

fuzz_target!(|bytes: &[u8]| {
    let (mut reader, mut replay, mut story) = (Reader::default(), Replay::default(), Story::default());
    for (number, line) in BEGINNING.as_bytes().split(|&b| b == b'\n').chain(bytes.split(|&b| b == b'\n')).enumerate() {
        let located = match reader.line(line) {
            Ok(Some(located)) => located,
            Ok(None) => continue,
            Err(wrong) => {
                assert!(number > 2 && wrong.line > 3 && !wrong.what.is_empty(), "{wrong}");
                return;
            }
        };
        match replay.take(&located) {
            Ok(moment) => story.see(&located, &moment, &replay),
            Err(wrong) => {
                assert!(number > 2 && wrong.line > 3 && !wrong.what.is_empty(), "{wrong}");
                return;
            }
        }
    }
    assert!(serde_json::to_string(&story).is_ok());
    let _ = reader.finish(bytes.ends_with(b"\n"));
});
