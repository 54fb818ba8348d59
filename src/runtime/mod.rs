//! The only home of tokio and threads: one shell per task.
