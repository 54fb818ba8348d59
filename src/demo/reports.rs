//! Reports in the order in which they are written.

/// Picks the reports of one stream. Every sentence comes once before any comes again.
pub(in crate::demo) struct Reports {
    sentences: &'static [&'static str],
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
    pub(in crate::demo) fn new(sentences: &'static [&'static str], seed: u64) -> Self {
        Self { sentences, random: fastrand::Rng::with_seed(seed), order: Vec::new(), written: 0 }
    }

    /// The next one.
    pub(in crate::demo) fn next_report(&mut self) -> Written {
        if self.order.is_empty() {
            self.order.extend(self.sentences);
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
    use crate::demo::sentences::WORK_ORDERS;

    #[test]
    fn every_sentence_comes_once_in_an_order_the_seed_decides() {
        let written = |seed| {
            let mut reports = Reports::new(&WORK_ORDERS, seed);
            (0..WORK_ORDERS.len()).map(|_| reports.next_report()).collect::<Vec<_>>()
        };
        assert_eq!(written(3), written(3));
        assert_ne!(written(3), written(4));
        let texts: BTreeSet<&str> = written(3).iter().map(|report| report.text).collect();
        assert_eq!(texts.len(), WORK_ORDERS.len());
    }
}
