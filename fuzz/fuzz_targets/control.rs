//! Any bytes as a request or a response of the control protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraclock::wire::control::{Request, Response};

fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<Request>(bytes);
    if let Ok(response) = serde_json::from_slice::<Response>(bytes) {
        assert!(serde_json::to_vec(&response).is_ok());
    }
});
