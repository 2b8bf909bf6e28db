//! Floor 8: drives the agent in virtual time.
//!
//! The same [`Agent`](crate::agent::Agent) that `run` drives, in worlds made of oscillators, networks, servers,
//! paravirtual clocks, and whatever happens to them. A [`Scenario`] is plain data; a [`World`] is one at work.
//! Deterministic: the same seed gives the same decisions. No tokio, no sys.

mod action;
mod calendar;
mod chance;
mod decisions;
mod histogram;
mod machine;
mod network;
mod oscillator;
mod outside;
mod phc;
mod scenario;
mod server;
mod statistics;
mod usefulness;
mod world;

pub use action::{Action, Planned};
pub use chance::Chance;
pub use machine::Machine;
pub use network::{Burst, Path, Queue, Way};
pub use oscillator::{Jumps, Oscillator, Ramp, Sine};
pub use phc::{Phc, Preemption};
pub use scenario::{Guest, LeapSecond, Scenario, Steal, USUAL_SMEAR};
pub use server::{Kiss, Server};
pub use statistics::{LIMITS, Statistics};
pub use world::World;
