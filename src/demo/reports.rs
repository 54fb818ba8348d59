//! Work-order reports as people write them: short, in a hurry, with an abbreviation now and then.

/// What happened. Written for this demonstration.
const SENTENCES: [&str; 40] = [
    "hyd pump leaking oil at shaft seal",
    "hose on lift cylinder weeping, needs new fitting",
    "oil leak under power pack, tray half full",
    "gland packing leaking again",
    "bearing on fan motor very noisy",
    "squealing noise from belt drive",
    "knocking sound in gearbox when loaded",
    "pump 2 vibrating badly at full speed",
    "excessive vibration on cooling tower fan",
    "coupling guard shaking loose",
    "cooler running hot, fins full of dust",
    "motor overheating after 20 min",
    "gearbox oil temp too high",
    "strainer blocked with weed",
    "suction filter plugged, no flow",
    "chute choked with wet material",
    "drain line blocked up",
    "bilge pump will not start",
    "engine failed to start this morning",
    "compressor wont start, no fault shown",
    "crane slew motor seized",
    "conveyor tripped on overload twice today",
    "breaker tripping, suspect earth fault",
    "short circuit in junction box, cable chafed",
    "no power to control panel",
    "blown fuse on navigation lights",
    "level sensor giving false reading",
    "pressure gauge reads zero, pump is running",
    "temp indicator erratic, check wiring",
    "bracket cracked at weld",
    "handrail rusted through on aft deck",
    "guard bent and bolts missing",
    "liner worn through, needs replacing",
    "low pressure on hydraulic circuit 1",
    "fan not keeping up, flow too low",
    "valve stuck half open",
    "brake does not hold",
    "grease line broken off",
    "water in lube oil, milky",
    "weekly inspection, ok",
];

/// Picks reports. Every sentence comes once before any comes again.
pub(in crate::demo) struct Reports {
    random: fastrand::Rng,
    order: Vec<&'static str>,
    written: u32,
}

/// One report.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::demo) struct Written {
    /// The plant's number of it.
    pub(in crate::demo) number: String,
    /// What it says.
    pub(in crate::demo) text: &'static str,
}

impl Reports {
    /// The same seed makes the same reports.
    pub(in crate::demo) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), order: Vec::new(), written: 0 }
    }

    /// The next one.
    pub(in crate::demo) fn next_report(&mut self) -> Written {
        if self.order.is_empty() {
            self.order.extend(SENTENCES);
            self.random.shuffle(&mut self.order);
        }
        self.written += 1;
        Written { number: format!("WO-{}", 4_000 + self.written), text: self.order.pop().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_sentence_comes_once_in_an_order_the_seed_decides() {
        let written = |seed| {
            let mut reports = Reports::new(seed);
            (0..SENTENCES.len()).map(|_| reports.next_report()).collect::<Vec<_>>()
        };
        assert_eq!(written(3), written(3));
        assert_ne!(written(3), written(4));
        let texts: BTreeSet<&str> = written(3).iter().map(|report| report.text).collect();
        assert_eq!(texts.len(), SENTENCES.len());
    }
}
