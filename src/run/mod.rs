//! Floor 8: the only tokio. Executes the agent on a real machine.
//!
//! `daemon` sets up, `executor` is the event loop, `narrator` the log; the rest are the rooms that a
//! running daemon shows itself through.

pub mod cards;
pub mod config_files;
mod conflict;
pub mod control_socket;
pub mod daemon;
pub mod demo;
pub mod devices;
mod ears;
pub mod executor;
pub mod hooks;
mod keys;
pub mod logs;
pub mod metrics;
mod narrator;
pub mod privileges;
mod registered;
pub mod serve;
pub mod setup;
pub mod state;
mod vsock;
mod watchdog;
