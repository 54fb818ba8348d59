//! Which board this is, and what of it the governor goes by.

use crate::board::{HardwarePlan, Profile, SensorRole, builtin, recognise};
use crate::io::admission::chain;
use crate::io::sysfs::{Sysfs, SysfsError};
use crate::units::Ratio;

/// The profile of a board by name, or of the board this runs on.
///
/// # Errors
/// When the name is unknown, with the known ones.
pub fn board_profile(name: Option<&str>, sysfs: &Sysfs) -> Result<Profile, String> {
    let mut boards = Vec::new();
    for (file, text) in builtin() {
        let board = Profile::parse(text).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            format!("board {file}: {}", faults.join("; "))
        })?;
        boards.push(board);
    }
    let known = || boards.iter().map(|board| board.name.as_str()).collect::<Vec<_>>().join(" | ");
    if let Some(name) = name {
        let found = boards.iter().find(|board| board.name == name).cloned();
        return found.ok_or_else(|| {
            format!("gateway.board: no board is called {name:?}; allowed: auto | {}", known())
        });
    }
    let unreadable = |error: SysfsError| {
        format!("recognise the board: {}; name it in gateway.board: {}", chain(&error), known())
    };
    let compatible = sysfs.compatible().map_err(unreadable)?;
    let product = sysfs.product_name().map_err(unreadable)?;
    let found = recognise(&compatible, product.as_deref(), std::env::consts::ARCH, &boards);
    found
        .map(|found| found.profile.clone())
        .ok_or_else(|| format!("gateway.board: this board is not known; allowed: {}", known()))
}

/// The charge of the battery below which only alarms are judged; of several the highest. `None` without a battery.
pub(in crate::runtime::governor) fn battery_low(hardware: &HardwarePlan) -> Option<Ratio> {
    let lows = hardware.sensors.iter().filter_map(|sensor| match sensor.role {
        SensorRole::Battery { low, .. } => Some(low.get()),
        SensorRole::Stream | SensorRole::Cabinet | SensorRole::Supply => None,
    });
    lows.reduce(f32::max).and_then(Ratio::new)
}
