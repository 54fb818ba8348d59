//! `tidegate model report`: the five questions before deployment, answered on one page with measured figures.

mod answers;
mod args;
mod run;

pub(in crate::cli::model) use args::ReportArgs;
pub(in crate::cli::model) use run::report;
