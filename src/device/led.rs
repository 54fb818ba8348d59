//! The rhythms of the status light.

use std::time::Duration;

use crate::device::seam::LedPattern;

/// One round of a rhythm: milliseconds light, dark, light, dark …
///
/// | rhythm | looks like | means |
/// |---|---|---|
/// | off | dark | the gateway is not running |
/// | up | one short blink a second | all is well |
/// | degraded | two short blinks a second | it works, something needs a person |
/// | alarm | fast | an alarm stands |
/// | paused | long, with a short gap | an operator has paused streams |
fn round(pattern: LedPattern) -> &'static [u64] {
    match pattern {
        LedPattern::Off => &[0, 1_000],
        LedPattern::Up => &[60, 940],
        LedPattern::Degraded => &[60, 200, 60, 680],
        LedPattern::Alarm => &[100, 100],
        LedPattern::Paused => &[800, 200],
    }
}

impl LedPattern {
    /// Whether the light is on this long after the rhythm began, and for how long it stays so.
    pub fn lit(self, since: Duration) -> (bool, Duration) {
        let round = round(self);
        let length: u64 = round.iter().sum();
        let mut left = u64::try_from(since.as_millis()).unwrap_or(0) % length.max(1);
        let mut lit = true;
        for &span in round {
            if left < span {
                return (lit, Duration::from_millis(span - left));
            }
            left -= span;
            lit = !lit;
        }
        (false, Duration::from_millis(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blinks of two seconds, and milliseconds of light.
    fn seen(pattern: LedPattern) -> (u32, u64) {
        let (mut at, mut blinks, mut light) = (Duration::ZERO, 0, 0);
        while at < Duration::from_secs(2) {
            let (lit, stays) = pattern.lit(at);
            if lit {
                blinks += 1;
                light += u64::try_from(stays.as_millis()).unwrap();
            }
            at += stays;
        }
        (blinks, light)
    }

    #[test]
    fn each_rhythm_can_be_told_from_the_others_by_eye() {
        assert_eq!(seen(LedPattern::Off), (0, 0));
        assert_eq!(seen(LedPattern::Up), (2, 120));
        assert_eq!(seen(LedPattern::Degraded), (4, 240));
        assert_eq!(seen(LedPattern::Alarm), (10, 1_000));
        assert_eq!(seen(LedPattern::Paused), (2, 1_600));
    }
}
