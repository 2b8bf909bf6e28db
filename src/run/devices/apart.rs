//! A thread for one slow device: it exists only while there is such a device, and while the device is slow.

use std::sync::mpsc;

use tokio::sync::mpsc as to_loop;

use super::{Returned, timed};
use crate::core::SourceId;
use crate::refclock::Refclock;

/// The way to the thread; the thread ends when this is dropped and the reading under way is over.
pub(super) struct Apart(mpsc::Sender<Box<dyn Refclock>>);

impl Apart {
    /// Starts it; `None` if the system gives no thread, and then the device is read where it was.
    pub(super) fn begin(source: SourceId, back: to_loop::Sender<Returned>) -> Option<Self> {
        let (ask, asked) = mpsc::channel::<Box<dyn Refclock>>();
        let work = move || {
            while let Ok(mut device) = asked.recv() {
                let (result, took) = timed(device.as_mut());
                if back.blocking_send(Returned { source, device, result, took }).is_err() {
                    // The loop has ended.
                    break;
                }
            }
        };
        match std::thread::Builder::new().name("refclock".to_owned()).spawn(work) {
            Ok(_) => Some(Self(ask)),
            Err(error) => {
                tracing::warn!("no thread for a slow refclock: {error}; it is read in the event loop");
                None
            }
        }
    }

    /// Lets the thread read it; gives the device back if there is no thread any more.
    pub(super) fn read(&self, device: Box<dyn Refclock>) -> Result<(), Box<dyn Refclock>> {
        self.0.send(device).map_err(|error| error.0)
    }
}
