//! A queue that moves to another cell while everything breaks.

use std::time::Duration;

use verk::{
    QueueName,
    manage::MoveQueueError,
    time::{Clock, SystemClock},
};

use crate::{kind::QUEUE, producer::Producer};

/// How long it is before a move that failed is continued.
const AGAIN: Duration = Duration::from_millis(300);

/// For how long a move waits for jobs that run: a worker may stand still with one.
const PATIENCE: Duration = Duration::from_secs(20);

impl Producer {
    /// Moves the first queue to another cell, and continues the move until it ends, or a move that
    /// another fault kept from its end. Returns whether the queue lies in another cell.
    pub(crate) async fn move_queue(&self, random: u64, cells: usize) -> bool {
        let clock: &dyn Clock = &SystemClock;
        let Ok(queue) = QueueName::new(QUEUE) else {
            return false;
        };
        let admin = self.verk.admin();
        let mut to = usize::try_from(random % cells as u64).unwrap_or_default();
        loop {
            let until = clock.instant_in(PATIENCE);
            let is_over = move || (&SystemClock as &dyn Clock).instant() >= until;
            let run = admin.move_queue(queue.clone(), to).until(is_over).run();
            match run.await {
                // It lies there.
                Ok(report) if report.from == report.to => to = (to + 1) % cells,
                Ok(report) if !report.jobs.stopped => {
                    tracing::info!(
                        from = report.from,
                        to = report.to,
                        jobs = report.jobs.moved(),
                        "moved the queue"
                    );
                    return true;
                }
                Ok(_) => {}
                Err(MoveQueueError::OtherCell { to: other }) => to = other,
                Err(error) => tracing::info!(%error, "the queue did not move yet"),
            }
            clock.sleep(AGAIN).await;
        }
    }
}
