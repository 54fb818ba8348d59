//! The kinds of identifiers that rules find.

/// A kind of identifier with a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKind {
    /// International bank account number.
    Iban,
    /// Number of a payment card.
    Card,
    /// IMO number of a ship.
    Imo,
    /// Maritime mobile service identity.
    Mmsi,
    /// Telephone number.
    Phone,
    /// E-mail address.
    Email,
    /// Internet address, version 4 or 6.
    Ip,
    /// Hardware address of a network interface.
    Mac,
    /// Latitude and longitude.
    Coordinates,
}

impl RuleKind {
    /// All kinds; of two matches of the same length the kind that comes first wins.
    pub const ALL: [Self; 9] = [
        Self::Iban,
        Self::Card,
        Self::Imo,
        Self::Mmsi,
        Self::Mac,
        Self::Ip,
        Self::Email,
        Self::Coordinates,
        Self::Phone,
    ];

    /// The kind a manifest calls by this word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its word in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iban => "iban",
            Self::Card => "card",
            Self::Imo => "imo",
            Self::Mmsi => "mmsi",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Mac => "mac",
            Self::Coordinates => "coordinates",
        }
    }

    /// The entity type it is reported as; a model that tags the same type uses the same word.
    pub fn entity_type(self) -> &'static str {
        match self {
            Self::Iban => "iban_code",
            Self::Card => "credit_card",
            Self::Imo => "imo",
            Self::Mmsi => "mmsi",
            Self::Phone => "phone_number",
            Self::Email => "email_address",
            Self::Ip => "ip_address",
            Self::Mac => "mac",
            Self::Coordinates => "coordinates",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in RuleKind::ALL {
            assert_eq!(RuleKind::named(kind.name()), Some(kind));
        }
        assert_eq!(RuleKind::named("ssn"), None);
    }
}
