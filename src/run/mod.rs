//! Floor 8: the only tokio.

pub mod metrics;
