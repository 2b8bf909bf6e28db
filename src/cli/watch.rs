//! `paraclock watch`: a live view of offset, error bound and sources.
//!
//! A thread asks the daemon once a second; the terminal loop keeps what came back and
//! draws it with [`view::draw`], which is pure. `q` ends, `b` shows or hides the bound.

mod view;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;

use super::{ClientError, Viewing, client, complain, to_json};
use crate::wire::control::Report;

/// How often the daemon is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a key may go unnoticed.
const TICK: Duration = Duration::from_millis(100);

/// How many reports are plotted: ten minutes.
const HISTORY: usize = 600;

/// One report's share of the plot.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Point {
    /// Seconds since the agent started.
    uptime: f64,
    /// Of the system clock against the line.
    system_offset: f64,
    /// As the last update measured it.
    last_offset: f64,
    /// Of the system clock, if known.
    bound: Option<f64>,
}

/// All that is on the screen.
#[derive(Debug)]
struct View {
    report: Option<Report>,
    /// Why the last question was not answered.
    error: Option<String>,
    history: VecDeque<Point>,
    show_bound: bool,
}

impl View {
    const fn new() -> Self {
        Self { report: None, error: None, history: VecDeque::new(), show_bound: true }
    }

    /// Takes in an answer; a daemon that was started anew begins a new plot.
    fn accept(&mut self, answer: Result<Report, ClientError>) {
        let report = match answer {
            Ok(report) => report,
            Err(error) => {
                self.error = Some(error.to_string());
                return;
            }
        };
        if self.history.back().is_some_and(|last| report.uptime < last.uptime) {
            self.history.clear();
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let t = &report.tracking;
        self.history.push_back(Point {
            uptime: report.uptime,
            system_offset: t.system_offset,
            last_offset: t.last_offset,
            bound: t.clock.error,
        });
        self.error = None;
        self.report = Some(report);
    }
}

/// Takes over the terminal until `q`; with `--json` prints a report a second instead.
pub(super) fn show(viewing: &Viewing) -> ExitCode {
    if viewing.json {
        return print_forever(viewing);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return complain(&"watch needs a terminal; use `paraclock status`, or `paraclock watch --json` for a line a second");
    }
    // Installs a panic hook that gives the terminal back.
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => return complain(&format!("the terminal cannot be set up: {error}")),
    };
    let result = follow(&mut terminal, &answers(viewing));
    let restored = ratatui::try_restore();
    match result.and(restored) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn print_forever(viewing: &Viewing) -> ExitCode {
    loop {
        match viewing.report() {
            Ok(report) => {
                use std::io::Write;
                let mut out = std::io::stdout().lock();
                if out.write_all(to_json(&report).as_bytes()).and_then(|()| out.flush()).is_err() {
                    return ExitCode::SUCCESS;
                }
            }
            Err(error) => {
                let _ = complain(&error);
            }
        }
        std::thread::sleep(INTERVAL);
    }
}

/// What the daemon says, once a second, until the receiver is dropped.
fn answers(viewing: &Viewing) -> mpsc::Receiver<Result<Report, ClientError>> {
    let (sender, receiver) = mpsc::channel();
    let socket = viewing.socket.clone();
    std::thread::spawn(move || {
        while sender.send(client::report(&socket)).is_ok() {
            std::thread::sleep(INTERVAL);
        }
    });
    receiver
}

fn follow(terminal: &mut DefaultTerminal, answers: &mpsc::Receiver<Result<Report, ClientError>>) -> std::io::Result<()> {
    let mut view = View::new();
    terminal.draw(|frame| view::draw(frame, &view))?;
    loop {
        let mut changed = false;
        for answer in answers.try_iter() {
            view.accept(answer);
            changed = true;
        }
        if event::poll(TICK)? {
            changed = true;
            if let Event::Key(key) = event::read()? {
                let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
                match key.code {
                    _ if key.kind == KeyEventKind::Release => {}
                    KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Ok(()),
                    _ if interrupt => return Ok(()),
                    KeyCode::Char('b') => view.show_bound = !view.show_bound,
                    _ => {}
                }
            }
        }
        if changed {
            terminal.draw(|frame| view::draw(frame, &view))?;
        }
    }
}
