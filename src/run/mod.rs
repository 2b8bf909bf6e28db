//! Floor 8: the only tokio. Executes the agent on a real machine.

pub mod config_files;
pub mod metrics;
