//! Paraclock: a guest time agent.
pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod ntp;
pub mod platform;
pub mod refclock;
pub mod run;
pub mod sim;
pub mod sys;
pub mod units;
pub mod wire;
