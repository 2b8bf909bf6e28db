//! How the kernel schedules a thread.
#![allow(unsafe_code, reason = "pthread_setschedparam, which nix does not have")]

use std::io;

/// From now on this thread waits until another lets go of the core, instead of taking it at once when it wakes (`SCHED_BATCH`).
///
/// # Errors
/// What the kernel says, or a filter of the unit's.
pub fn step_back() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: this thread exists, and the parameter is read before the call returns.
    let error = unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_BATCH, &raw const priority) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

#[cfg(test)]
mod tests {
    #[test]
    #[allow(unsafe_code, reason = "asks the kernel what the thread is")]
    fn a_thread_steps_back_alone() {
        // SAFETY: takes no pointer.
        let policy = || unsafe { libc::sched_getscheduler(0) };
        let before = policy();
        let stepped = std::thread::spawn(move || {
            super::step_back().expect("every thread may");
            policy()
        });
        assert_eq!(stepped.join().expect("no panic"), libc::SCHED_BATCH);
        assert_eq!(policy(), before);
    }
}
