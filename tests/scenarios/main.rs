//! Seeded scenarios: each states a behaviour that matters, for the agent that production runs.

mod catalogue;
mod clocks;
mod discipline;
mod disruption;
mod protocol;
mod selection;
mod serving;
mod world;
