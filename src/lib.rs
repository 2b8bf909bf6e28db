//! Paraclock: a guest time agent.
//!
//! It runs inside a virtual machine, reads the hypervisor's clock beside NTP servers, decides what time
//! it is and how wrong that can be, and makes the machine's clock follow.
//!
//! # The idea
//!
//! Knowing the time and setting the clock are kept apart. The timebase ([`units::Instant`]) is the
//! kernel's raw monotonic clock, which nobody steers. From samples the [`core`] learns the **line**
//! *time = f(raw)* ([`core::Line`]) with its uncertainty; only then is the clock made to follow it. Two errors
//! are published, of the line and of the clock, as a [`units::Bound`] that grows by itself.
//!
//! # Floors
//!
//! A room uses only rooms on lower floors. Up to the [`agent`] nothing reads a clock, does IO or logs.
//!
//! | Floor | Rooms |
//! |---|---|
//! | 1 | [`units`]: the quantities of timekeeping |
//! | 2 | [`wire`]: bytes and structs; [`config`]: the chrony.conf dialect |
//! | 3 | [`core`]: filter, selection, combination, bounds, discipline |
//! | 4 | [`ntp`]: what packets mean; [`trace`]: what went into the core, written down and replayed |
//! | 5 | [`agent`]: the one machine, [`agent::Input`] in, [`agent::Output`]s out |
//! | 6 | [`sys`]: all `unsafe`, behind a safe API |
//! | 7 | [`clock`]: kernel, shadow, simulated; [`refclock`]: local clocks; [`platform`]: what machine this is |
//! | 8 | [`run`]: executes the agent on a real machine (the only tokio); [`sim`]: in virtual time; [`doctor`]: what is wrong with time here |
//! | 9 | [`cli`]: what a person types and reads |
//!
//! # Vocabulary
//!
//! - A *source* is an association with an NTP server or a refclock.
//! - A *reading* is one look at a local clock, bracketed on the timebase; a *sample* says what a source showed at an instant.
//! - The *line* is the best knowledge of the time; the *course* is where the steered clock really goes.
//! - A *correction* is how the clock should be moved; an *announcement* is what the kernel is told of its error.
//! - A *signal* says that something happened to this machine's time: a foreign step, a suspend, a restore.
//!
//! # Where to start reading
//!
//! [`core::Sample`] and its neighbours say what goes in and out. Then follow one sample: [`ntp::Association`], [`core::Filter`],
//! [`core::Core`]; one correction: [`core::Correction`], [`clock::Clock`]; and the two executors of the same machine:
//! [`run::executor::Executor`] and [`sim::World`]. `docs/architecture.md` has the map in full, `docs/sync-core.md` the
//! mathematics.

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod doctor;
pub mod ntp;
pub mod platform;
pub mod refclock;
pub mod run;
pub mod sim;
pub mod sys;
pub mod trace;
pub mod units;
pub mod wire;
