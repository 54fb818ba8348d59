//! What is attached: sensors on I2C, lines of GPIO, the watchdog.

use std::path::Path;

use crate::board::{HardwarePlan, Profile};
use crate::cli::selftest::finding::Finding;
use crate::io::admission::chain;
use crate::io::devices::{Probe, probe};
use crate::io::watchdog_device::watchdog_facts;

/// Every sensor and every line of the plan, read once.
pub(in crate::cli::selftest) fn examine(plan: &HardwarePlan, root: &Path) -> Vec<Finding> {
    let clashes = plan.clashes().into_iter().map(|clash| {
        let remedy = "what is wired and what is on the board need a name, an address and a line for each";
        Finding::fault(format!("hardware.{}", clash.key), clash.problem, remedy)
    });
    let finding = |probe: Probe| {
        let thing = format!("{} ({})", probe.what, probe.how);
        match probe.read {
            Ok(read) => Finding::ok(thing, read),
            Err(why) if probe.optional => Finding::absent(thing, format!("optional; {why}")),
            Err(why) => Finding::fault(thing, "nothing", why),
        }
    };
    clashes.chain(probe(plan, root).into_iter().map(finding)).collect()
}

/// The hardware watchdog, by what its driver says; it is not opened.
pub(in crate::cli::selftest) fn watchdog(
    profile: &Profile,
    plan: &HardwarePlan,
    root: &Path,
) -> Option<Finding> {
    let thing = "hardware watchdog";
    if let Some(device) = &plan.watchdog {
        return Some(match watchdog_facts(root, device) {
            Ok(facts) => Finding::ok(thing, facts.to_string()),
            Err(error) => Finding::fault(thing, device.as_str(), chain(&error)),
        });
    }
    let device = profile.hardware.watchdog.as_deref()?;
    Some(match watchdog_facts(root, device) {
        Ok(facts) => Finding::ok(thing, format!("{facts}; not used")),
        Err(_) => Finding::absent(thing, format!("{device} has no driver; not used")),
    })
}
