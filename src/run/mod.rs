//! Floor 8: the only tokio.
