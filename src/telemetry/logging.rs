//! Sets up the log: key-values to stderr, without times where the journal adds its own.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{format::Writer, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Environment variable with the filter, like `info` or `tidegate::forward=debug`.
const FILTER_VARIABLE: &str = "TIDEGATE_LOG";

/// Set by systemd when stderr goes to the journal, which stamps every line itself (systemd.exec(5)).
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// Starts logging to stderr. A second call has no effect.
pub fn start_logging(default_filter: &str) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_filter));
    let journal = std::env::var_os(JOURNAL_VARIABLE).is_some();
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(true)
        .with_timer(Stamp { journal });
    // A logger may be installed already when commands run inside one process, as tests do.
    drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
}

/// UTC to the millisecond, or nothing in the journal.
struct Stamp {
    journal: bool,
}

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        if self.journal { Ok(()) } else { write!(writer, "{:.3} ", jiff::Timestamp::now()) }
    }
}
