//! How far the supply can be relied on: sagging, running down, ending.

use crate::flow::{BudgetReason, PowerReading, PowerSource, Sensed};
use crate::governor::demand::{CRITICAL, Demand, EMERGENCY, HOT, WARM, scale};
use crate::units::Ratio;

/// Hot begins at this multiple of the charge at which critical begins.
const HOT_TIMES_LOW: f32 = 2.0;

/// What a sagging supply leaves of the processor time: half of the current of the cores is what lets it recover.
const SAGGING_LEAVES: f32 = 0.5;

/// What the end of the supply asks for.
pub(crate) fn end(power: &PowerReading) -> Demand {
    if power.failing { Demand::of_work(EMERGENCY, BudgetReason::PowerFail) } else { Demand::NONE }
}

/// What a supply that goes on asks for.
pub(crate) fn supply(power: &PowerReading, under_voltage: bool, low: Ratio) -> Demand {
    let sagging = Demand::leaving(SAGGING_LEAVES, HOT, BudgetReason::UnderVoltage);
    let battery = battery(power, low);
    if under_voltage { sagging.and(battery) } else { battery }
}

fn battery(power: &PowerReading, low: Ratio) -> Demand {
    let charge = match power.charge {
        Sensed::Known(charge) => charged(charge.get(), low.get()),
        // How long it lasts is not known, which is not long.
        Sensed::Lost => HOT,
        Sensed::Absent => WARM,
    };
    let used = match power.source {
        PowerSource::Mains => 0.0,
        PowerSource::Battery => charge.max(WARM),
        // A battery that is measured and low is being used, whatever feeds the board at this moment.
        PowerSource::Unknown => match power.charge {
            Sensed::Known(_) if charge >= HOT => charge,
            Sensed::Known(_) | Sensed::Lost | Sensed::Absent => 0.0,
        },
    };
    Demand::of_work(used, BudgetReason::Battery)
}

/// A charge on the scale: full is warm, low is critical.
fn charged(charge: f32, low: f32) -> f32 {
    let hot = (low * HOT_TIMES_LOW).min(f32::midpoint(1.0, low));
    if low >= 1.0 { CRITICAL } else { scale(charge, [1.0, hot, low]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(source: PowerSource, charge: Sensed<f32>) -> PowerReading {
        let charge = match charge {
            Sensed::Known(charge) => Sensed::Known(Ratio::new(charge).unwrap()),
            Sensed::Lost => Sensed::Lost,
            Sensed::Absent => Sensed::Absent,
        };
        PowerReading { source, charge, ..PowerReading::default() }
    }

    #[test]
    fn a_battery_is_warm_and_an_empty_one_critical() {
        use PowerSource::{Battery, Mains, Unknown};
        use Sensed::{Absent, Known, Lost};
        for (source, charge, expect) in [
            (Mains, Known(0.05), 0.0),
            (Mains, Lost, 0.0),
            (Unknown, Absent, 0.0),
            (Unknown, Known(0.9), 0.0),
            (Unknown, Known(0.2), CRITICAL),
            (Battery, Absent, WARM),
            (Battery, Lost, HOT),
            (Battery, Known(1.0), WARM),
            (Battery, Known(0.4), HOT),
            (Battery, Known(0.2), CRITICAL),
        ] {
            let demand = supply(&power(source, charge), false, Ratio::new(0.2).unwrap());
            assert!((demand.used - expect).abs() < 1e-5, "{source:?} {charge:?}: {}", demand.used);
        }
    }

    #[test]
    fn less_charge_never_asks_for_less_and_only_the_end_is_an_emergency() {
        for low in [0.0_f32, 0.05, 0.2, 0.6, 0.9, 1.0] {
            let mut before = f32::MAX;
            for percent in 0..=100_u8 {
                let charge = Sensed::Known(f32::from(percent) / 100.0);
                let low = Ratio::new(low).unwrap();
                let used = supply(&power(PowerSource::Battery, charge), false, low).used;
                assert!(
                    used <= before && (WARM..EMERGENCY).contains(&used),
                    "{percent} % of {low:?}: {used}"
                );
                before = used;
            }
        }
        let failing = PowerReading { failing: true, ..PowerReading::default() };
        let demand = end(&failing);
        assert_eq!((demand.used, demand.reason), (EMERGENCY, BudgetReason::PowerFail));
        let sagging = supply(&PowerReading::default(), true, Ratio::default());
        assert_eq!((sagging.used, sagging.reason), (HOT, BudgetReason::UnderVoltage));
    }
}
