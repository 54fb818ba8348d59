//! Topic filters as MQTT 5 section 4.7 defines them, and what their wildcards match.

use std::fmt;

/// A valid topic filter: at most 256 bytes and 16 levels, wildcards only as whole levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFilter {
    /// The full text, with `$share/group/` if it is shared.
    text: String,
    /// First byte of the filter proper.
    start: usize,
}

/// Why a text is not a topic filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nothing is there.
    #[error("topic filter is empty")]
    Empty,
    /// Too many bytes.
    #[error("topic filter has {found} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes of the text.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Too many levels.
    #[error("topic filter {filter:?} has more than {max} levels")]
    TooDeep {
        /// The text.
        filter: String,
        /// Levels allowed.
        max: usize,
    },
    /// A control character, NUL among them.
    #[error("topic filter {filter:?} contains a control character")]
    Control {
        /// The text.
        filter: String,
    },
    /// A wildcard beside other characters of its level, or `#` before the last level.
    #[error("topic filter {filter:?}: '+' must be a whole level and '#' the whole last level")]
    Wildcard {
        /// The text.
        filter: String,
    },
    /// `$share` without a group or without a filter.
    #[error("topic filter {filter:?}: a shared one is written $share/group/filter")]
    Share {
        /// The text.
        filter: String,
    },
}

impl TopicFilter {
    /// Bytes of a filter, group included. A topic is at most as long by default.
    pub const BYTES_MAX: usize = 256;
    /// Levels of a filter proper. Brokers overflowed their stacks on deep ones.
    pub const LEVELS_MAX: usize = 16;

    /// Reads a filter such as `plant/+/telemetry` or `$share/gateways/plant/#`.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let filter = || text.to_owned();
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(FilterError::TooLong { found: text.len(), max: Self::BYTES_MAX });
        }
        if text.chars().any(char::is_control) {
            return Err(FilterError::Control { filter: filter() });
        }
        let proper = match text.strip_prefix("$share/") {
            Some(shared) => shared
                .split_once('/')
                .filter(|(group, proper)| {
                    !group.is_empty() && !group.contains(['+', '#']) && !proper.is_empty()
                })
                .map(|(_, proper)| proper)
                .ok_or_else(|| FilterError::Share { filter: filter() })?,
            None if text == "$share" => return Err(FilterError::Share { filter: filter() }),
            None => text,
        };
        if proper.split('/').count() > Self::LEVELS_MAX {
            return Err(FilterError::TooDeep { filter: filter(), max: Self::LEVELS_MAX });
        }
        let mut levels = proper.split('/').peekable();
        while let Some(level) = levels.next() {
            let whole = level.len() == 1;
            if (level.contains('+') && !whole) || (level.contains('#') && (!whole || levels.peek().is_some()))
            {
                return Err(FilterError::Wildcard { filter: filter() });
            }
        }
        Ok(Self { text: filter(), start: text.len() - proper.len() })
    }

    /// The text to subscribe with.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether several gateways split the messages of this subscription.
    pub fn is_shared(&self) -> bool {
        self.start > 0
    }

    /// Whether a topic matches. If so, `asset` is set to what the wildcards matched, joined by `/`.
    pub fn matches(&self, topic: &str, asset: &mut String) -> bool {
        asset.clear();
        if topic.starts_with('$') && self.starts_wild() {
            return false;
        }
        let mut caught = 0;
        let mut catch = |level: &str| {
            if caught > 0 {
                asset.push('/');
            }
            asset.push_str(level);
            caught += 1;
        };
        let mut levels = topic.split('/');
        for wanted in self.proper().split('/') {
            match wanted {
                "#" => {
                    levels.for_each(&mut catch);
                    return true;
                }
                "+" => match levels.next() {
                    Some(level) => catch(level),
                    None => return false,
                },
                literal if levels.next() == Some(literal) => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that `other` matches is matched by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        if other.proper().starts_with('$') && self.starts_wild() {
            return false;
        }
        let mut others = other.proper().split('/');
        for level in self.proper().split('/') {
            match (level, others.next()) {
                ("#", _) => return true,
                ("+", Some(wanted)) if wanted != "#" => {}
                (literal, Some(wanted)) if literal == wanted => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    fn proper(&self) -> &str {
        self.text.get(self.start..).unwrap_or_default()
    }

    fn starts_wild(&self) -> bool {
        self.proper().starts_with(['+', '#'])
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(filter: &str, topic: &str) -> Option<String> {
        let mut asset = String::from("left over");
        TopicFilter::parse(filter).unwrap().matches(topic, &mut asset).then_some(asset)
    }

    #[test]
    fn wildcards_match_as_mqtt_says_and_name_the_asset() {
        for (filter, topic, asset) in [
            ("plant/a/x", "plant/a/x", Some("")),
            ("plant/+/x", "plant/pump-1/x", Some("pump-1")),
            ("plant/+/+/x", "plant/hall/pump/x", Some("hall/pump")),
            ("plant/#", "plant/a/b/c", Some("a/b/c")),
            ("plant/#", "plant", Some("")),
            ("+/x/#", "a/x/b", Some("a/b")),
            ("#", "a/b", Some("a/b")),
            ("+/+", "/b", Some("/b")),
            ("plant/+", "plant/", Some("")),
            ("$share/group/plant/+", "plant/a", Some("a")),
            ("$SYS/#", "$SYS/load", Some("load")),
            ("plant/+/x", "plant/x", None),
            ("plant/+", "plant/a/b", None),
            ("plant/+", "plant", None),
            ("plant/a", "plant/a/b", None),
            ("plant/a/b", "plant/a", None),
            ("Plant/a", "plant/a", None),
            ("#", "$SYS/load", None),
            ("+/load", "$SYS/load", None),
        ] {
            assert_eq!(caught(filter, topic).as_deref(), asset, "{filter} against {topic}");
        }
    }

    #[test]
    fn a_filter_that_mqtt_forbids_is_refused() {
        let deep = vec!["a"; 17].join("/");
        let long = "a".repeat(257);
        for bad in [
            "",
            "a/#/b",
            "a+/b",
            "a/b#",
            "##",
            "a/\0",
            "a\nb",
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/+/a",
            "$share/g/a/#/b",
            &deep,
            &long,
        ] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_full_text_is_kept_for_the_subscription() {
        let filter = TopicFilter::parse("$share/g/a/+").unwrap();
        assert_eq!(filter.to_string(), "$share/g/a/+");
        assert!(filter.is_shared());
        assert!(!TopicFilter::parse("a/+").unwrap().is_shared());
    }

    #[test]
    fn a_filter_covers_those_that_match_less() {
        for (wide, narrow, expect) in [
            ("a/#", "a/b", true),
            ("a/#", "a", true),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("#", "$SYS/x", false),
            ("a/+/c", "a/b/d", false),
            ("a/b", "a/b", true),
            ("a", "a/b", false),
        ] {
            let [wide, narrow] = [wide, narrow].map(|text| TopicFilter::parse(text).unwrap());
            assert_eq!(wide.covers(&narrow), expect, "{wide} over {narrow}");
        }
    }
}
