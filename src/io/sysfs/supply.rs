//! Power supplies of the kernel: mains, batteries and supplies with a battery of their own.

use std::path::Path;

use crate::flow::{PowerReading, PowerSource, Sensed};
use crate::io::sysfs::Sysfs;
use crate::io::sysfs::file::{SysfsError, number, read, read_if_present};
use crate::units::{Ratio, Volts, Watts};

/// Most supplies looked at; a laptop has half a dozen.
const SUPPLIES_MAX: usize = 32;

/// A supply as the kernel tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct PowerSupply {
    /// What it is.
    pub kind: SupplyKind,
    /// Whether it feeds the board: a mains supply that is plugged in, a battery that is not being discharged is not.
    pub feeds: bool,
    /// Charge of a battery.
    pub charge: Sensed<Ratio>,
    /// Its voltage.
    pub voltage: Sensed<Volts>,
    /// What it gives or takes.
    pub power: Sensed<Watts>,
}

/// What kind of supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupplyKind {
    /// Mains, USB, wireless: whatever does not run down.
    Mains,
    /// A battery, or a supply with one of its own.
    Battery,
}

impl Sysfs {
    /// The supplies of the board in the order of their names; empty where the kernel knows none. Those of other devices, a
    /// mouse say, are left out.
    pub fn power_supplies(&self) -> Result<Vec<PowerSupply>, SysfsError> {
        let folders = self.named("sys/class/power_supply", SUPPLIES_MAX)?;
        Ok(folders.iter().filter_map(|folder| supply(folder)).collect())
    }
}

/// A supply; `None` if it has no type or feeds something else.
fn supply(folder: &Path) -> Option<PowerSupply> {
    let word = |file: &str| Some(read_if_present(&folder.join(file)).ok()??.trim().to_owned());
    let kind = match read(&folder.join("type")).ok()?.trim() {
        "Battery" | "UPS" => SupplyKind::Battery,
        _ => SupplyKind::Mains,
    };
    if word("scope").as_deref() == Some("Device") {
        return None;
    }
    let micro = |file: &str| {
        sensed(folder, file, |micros: f32| Some(micros.abs() / 1e6).filter(|value| value.is_finite()))
    };
    let (voltage, current) = (micro("voltage_now"), micro("current_now"));
    let power = match (micro("power_now"), voltage, current) {
        (Sensed::Absent, Sensed::Known(volts), Sensed::Known(amperes)) => Sensed::Known(volts * amperes),
        (told, _, _) => told,
    };
    let feeds = match kind {
        SupplyKind::Mains => word("online").is_some_and(|online| online != "0"),
        SupplyKind::Battery => word("status").as_deref() == Some("Discharging"),
    };
    Some(PowerSupply {
        kind,
        feeds,
        charge: sensed(folder, "capacity", |percent: f32| Ratio::new(percent / 100.0)),
        voltage: mapped(voltage, Volts),
        power: mapped(power, Watts),
    })
}

/// A number in a file that need not be there; `Lost` where it is and cannot be used.
fn sensed<T>(folder: &Path, file: &str, value: impl FnOnce(f32) -> Option<T>) -> Sensed<T> {
    let path = folder.join(file);
    match read_if_present(&path) {
        Ok(None) => Sensed::Absent,
        Ok(Some(_)) | Err(_) => {
            number(&path, "a whole number").ok().and_then(value).map_or(Sensed::Lost, Sensed::Known)
        }
    }
}

fn mapped<T, U>(sensed: Sensed<T>, map: impl FnOnce(T) -> U) -> Sensed<U> {
    match sensed {
        Sensed::Absent => Sensed::Absent,
        Sensed::Lost => Sensed::Lost,
        Sensed::Known(value) => Sensed::Known(map(value)),
    }
}

/// What the supplies say together. The emptiest battery counts; nothing is said of the draw of a board on mains, whose
/// supplies also charge.
pub fn power(supplies: &[PowerSupply]) -> PowerReading {
    let of = |kind| supplies.iter().filter(move |supply| supply.kind == kind);
    let on_mains = of(SupplyKind::Mains).any(|supply| supply.feeds);
    let charge_of = |supply: &PowerSupply| supply.charge.known().map_or(0.0, Ratio::get);
    let battery = of(SupplyKind::Battery).min_by(|a, b| charge_of(a).total_cmp(&charge_of(b)));
    let Some(battery) = battery else {
        let source = if on_mains { PowerSource::Mains } else { PowerSource::Unknown };
        return PowerReading { source, ..PowerReading::default() };
    };
    // A battery may be discharged beside mains that are too weak: what runs down counts.
    let runs_down = of(SupplyKind::Battery).any(|supply| supply.feeds);
    let no_mains = of(SupplyKind::Mains).next().is_some() && !on_mains;
    let source = if runs_down || no_mains {
        PowerSource::Battery
    } else if on_mains {
        PowerSource::Mains
    } else {
        PowerSource::Unknown
    };
    let draw = if runs_down && !on_mains { battery.power } else { Sensed::Absent };
    PowerReading { source, charge: battery.charge, voltage: battery.voltage, draw, failing: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sysfs::test_tree::tree;

    fn reading(supplies: &[(&str, &[(&str, &str)])]) -> PowerReading {
        let mut files = Vec::new();
        for (name, values) in supplies {
            let folder = format!("sys/class/power_supply/{name}");
            files.extend(values.iter().map(|(file, text)| (format!("{folder}/{file}"), format!("{text}\n"))));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
        let (_root, sysfs) = tree(&files);
        power(&sysfs.power_supplies().unwrap())
    }

    const PLUGGED: (&str, &[(&str, &str)]) = ("AC", &[("type", "Mains"), ("online", "1")]);
    const UNPLUGGED: (&str, &[(&str, &str)]) = ("AC", &[("type", "Mains"), ("online", "0")]);
    const FULL: (&str, &[(&str, &str)]) =
        ("BAT0", &[("type", "Battery"), ("status", "Full"), ("capacity", "99")]);
    const RUNNING_DOWN: (&str, &[(&str, &str)]) = (
        "BAT1",
        &[
            ("type", "Battery"),
            ("status", "Discharging"),
            ("capacity", "15"),
            ("voltage_now", "11500000"),
            ("current_now", "-400000"),
        ],
    );
    const MOUSE: (&str, &[(&str, &str)]) =
        ("hid-1", &[("type", "Battery"), ("scope", "Device"), ("status", "Discharging"), ("capacity", "3")]);

    #[test]
    fn what_is_no_number_is_lost_not_a_voltage() {
        for nonsense in ["nan", "inf", "1e39", "", "twelve"] {
            let files = &[("type", "Battery"), ("voltage_now", nonsense), ("power_now", nonsense)];
            let power = reading(&[("BAT0", &[("status", "Discharging"), files[0], files[1], files[2]])]);
            assert_eq!((power.voltage, power.draw), (Sensed::Lost, Sensed::Lost), "{nonsense:?}");
        }
    }

    #[test]
    fn mains_and_batteries_of_the_board_say_what_feeds_it() {
        use PowerSource::{Battery, Mains, Unknown};
        for (supplies, source, charge) in [
            (&[][..], Unknown, None),
            (&[MOUSE], Unknown, None),
            (&[PLUGGED], Mains, None),
            (&[UNPLUGGED], Unknown, None),
            (&[FULL], Unknown, Some(0.99)),
            (&[PLUGGED, FULL], Mains, Some(0.99)),
            (&[UNPLUGGED, FULL], Battery, Some(0.99)),
            (&[PLUGGED, FULL, RUNNING_DOWN, MOUSE], Battery, Some(0.15)),
        ] {
            let reading = reading(supplies);
            assert_eq!(reading.source, source, "{supplies:?}");
            assert_eq!(reading.charge.known().map(Ratio::get), charge);
        }
    }

    #[test]
    fn the_draw_is_that_of_the_battery_and_a_broken_gauge_is_lost() {
        let alone = reading(&[RUNNING_DOWN]);
        let (Some(Volts(volts)), Some(Watts(watts))) = (alone.voltage.known(), alone.draw.known()) else {
            panic!("{alone:?}")
        };
        assert!((volts - 11.5).abs() < 1e-4 && (watts - 4.6).abs() < 1e-4);
        for capacity in ["", "many", "240", "-3", "NaN"] {
            let broken: (&str, &[(&str, &str)]) =
                ("BAT0", &[("type", "Battery"), ("status", "Discharging"), ("capacity", capacity)]);
            let reading = reading(&[broken]);
            assert_eq!((reading.source, reading.charge), (PowerSource::Battery, Sensed::Lost), "{capacity}");
        }
    }
}
