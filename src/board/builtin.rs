//! The board files as shipped, so that the program works without installed data.

/// Name and text of every shipped board file, special boards before generic ones.
pub fn builtin() -> Vec<(&'static str, &'static str)> {
    vec![
        ("raspberry-pi-4", include_str!("../../boards/raspberry-pi-4.toml")),
        ("generic-arm64", include_str!("../../boards/generic-arm64.toml")),
        ("generic-x86-64", include_str!("../../boards/generic-x86-64.toml")),
    ]
}
