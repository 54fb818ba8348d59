//! The configured models, examined as the service does: digests, cost, golden vectors.

use crate::cli::selftest::finding::Finding;
use crate::config::Config;
use crate::infer::VariantReport;
use crate::io::admission::{Admission, chain};
use crate::runtime::{ADMISSION_MEMORY, ADMISSION_SECONDS};
use crate::units::Bytes;

/// Admits every model, one after the other.
pub(in crate::cli::selftest) fn examine(config: Option<&Config>) -> Vec<Finding> {
    let Some(config) = config else {
        return vec![Finding::absent("models", "give --config to test those of a gateway")];
    };
    let admission = match Admission::by_this_program(ADMISSION_MEMORY, ADMISSION_SECONDS) {
        Ok(admission) => admission,
        Err(error) => return vec![Finding::fault("models", error.to_string(), "check the installation")],
    };
    let examined = config.models.iter().map(|entry| {
        let thing = format!("model {}", entry.name);
        match admission.admit(&entry.path) {
            Ok(admitted) => {
                let variants = &admitted.report().variants;
                let cases: u64 = variants.iter().map(|variant| variant.golden_cases).sum();
                let memory = variants.iter().map(memory).max().unwrap_or_default();
                let (id, count) = (admitted.manifest().id(), variants.len());
                let forms = if count == 1 { "variant" } else { "variants" };
                let read =
                    format!("{id}, {count} {forms}, {cases} golden cases reproduced, {}", Bytes(memory));
                Finding::ok(thing, read)
            }
            Err(error) => Finding::fault(thing, "refused", chain(&error)),
        }
    });
    examined.collect()
}

/// What a form keeps, as `check` counts it: measured, or predicted where nothing could be.
fn memory(variant: &VariantReport) -> u64 {
    if variant.memory_measured == 0 { variant.memory_bytes } else { variant.memory_measured }
}
