//! Floor 8: drives the agent in virtual time.
//!
//! The same [`Agent`](crate::agent::Agent) that `run` drives, in worlds made of oscillators, networks, servers,
//! paravirtual clocks, and whatever happens to them. A [`Scenario`] is plain data; a [`World`] is one at work.
//! Deterministic: the same seed gives the same decisions. No tokio, no sys.

mod action;
mod awareness;
mod calendar;
mod catalogue;
mod chance;
pub mod chaos;
mod decisions;
mod experiment;
mod file;
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
mod values;
mod world;

pub use action::{Action, Planned};
pub use catalogue::{built_in, names, text_of};
pub use chance::Chance;
pub use experiment::{Chronyd, Experiment, Figures};
pub use machine::{Machine, Violation};
pub use network::{Burst, Path, Queue, Way};
pub use oscillator::{Jumps, Oscillator, Ramp, Sine};
pub use phc::{Phc, Preemption};
pub use scenario::{Fault, Guest, LeapSecond, Part, Scenario, Steal, Truth};
pub use server::{Kiss, Server};
pub use statistics::{LIMITS, Statistics};
pub use world::World;
