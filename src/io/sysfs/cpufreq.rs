//! The clock of the processor, one policy for each group of cores that share one.

use std::path::Path;

use crate::io::sysfs::Sysfs;
use crate::io::sysfs::file::{SysfsError, number, read_if_present};
use crate::units::{Hertz, Ratio};

/// Most policies looked at; big servers have one a core.
const POLICIES_MAX: usize = 256;

/// What is left of the clock when the firmware says that it holds it down and Linux shows nothing of it: the second of
/// the four steps of a Raspberry Pi 4, 1000 of 1500 MHz. Its kernel goes on telling the clock it has asked for.
const UNSEEN: f32 = 2.0 / 3.0;

/// Cores that share a clock. What the kernel does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockPolicy {
    /// The clock at this moment.
    pub now: Option<Hertz>,
    /// The highest that is allowed at this moment.
    pub allowed: Option<Hertz>,
    /// The highest there is.
    pub full: Option<Hertz>,
}

impl Sysfs {
    /// The policies in the order of their numbers; empty where the kernel does not rule the clock.
    pub fn clock_policies(&self) -> Result<Vec<ClockPolicy>, SysfsError> {
        let folders = self.numbered("sys/devices/system/cpu/cpufreq", "policy", POLICIES_MAX)?;
        Ok(folders.iter().map(|folder| policy(folder)).collect())
    }
}

fn policy(folder: &Path) -> ClockPolicy {
    let clock = |file: &str| clock(&folder.join(file)).ok().flatten();
    ClockPolicy {
        now: clock("scaling_cur_freq"),
        allowed: clock("scaling_max_freq"),
        full: clock("cpuinfo_max_freq"),
    }
}

/// A clock in kilohertz; `None` where there is no such file.
fn clock(path: &Path) -> Result<Option<Hertz>, SysfsError> {
    if read_if_present(path)?.is_none() {
        return Ok(None);
    }
    let kilohertz: u32 = number(path, "a clock in kHz")?;
    Ok(Some(Hertz(kilohertz as f32 * 1e3)))
}

/// How fast the slowest cores may run, as a share of their full clock, given whether the clock is held down at this
/// moment; `full` where the kernel does not tell it. `None` where nothing is known.
///
/// A clock below full alone says nothing: an idle processor runs slowly on purpose. While it is held down the present
/// one counts, and where even that shows nothing, a guess.
pub fn clock_share(policies: &[ClockPolicy], full: Option<Hertz>, held: bool) -> Option<Ratio> {
    let share = |policy: &ClockPolicy| {
        let Hertz(full) = policy.full.or(full).filter(|full| full.0 > 0.0)?;
        let allowed = policy.allowed.map_or(1.0, |allowed| allowed.0 / full);
        let now = policy.now.map_or(1.0, |now| now.0 / full);
        Some(if held { allowed.min(now) } else { allowed })
    };
    let slowest = policies.iter().filter_map(share).reduce(f32::min);
    let known = match slowest {
        Some(slowest) if held && slowest >= 1.0 => Some(UNSEEN),
        None if held => Some(UNSEEN),
        known => known,
    };
    known.and_then(|share| Ratio::new(share.min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sysfs::test_tree::tree;

    const POLICY: &str = "sys/devices/system/cpu/cpufreq/policy";

    fn share(now: &str, allowed: &str, held: bool) -> Option<f32> {
        let (_root, sysfs) = tree(&[
            (&format!("{POLICY}0/scaling_cur_freq"), b"1800000\n"),
            (&format!("{POLICY}0/scaling_max_freq"), b"1800000\n"),
            (&format!("{POLICY}0/cpuinfo_max_freq"), b"1800000\n"),
            (&format!("{POLICY}4/scaling_cur_freq"), now.as_bytes()),
            (&format!("{POLICY}4/scaling_max_freq"), allowed.as_bytes()),
            (&format!("{POLICY}4/cpuinfo_max_freq"), b"1500000\n"),
        ]);
        let policies = sysfs.clock_policies().unwrap();
        clock_share(&policies, None, held).map(Ratio::get)
    }

    #[test]
    fn the_slowest_group_of_cores_tells_and_idling_is_not_slow() {
        for (now, allowed, held, expect) in [
            ("1500000", "1500000", false, 1.0),
            ("600000", "1500000", false, 1.0),
            ("600000", "1500000", true, 0.4),
            ("1000000", "1200000", true, 2.0 / 3.0),
            ("600000", "1200000", false, 0.8),
            ("1500000", "1500000", true, UNSEEN),
            ("9000000", "1500000", false, 1.0),
            ("garbage", "", false, 1.0),
        ] {
            let found = share(now, allowed, held).unwrap();
            assert!((found - expect).abs() < 1e-6, "{now} of {allowed}, {held}: {found}");
        }
    }

    #[test]
    fn without_policies_nothing_is_known_unless_the_clock_is_held_down() {
        let policies = tree(&[]).1.clock_policies().unwrap();
        assert_eq!(clock_share(&policies, Some(Hertz(1.5e9)), false), None);
        assert_eq!(clock_share(&policies, None, true), Ratio::new(UNSEEN));
        let only_now = [ClockPolicy { now: Some(Hertz(6e8)), ..ClockPolicy::default() }];
        assert_eq!(clock_share(&only_now, Some(Hertz(1.5e9)), true), Ratio::new(0.4));
        assert_eq!(clock_share(&only_now, None, false), None);
    }
}
