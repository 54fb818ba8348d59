//! Threads with an executor of their own.

use tokio::sync::oneshot;

use crate::runtime::retry::best_effort;

/// Starts a named thread with an executor of its own; the receiver gets what the work returns.
pub(in crate::runtime) fn thread<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> std::io::Result<oneshot::Receiver<T>> {
    let (done, result) = oneshot::channel();
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The supervisor may have given up waiting.
        best_effort(done.send(executor.block_on(work)));
    })?;
    Ok(result)
}
