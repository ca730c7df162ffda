//! The executor.

use std::future::{Future, IntoFuture};
use std::sync::Arc;

use async_executor::Task;
use completion_port::{Iocp, Result};

/// An executor whose threads park in a port: while no task can go on, they dequeue.
///
/// Its threads are those in [`block_on`](Self::block_on). With one, nothing is ever woken but
/// by a completion; for more threads, it is best to give each a port and an executor of its
/// own. Clones are the same executor.
///
/// Dropping the last clone drops the tasks. A task that has a clone itself, as hyper's have
/// for HTTP/2, keeps the executor until it has ended.
///
/// A panic of a task ends that task. Who awaits its [`Task`] panics, too; of a task that is
/// [detached](Task::detach) nobody is told but the panic hook.
///
/// ```
/// use completion_port::Iocp;
/// use completion_port_io::Executor;
///
/// let executor = Executor::new(&Iocp::typed()?);
/// let sum = executor.spawn(async { 1 + 2 });
/// assert_eq!(executor.block_on(sum)?, 3);
/// # Ok::<(), completion_port::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Executor {
    tasks: Arc<async_executor::Executor<'static>>,
    port: Iocp<()>,
}

impl Executor {
    /// Creates an executor without tasks, for threads that will park in this port.
    #[must_use]
    pub fn new(port: &Iocp<()>) -> Self {
        Self { tasks: Arc::default(), port: port.clone() }
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> &Iocp<()> {
        &self.port
    }

    /// Starts a task, which runs in [`block_on`](Self::block_on). Dropping the [`Task`] ends
    /// it; [`detach`](Task::detach) lets it run by itself.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        self.tasks.spawn(task)
    }

    /// Runs a future to completion on this thread, and tasks beside it; see
    /// [`Iocp::block_on`].
    ///
    /// # Errors
    ///
    /// If the system cannot dequeue.
    pub fn block_on<F: IntoFuture>(&self, future: F) -> Result<F::Output> {
        self.port.block_on(self.tasks.run(future.into_future()))
    }
}
