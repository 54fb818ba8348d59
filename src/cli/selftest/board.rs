//! Heat, clock, supply and watchdog of a board, as Linux tells of them.

use std::path::Path;

use crate::board::{HardwarePlan, Presence, Profile, Thermal};
use crate::cli::selftest::finding::Finding;
use crate::governor::{PLAUSIBLE_MAX, PLAUSIBLE_MIN};
use crate::io::sysfs::{Sysfs, SysfsError, ThermalZone, TripKind, trip_points};
use crate::io::watchdog_device::watchdog_facts;

/// Everything in `/sys` that the governor looks at.
pub(in crate::cli::selftest) fn examine(profile: &Profile, root: &Path) -> Vec<Finding> {
    let sysfs = Sysfs::at(root);
    let mut findings = Vec::new();
    match sysfs.thermal_zones() {
        Ok(zones) => findings.extend(heat(profile.thermal.as_ref(), &zones)),
        Err(error) => findings.push(unreadable("thermal zones", &error)),
    }
    findings.extend(flags(profile, &sysfs));
    findings
}

fn heat(thermal: Option<&Thermal>, zones: &[ThermalZone]) -> Vec<Finding> {
    let Some(thermal) = thermal else {
        return vec![Finding::absent("thermal zones", "this board has none: heat limits nothing")];
    };
    let mut findings: Vec<Finding> = zones.iter().map(|zone| temperature(thermal, zone)).collect();
    if !zones.iter().any(|zone| thermal.zones.contains(&zone.kind)) {
        let expected = thermal.zones.join(", ");
        findings.push(match thermal.presence {
            Presence::Required => Finding::fault(
                "thermal zones",
                format!("none of {expected}"),
                "load the kernel's thermal driver, or name the right board in gateway.board",
            ),
            Presence::IfPresent => Finding::absent(
                "thermal zones",
                format!("none of {expected}: heat limits nothing; a sensor in the cabinet can"),
            ),
        });
        return findings;
    }
    findings.push(trips(thermal, zones));
    findings
}

fn temperature(thermal: &Thermal, zone: &ThermalZone) -> Finding {
    let counts = thermal.zones.contains(&zone.kind);
    let thing = format!("zone {}", zone.kind);
    match &zone.temperature {
        // A zone that does not count may be what it likes.
        Err(error) if !counts => Finding::absent(thing, format!("does not count; {}", chain(error))),
        Ok(found) if !counts => Finding::ok(thing, format!("{:.1} °C, does not count", found.0)),
        Ok(found) if (PLAUSIBLE_MIN.0..=PLAUSIBLE_MAX.0).contains(&found.0) => {
            Finding::ok(thing, format!("{:.1} °C", found.0))
        }
        Ok(found) => Finding::fault(
            thing,
            format!("{:.1} °C", found.0),
            "no board is so cold or so hot: check the sensor and its driver; until then the level is at least hot",
        ),
        Err(error) => unreadable(&thing, error),
    }
}

/// Which trip points there are, and which one decides.
fn trips(thermal: &Thermal, zones: &[ThermalZone]) -> Finding {
    let counting = zones.iter().filter(|zone| thermal.zones.contains(&zone.kind));
    let words: Vec<String> = counting
        .flat_map(|zone| &zone.trips)
        .map(|trip| format!("{} {}", trip_word(trip.kind), trip.at))
        .collect();
    let limit = thermal.trip_among(trip_points(zones, &thermal.zones));
    if words.is_empty() {
        return Finding::absent("trip points", format!("that of the board file counts: {limit}"));
    }
    Finding::ok("trip points", format!("{}; {limit} counts", words.join(", ")))
}

fn trip_word(kind: TripKind) -> &'static str {
    match kind {
        TripKind::Active => "active",
        TripKind::Passive => "passive",
        TripKind::Hot => "hot",
        TripKind::Critical => "critical",
    }
}

fn flags(profile: &Profile, sysfs: &Sysfs) -> Option<Finding> {
    let file = profile.throttle_flags.as_deref()?;
    let thing = "throttling flags";
    Some(match sysfs.throttle_flags(file) {
        Ok(Some(flags)) => {
            let now = [(flags.under_voltage(), "under-voltage"), (flags.slowed(), "slowed")];
            let words: Vec<&str> = now.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
            let ever = if flags.ever() { ", something since the last look" } else { "" };
            match words.as_slice() {
                [] => Finding::ok(thing, format!("none now{ever}")),
                words => Finding::ok(thing, format!("{}{ever}", words.join(", "))),
            }
        }
        Ok(None) => Finding::absent(thing, format!("{file} is not there: this kernel is not Raspberry Pi's")),
        Err(error) => unreadable(thing, &error),
    })
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

pub(in crate::cli::selftest) fn unreadable(thing: &str, error: &SysfsError) -> Finding {
    let remedy = "check the permissions of the unit and the driver in the log of the kernel";
    Finding::fault(thing, chain(error), remedy)
}

/// An error with its causes in one line.
pub(in crate::cli::selftest) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
