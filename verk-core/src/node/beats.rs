//! The thread of the heartbeats: [`HeartbeatThread`].

use std::{
    io,
    sync::{Arc, Weak},
    thread,
};

use parking_lot::Mutex;
use tokio::{runtime, sync::oneshot, task::JoinHandle};

/// The thread on which all heartbeats of a node run, one for each cell. No job can block it. It
/// begins with the first heartbeat and ends with the last.
#[derive(Debug, Default)]
pub(crate) struct HeartbeatThread(Mutex<Weak<Running>>);

/// Keeps the thread alive.
#[derive(Debug)]
struct Running {
    runtime: runtime::Handle,
    /// When this is dropped, the thread ends.
    _end: oneshot::Sender<()>,
}

impl HeartbeatThread {
    /// Runs `beats` on the thread.
    ///
    /// # Errors
    ///
    /// When there is no thread yet, and none can be started.
    pub(crate) fn spawn(
        &self,
        beats: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let mut known = self.0.lock();
        let running = match known.upgrade() {
            Some(running) => running,
            None => start()?,
        };
        *known = Arc::downgrade(&running);
        let runtime = running.runtime.clone();
        Ok(runtime.spawn(async move {
            beats.await;
            drop(running);
        }))
    }
}

fn start() -> io::Result<Arc<Running>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let (end, ended) = oneshot::channel();
    thread::Builder::new()
        .name("verk-heartbeat".to_owned())
        .spawn(move || {
            // Nothing is ever sent: this is the end of `Running`.
            let _ = runtime.block_on(ended);
        })?;
    Ok(Arc::new(Running {
        runtime: handle,
        _end: end,
    }))
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;

    /// The thread that a heartbeat runs on, and what ends that heartbeat.
    async fn beat(thread: &HeartbeatThread) -> (ThreadId, oneshot::Sender<()>, JoinHandle<()>) {
        let (told, id) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let beats = async {
            told.send(thread::current().id()).unwrap();
            let _ = ended.await;
        };
        let handle = thread.spawn(beats).unwrap();
        (id.await.unwrap(), end, handle)
    }

    #[tokio::test]
    async fn heartbeats_share_a_thread_until_the_last_ends() {
        let thread = HeartbeatThread::default();
        let (first, end_first, first_beats) = beat(&thread).await;
        let (second, end_second, second_beats) = beat(&thread).await;
        assert_eq!(first, second);
        assert_ne!(first, thread::current().id());
        drop(end_first);
        first_beats.await.unwrap();
        assert!(!second_beats.is_finished());
        drop(end_second);
        second_beats.await.unwrap();
        let (third, ..) = beat(&thread).await;
        assert_ne!(third, first);
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_heartbeat() {
        let thread = HeartbeatThread::default();
        let (_, _end, beats) = beat(&thread).await;
        let panics = thread.spawn(async { panic!("for the test") }).unwrap();
        assert!(panics.await.unwrap_err().is_panic());
        assert!(!beats.is_finished());
    }
}
