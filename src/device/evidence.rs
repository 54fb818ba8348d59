//! What the sensors with a role say together: what the governor hears of cabinet, supply and battery.

use crate::board::{SensorPlan, SensorRole};
use crate::flow::{HardwareReading, PowerReading, PowerSource, Sensed};
use crate::units::{Celsius, Ratio, Volts, Watts};

/// A battery gives less than this, in amperes, while mains feed the board: the error of an INA219 at 0.1 ohm.
const DISCHARGE_MIN: f32 = 0.02;

/// The latest word of every sensor.
#[derive(Clone, Debug)]
pub struct Evidence(Vec<Witness>);

#[derive(Clone, Debug)]
struct Witness {
    role: SensorRole,
    said: Sensed<[f32; 3]>,
    /// What a battery said last of the source: its silence turns no battery into mains.
    source: PowerSource,
}

impl Evidence {
    /// Nothing has been said.
    pub fn new(plans: &[SensorPlan]) -> Self {
        Self(
            plans
                .iter()
                .map(|plan| Witness { role: plan.role, said: Sensed::Absent, source: PowerSource::Unknown })
                .collect(),
        )
    }

    /// A sensor says this.
    pub fn hear(&mut self, place: usize, values: [f32; 3]) {
        self.set(place, Sensed::Known(values));
        if let Some(witness) = self.0.get_mut(place) {
            let [_, amperes, _] = values;
            witness.source = if amperes > DISCHARGE_MIN { PowerSource::Battery } else { PowerSource::Mains };
        }
    }

    /// A sensor is at fault.
    pub fn lose(&mut self, place: usize) {
        self.set(place, Sensed::Lost);
    }

    fn set(&mut self, place: usize, said: Sensed<[f32; 3]>) {
        if let Some(witness) = self.0.get_mut(place) {
            witness.said = said;
        }
    }

    /// What the governor hears; the power-fail input is not among the sensors.
    pub fn reading(&self) -> HardwareReading {
        let mut reading = HardwareReading::default();
        let of_battery = |witness: &&Witness| matches!(witness.role, SensorRole::Battery { .. });
        let others = self.0.iter().filter(|witness| !of_battery(witness));
        // Batteries last: their word counts before that of the supply, whatever the order of the plan.
        for witness in others.chain(self.0.iter().filter(of_battery)) {
            match witness.role {
                SensorRole::Stream => {}
                SensorRole::Cabinet => {
                    let temperature = witness.said.map(|[celsius, ..]| Celsius(celsius));
                    reading.cabinet = warmer(reading.cabinet, temperature);
                }
                SensorRole::Supply => {
                    reading.power.voltage = witness.said.map(|[volts, ..]| Volts(volts));
                    reading.power.draw = witness.said.map(|[.., watts]| Watts(watts.abs()));
                }
                SensorRole::Battery { empty, full, .. } => {
                    reading.power = battery(reading.power, witness.said, (empty, full));
                    reading.power.source = witness.source;
                }
            }
        }
        reading
    }
}

/// The warmer of two sensors; one that is lost is covered by one that is not.
fn warmer(one: Sensed<Celsius>, other: Sensed<Celsius>) -> Sensed<Celsius> {
    match (one, other) {
        (Sensed::Known(one), Sensed::Known(other)) => Sensed::Known(if one > other { one } else { other }),
        (Sensed::Known(known), _) | (_, Sensed::Known(known)) => Sensed::Known(known),
        (Sensed::Lost, _) | (_, Sensed::Lost) => Sensed::Lost,
        (Sensed::Absent, Sensed::Absent) => Sensed::Absent,
    }
}

/// A battery's word: its voltage counts before that of the supply. Current out of it is positive: then it feeds the
/// board.
fn battery(power: PowerReading, said: Sensed<[f32; 3]>, (empty, full): (Volts, Volts)) -> PowerReading {
    let charge = |volts: f32| (volts - empty.0) / (full.0 - empty.0).max(0.01);
    let Sensed::Known([volts, amperes, watts]) = said else {
        let lost = said.map(|_| Volts::default());
        return PowerReading { voltage: lost, charge: said.map(|_| Ratio::default()), ..power };
    };
    let discharging = amperes > DISCHARGE_MIN;
    let draw = match power.draw {
        Sensed::Absent | Sensed::Lost if discharging => Sensed::Known(Watts(watts)),
        told @ (Sensed::Absent | Sensed::Lost | Sensed::Known(_)) => told,
    };
    PowerReading {
        charge: Ratio::new(charge(volts).clamp(0.0, 1.0)).map_or(Sensed::Lost, Sensed::Known),
        voltage: Sensed::Known(Volts(volts)),
        draw,
        ..power
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Driver;

    fn battery() -> SensorRole {
        SensorRole::Battery { empty: Volts(10.5), full: Volts(12.5), low: Ratio::of(1, 5) }
    }

    fn evidence(roles: &[SensorRole]) -> Evidence {
        let plan = |&role: &SensorRole| SensorPlan {
            name: "it".to_owned(),
            driver: Driver::Ina219,
            bus: 1,
            address: 0x40,
            role,
            shunt: 0.1,
            rate: 1.0,
            optional: false,
        };
        Evidence::new(&roles.iter().map(plan).collect::<Vec<_>>())
    }

    #[test]
    fn the_warmest_cabinet_sensor_counts_and_a_lost_one_is_covered_by_another() {
        let mut evidence = evidence(&[SensorRole::Cabinet, SensorRole::Cabinet, SensorRole::Stream]);
        assert_eq!(evidence.reading().cabinet, Sensed::Absent);
        evidence.lose(0);
        assert_eq!(evidence.reading().cabinet, Sensed::Lost);
        evidence.hear(1, [41.0, 0.0, 0.0]);
        evidence.hear(2, [99.0, 0.0, 0.0]);
        assert_eq!(evidence.reading().cabinet, Sensed::Known(Celsius(41.0)));
        evidence.hear(0, [43.5, 0.0, 0.0]);
        assert_eq!(evidence.reading().cabinet, Sensed::Known(Celsius(43.5)));
        evidence.lose(0);
        evidence.lose(1);
        assert_eq!(evidence.reading().cabinet, Sensed::Lost);
    }

    #[test]
    fn a_battery_feeds_the_board_while_current_flows_out_of_it() {
        let mut evidence = evidence(&[battery()]);
        evidence.hear(0, [11.5, 0.8, 9.2]);
        let power = evidence.reading().power;
        assert_eq!((power.source, power.voltage), (PowerSource::Battery, Sensed::Known(Volts(11.5))));
        assert_eq!((power.charge, power.draw), (Sensed::Known(Ratio::of(1, 2)), Sensed::Known(Watts(9.2))));
        evidence.hear(0, [12.9, -0.3, -3.9]);
        let power = evidence.reading().power;
        assert_eq!((power.source, power.draw), (PowerSource::Mains, Sensed::Absent));
        assert_eq!(power.charge, Sensed::Known(Ratio::of(1, 1)));
        evidence.lose(0);
        let power = evidence.reading().power;
        assert_eq!((power.charge, power.source), (Sensed::Lost, PowerSource::Mains));
        evidence.hear(0, [11.5, 0.8, 9.2]);
        evidence.lose(0);
        assert_eq!(evidence.reading().power.source, PowerSource::Battery, "silence is no mains");
    }

    #[test]
    fn a_supply_tells_what_the_board_draws_even_beside_a_battery() {
        for (supply, roles) in [(0, [SensorRole::Supply, battery()]), (1, [battery(), SensorRole::Supply])] {
            let mut evidence = evidence(&roles);
            evidence.hear(supply, [5.1, 0.9, 4.6]);
            evidence.hear(1 - supply, [11.0, 0.5, 5.5]);
            let power = evidence.reading().power;
            let expected = (Sensed::Known(Watts(4.6)), Sensed::Known(Volts(11.0)));
            assert_eq!((power.draw, power.voltage), expected, "the supply at {supply}");
        }
    }
}
