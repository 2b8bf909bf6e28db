//! How far a long simulation is: one line on standard error, only in a terminal.

use std::io::Write;
use std::time::Duration;

use crate::sys::time;
use crate::units::{Instant, count};

/// Before this nobody waits.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two lines.
pub(super) const REFRESH: Duration = Duration::from_millis(100);
/// Cells of the bar.
const WIDTH: u32 = 30;

/// The line, or nothing.
pub(super) struct Progress {
    shown: bool,
    begun: Instant,
    total: f64,
    drawn: bool,
}

impl Progress {
    /// For so many seconds to be simulated.
    pub(super) fn new(shown: bool, total: f64) -> Self {
        Self { shown, begun: time::raw(), total, drawn: false }
    }

    /// So many seconds are done.
    pub(super) fn tell(&mut self, done: f64) {
        let elapsed = time::raw().elapsed_since(self.begun);
        if self.shown && elapsed >= PATIENCE {
            self.drawn = true;
            eprint!("\r{}\x1b[K", line(done / self.total, elapsed.as_secs_f64()));
            let _ = std::io::stderr().flush();
        }
    }

    /// All is done; returns the seconds it took.
    pub(super) fn end(&self) -> f64 {
        if self.drawn {
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
        time::raw().elapsed_since(self.begun).as_secs_f64()
    }
}

fn line(share: f64, elapsed: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    let bar: String = (0..WIDTH).map(|cell| if f64::from(cell) < share * f64::from(WIDTH) { '#' } else { '.' }).collect();
    let left = if share > 0.01 { format!(", about {:.0} s left", elapsed * (1.0 - share) / share) } else { String::new() };
    format!("[{bar}] {:3.0} %{left}", share * 100.0)
}

/// Whole seconds of simulated time, which is how threads count.
pub(super) fn seconds(done: u64) -> f64 {
    count(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_long() {
        assert_eq!(line(0.0, 1.0), "[..............................]   0 %");
        assert_eq!(line(0.5, 3.0), "[###############...............]  50 %, about 3 s left");
        assert_eq!(line(2.0, 3.0), "[##############################] 100 %, about 0 s left");
    }
}
