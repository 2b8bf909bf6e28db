//! Floor 8: drives the agent in virtual time.
//!
//! The same [`Agent`](crate::agent::Agent) that `run` drives, in a world made of an oscillator, a
//! network, servers and local clocks. Deterministic: the same seed gives the same decisions. No tokio,
//! no sys.

mod chance;
mod oscillator;
mod server;
mod world;

pub use chance::Chance;
pub use oscillator::Oscillator;
pub use server::{Kiss, Server};
pub use world::{Action, Path, Phc, Scenario, Statistics, World};
