//! Runs the programs of `ondisruption` and `onsync`, never in the way of the loop.
//!
//! [`Hooks`] notices that status changed and gathers the facts; `queue` decides what runs when; `process` runs one program
//! without a shell, within a time limit. What came of it is counted on the [`Board`].

mod facts;
mod process;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::Agent;
use crate::config::{Hook, HookEvent};
use crate::core::Status;
use crate::sys::time;
use crate::units::{Instant, Offset};
use crate::wire::control::Hook as HookReport;
use facts::Facts;
use process::{Limits, Outcome};
use queue::Queue;

/// The configured programs, and what came of them: shared with whoever reports it.
#[derive(Clone, Debug)]
pub struct Board(Arc<House>);

#[derive(Debug)]
struct House {
    hooks: Vec<Hook>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue<Facts>,
    /// For each hook, in order.
    runs: Vec<BTreeMap<Outcome, u64>>,
    last: Vec<Option<String>>,
}

impl Board {
    /// A board for these hooks. Says at once which of them cannot be run as they stand.
    #[must_use]
    pub fn new(hooks: Vec<Hook>) -> Self {
        for hook in &hooks {
            let name = hook.event.directive();
            match std::fs::metadata(&hook.program) {
                Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => {}
                Ok(_) => tracing::warn!("{}: {name} {}: this is no executable file (chmod +x it?)", hook.origin, hook.program.display()),
                Err(error) => tracing::warn!("{}: {name} {}: {error}; trying when it is needed", hook.origin, hook.program.display()),
            }
        }
        Self::with_limits(hooks, Limits::default())
    }

    fn with_limits(hooks: Vec<Hook>, limits: Limits) -> Self {
        let state = State {
            runs: vec![Outcome::ALL.map(|outcome| (outcome, 0)).into(); hooks.len()],
            last: vec![None; hooks.len()],
            ..State::default()
        };
        Self(Arc::new(House { hooks, limits, state: Mutex::new(state) }))
    }

    /// For the report.
    #[must_use]
    pub fn report(&self) -> Vec<HookReport> {
        let state = self.state();
        let rows = self.0.hooks.iter().zip(state.runs.iter().zip(&state.last));
        rows.map(|(hook, (runs, last))| HookReport {
            hook: hook.event.directive().to_owned(),
            command: command(hook),
            runs: runs.iter().map(|(outcome, &n)| (outcome.as_str().to_owned(), n)).collect(),
            error: last.clone().unwrap_or_default(),
        })
        .collect()
    }

    /// What is wrong with them, a sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let state = self.state();
        let failed = self.0.hooks.iter().zip(&state.last).filter_map(|(hook, last)| last.as_ref().map(|last| (hook, last)));
        failed.map(|(hook, last)| format!("{} {}: {last}", hook.event.directive(), command(hook))).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened: runs what can run now.
    fn post(&self, event: HookEvent, facts: Facts) {
        if self.0.hooks.iter().any(|hook| hook.event == event) {
            self.state().queue.post(event, facts);
            self.start();
        }
    }

    /// Starts whatever may begin.
    fn start(&self) {
        loop {
            let next = self.state().queue.next();
            let Some((event, facts)) = next else { return };
            let board = self.clone();
            tokio::spawn(async move {
                board.run(event, &facts).await;
                board.state().queue.done(event);
                board.start();
            });
        }
    }

    /// All programs of one event, one after the other in the order of the configuration.
    async fn run(&self, event: HookEvent, facts: &Facts) {
        for (i, hook) in self.0.hooks.iter().enumerate().filter(|(_, hook)| hook.event == event) {
            let (outcome, said) = process::run(hook, facts, self.0.limits).await;
            let name = event.directive();
            match &said {
                None => tracing::info!("{name} {}: done", command(hook)),
                Some(said) => tracing::warn!("{name} {}: {said}", command(hook)),
            }
            let mut state = self.state();
            *state.runs[i].entry(outcome).or_default() += 1;
            state.last[i] = said;
        }
    }
}

fn command(hook: &Hook) -> String {
    let program = hook.program.display().to_string();
    std::iter::once(program.as_str()).chain(hook.arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

/// Watches the status and sets the programs off.
#[derive(Debug)]
pub(super) struct Hooks {
    board: Board,
    status: Status,
    /// When it ceased to be.
    broken: Instant,
    /// Steps made since then.
    stepped: Offset,
    /// `onsync` waits until the clock has been told.
    due: Option<Status>,
}

impl Hooks {
    pub(super) fn new(board: Board) -> Self {
        Self { board, status: Status::Unsynchronised, broken: time::raw(), stepped: Offset::ZERO, due: None }
    }

    /// The agent published something.
    pub(super) fn published(&mut self, agent: &Agent) {
        let status = agent.published().status;
        let before = std::mem::replace(&mut self.status, status);
        if before == Status::Synchronised && status != before {
            self.broken = agent.published().since;
            self.stepped = Offset::ZERO;
        }
        match status {
            Status::Disrupted if before != status => {
                self.due = None;
                self.board.post(HookEvent::Disruption, self.facts(agent, before, HookEvent::Disruption));
            }
            Status::Synchronised if before != status => self.due = Some(before),
            _ => {}
        }
    }

    /// The clock was moved by us.
    pub(super) fn stepped(&mut self, offset: Offset) {
        self.stepped = self.stepped + offset;
    }

    /// All that the agent wanted has been done: `onsync` may tell that time is right.
    pub(super) fn settle(&mut self, agent: &Agent) {
        let Some(before) = self.due.take().filter(|_| self.status == Status::Synchronised) else { return };
        self.board.post(HookEvent::Sync, self.facts(agent, before, HookEvent::Sync));
    }

    fn facts(&self, agent: &Agent, before: Status, event: HookEvent) -> Facts {
        let now = time::raw();
        let published = agent.published();
        let (line, course) = (agent.core().line(), agent.core().course());
        Facts {
            event,
            status: published.status,
            cause: facts::cause(event, before, agent.disruption().map(|event| event.kind)),
            since: line.at(published.since).unix_seconds(),
            lasted: (event == HookEvent::Sync).then(|| now.since(self.broken).seconds()),
            offset: 0.0 - line.ahead_of(course.at(now), now),
            bound: published.clock.is_known().then(|| published.clock.at(now).as_secs_f64()),
            stepped: self.stepped.seconds(),
            source: published.selected.and_then(|id| agent.source_name(id)).unwrap_or_default().to_owned(),
        }
    }
}
