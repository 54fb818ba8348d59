//! Which board this is.

use crate::board::profile::Profile;

/// A board that was recognised, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recognised<'a> {
    /// The board.
    pub profile: &'a Profile,
    /// What told it.
    pub basis: Basis,
}

/// What told which board it is. The surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The device tree.
    DeviceTree,
    /// The product name in DMI.
    Dmi,
    /// Only the processor.
    Processor,
}

impl Basis {
    /// The words used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceTree => "device tree",
            Self::Dmi => "product name",
            Self::Processor => "processor",
        }
    }
}

/// Finds the board by its device tree, then its DMI product name, then its processor.
///
/// `compatible` is in the order of the device tree: the most specific first, and the earliest match wins. `arch` is
/// in the words of `std::env::consts::ARCH`. `None`: nothing known runs here.
pub fn recognise<'a>(
    compatible: &[String],
    dmi: Option<&str>,
    arch: &str,
    boards: &'a [Profile],
) -> Option<Recognised<'a>> {
    let by_tree = compatible
        .iter()
        .find_map(|text| boards.iter().find(|board| board.recognise.compatible.contains(text)));
    if let Some(profile) = by_tree {
        return Some(Recognised { profile, basis: Basis::DeviceTree });
    }
    let named = |board: &&Profile| board.recognise.dmi.iter().any(|name| Some(name.as_str()) == dmi);
    if let Some(profile) = boards.iter().find(named) {
        return Some(Recognised { profile, basis: Basis::Dmi });
    }
    let alike = |board: &&Profile| board.recognise.arch.as_deref() == Some(arch);
    boards.iter().find(alike).map(|profile| Recognised { profile, basis: Basis::Processor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::builtin;

    /// Compatible texts, product name, processor; name of the board and what told it.
    type Case<'a> = (&'a [&'a str], Option<&'a str>, &'a str, Option<(&'a str, Basis)>);

    #[test]
    fn the_most_specific_sign_decides() {
        let mut boards: Vec<Profile> =
            builtin().into_iter().map(|(_, text)| Profile::parse(text).unwrap()).collect();
        let mut box_pc = boards.last().unwrap().clone();
        box_pc.name = "box-pc".to_owned();
        box_pc.recognise.arch = None;
        box_pc.recognise.dmi = vec!["Box PC 3".to_owned()];
        let mut chip = boards[1].clone();
        chip.name = "any-bcm2711".to_owned();
        chip.recognise.arch = None;
        chip.recognise.compatible = vec!["brcm,bcm2711".to_owned()];
        boards.insert(0, chip);
        boards.push(box_pc);
        let cases: &[Case<'_>] = &[
            (
                &["raspberrypi,4-model-b", "brcm,bcm2711"],
                None,
                "aarch64",
                Some(("raspberry-pi-4", Basis::DeviceTree)),
            ),
            (&["raspberrypi,400", "brcm,bcm2711"], None, "aarch64", Some(("any-bcm2711", Basis::DeviceTree))),
            (&["linux,dummy-virt"], None, "aarch64", Some(("generic-arm64", Basis::Processor))),
            (&[], Some("Box PC 3"), "x86_64", Some(("box-pc", Basis::Dmi))),
            (&[], Some("Some PC"), "x86_64", Some(("generic-x86-64", Basis::Processor))),
            (&[], None, "riscv64", None),
        ];
        for (compatible, dmi, arch, expect) in cases {
            let compatible: Vec<String> = compatible.iter().map(|&text| text.to_owned()).collect();
            let found = recognise(&compatible, *dmi, arch, &boards);
            let found = found.map(|found| (found.profile.name.as_str(), found.basis));
            assert_eq!(found, *expect, "{compatible:?} {dmi:?} {arch}");
        }
    }
}
