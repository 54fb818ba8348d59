//! The board files as shipped, so that the program works without installed data.

/// Name and text of every shipped board file, special boards before generic ones. A test keeps the list equal to the folder.
pub fn builtin() -> Vec<(&'static str, &'static str)> {
    vec![
        ("jetson-nano", include_str!("../../boards/jetson-nano.toml")),
        ("jetson-orin-nano", include_str!("../../boards/jetson-orin-nano.toml")),
        ("raspberry-pi-3", include_str!("../../boards/raspberry-pi-3.toml")),
        ("raspberry-pi-4", include_str!("../../boards/raspberry-pi-4.toml")),
        ("raspberry-pi-5", include_str!("../../boards/raspberry-pi-5.toml")),
        ("raspberry-pi-cm4", include_str!("../../boards/raspberry-pi-cm4.toml")),
        ("raspberry-pi-zero-2-w", include_str!("../../boards/raspberry-pi-zero-2-w.toml")),
        ("generic-arm64", include_str!("../../boards/generic-arm64.toml")),
        ("generic-x86-64", include_str!("../../boards/generic-x86-64.toml")),
    ]
}
