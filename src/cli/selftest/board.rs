//! Heat, clock, supply and watchdog of a board, as Linux tells of them.

use std::path::Path;

use crate::board::{Cooling, Cpufreq, Presence, Profile, Thermal};
use crate::cli::selftest::finding::Finding;
use crate::flow::{PowerSource, Sensed};
use crate::governor::{PLAUSIBLE_MAX, PLAUSIBLE_MIN};
use crate::io::admission::chain;
use crate::io::sysfs::{
    ClockPolicy, CoolingDevice, Sysfs, SysfsError, ThermalZone, TripKind, power, trip_points,
};
use crate::units::{Hertz, Volts};

/// Everything in `/sys` that the governor looks at.
pub(in crate::cli::selftest) fn examine(profile: &Profile, root: &Path) -> Vec<Finding> {
    let sysfs = Sysfs::at(root);
    let mut findings = Vec::new();
    match sysfs.thermal_zones() {
        Ok(zones) => findings.extend(heat(profile.thermal.as_ref(), &zones)),
        Err(error) => findings.push(unreadable("thermal zones", &error)),
    }
    match sysfs.cooling_devices() {
        Ok(devices) => findings.extend(cooling(profile.cooling.as_ref(), &devices)),
        Err(error) => findings.push(unreadable("cooling", &error)),
    }
    match sysfs.clock_policies() {
        Ok(policies) => findings.extend(clocks(profile.cpufreq.as_ref(), &policies)),
        Err(error) => findings.push(unreadable("processor clock", &error)),
    }
    findings.extend(flags(profile, &sysfs));
    findings.extend(low_voltage(profile, &sysfs));
    findings.push(supply(&sysfs));
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

/// The same of kernels that are not Raspberry Pi's: the supply alone.
fn low_voltage(profile: &Profile, sysfs: &Sysfs) -> Option<Finding> {
    let device = profile.throttle_hwmon.as_deref()?;
    let thing = format!("supply by {device}");
    Some(match sysfs.under_voltage(device) {
        Ok(Some(true)) => Finding::fault(
            thing,
            "too weak",
            "use the supply the board's maker names, and a short cable; until then the level is at least hot",
        ),
        Ok(Some(false)) => Finding::ok(thing, "strong enough"),
        Ok(None) => Finding::absent(thing, "the kernel has no such device: a weak supply is not seen by it"),
        Err(error) => unreadable(&thing, &error),
    })
}

/// The cooling devices the board file names; those that slow the processor are Linux's business, not the board's.
fn cooling(cooling: Option<&Cooling>, devices: &[CoolingDevice]) -> Vec<Finding> {
    let Some(cooling) = cooling else { return Vec::new() };
    let own: Vec<Finding> = devices
        .iter()
        .filter(|device| cooling.devices.contains(&device.kind))
        .map(|device| {
            Finding::ok(
                format!("cooling {}", device.kind),
                format!("step {} of {}", device.state, device.max),
            )
        })
        .collect();
    if !own.is_empty() {
        return own;
    }
    vec![match cooling.presence {
        Presence::Required => Finding::fault(
            "cooling",
            format!("none of {}", cooling.devices.join(", ")),
            "connect the fan and load its driver",
        ),
        Presence::IfPresent => Finding::absent("cooling", "no fan that Linux knows of"),
    }]
}

/// The clock of each group of cores.
fn clocks(cpufreq: Option<&Cpufreq>, policies: &[ClockPolicy]) -> Vec<Finding> {
    let thing = "processor clock";
    let megahertz =
        |clock: Option<Hertz>| clock.map_or("?".to_owned(), |clock| format!("{:.0}", clock.0 / 1e6));
    let full = cpufreq.and_then(|cpufreq| cpufreq.full);
    let told = policies.iter().filter(|policy| policy.now.is_some() || policy.allowed.is_some());
    let found: Vec<Finding> = told
        .map(|policy| {
            let read = format!("{} of {} MHz", megahertz(policy.now), megahertz(policy.full.or(full)));
            Finding::ok(thing, read)
        })
        .collect();
    if !found.is_empty() {
        return found;
    }
    let without = "costs of models are not corrected for a slow clock";
    vec![match cpufreq.map(|cpufreq| cpufreq.presence) {
        Some(Presence::Required) => Finding::fault(
            thing,
            "none",
            format!("load the kernel's cpufreq driver of this board; until then {without}"),
        ),
        Some(Presence::IfPresent) | None => Finding::absent(thing, without),
    }]
}

/// What the kernel says of mains and batteries.
fn supply(sysfs: &Sysfs) -> Finding {
    let thing = "power supply";
    let supplies = match sysfs.power_supplies() {
        Ok(supplies) => supplies,
        Err(error) => return unreadable(thing, &error),
    };
    let found = power(&supplies);
    let source = match found.source {
        PowerSource::Unknown if supplies.is_empty() => {
            return Finding::absent(thing, "the kernel knows of none: a sensor at the battery can tell");
        }
        PowerSource::Unknown => "unknown",
        PowerSource::Mains => "mains",
        PowerSource::Battery => "battery",
    };
    let charge = match found.charge {
        Sensed::Known(charge) => format!(", charge {:.0} %", charge.get() * 100.0),
        Sensed::Absent => String::new(),
        Sensed::Lost => {
            let remedy = "its gauge cannot be read: check the driver in the log of the kernel";
            return Finding::fault(thing, source, remedy);
        }
    };
    let volts = found.voltage.known().map_or(String::new(), |Volts(volts)| format!(", {volts:.2} V"));
    Finding::ok(thing, format!("{source}{charge}{volts}"))
}

pub(in crate::cli::selftest) fn unreadable(thing: &str, error: &SysfsError) -> Finding {
    let remedy = "check the permissions of the unit and the driver in the log of the kernel";
    Finding::fault(thing, chain(error), remedy)
}
