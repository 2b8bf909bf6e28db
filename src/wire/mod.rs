//! Floor 2: bytes to structs and back, nothing else.

pub mod control;
pub mod frame;
pub mod ntp;
