//! Which features of which channels make a vector, in which order.

use std::sync::Arc;

use crate::features::names::{Feature, FeatureError, PLAIN, matches, nearest, split};

/// The most features in one layout. The shipped models use about a hundred; `FeatureVector` counts in 16 bits.
pub const FEATURES_MAX: usize = 4096;

/// Channel names shown in a message before it ends in dots.
const NAMES_SHOWN_MAX: usize = 32;

/// Features of the channels of one stream in a fixed order.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureLayout {
    names: Vec<Arc<str>>,
    groups: Vec<Group>,
}

/// The features of one channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// Index of the channel: `Window::series` has the same order.
    pub(crate) channel: usize,
    /// Position in the vector and what stands there.
    pub(crate) items: Vec<(usize, Feature)>,
}

impl FeatureLayout {
    /// Makes a layout from patterns such as `vs1.rms`, `*.mean`, `ts*.slope`, `vs1.*` and `vs1.band(2,10)`.
    ///
    /// `channels` are the channels of the stream in the order of `Window::series`. A pattern with stars lists
    /// channels in that order, `channel.*` all features without parameters. What is named twice appears once, at its
    /// first place.
    ///
    /// # Errors
    /// On a pattern that matches no channel or no feature, with the nearest name and what there is.
    pub fn resolve(patterns: &[String], channels: &[String]) -> Result<Self, FeatureError> {
        let mut layout = Self { names: Vec::new(), groups: Vec::new() };
        for pattern in patterns {
            let (channel, feature) =
                split(pattern).ok_or_else(|| FeatureError::Malformed { pattern: pattern.clone() })?;
            let single;
            let features: &[Feature] = if feature == "*" {
                &PLAIN.map(|(_, feature)| feature)
            } else {
                single = [Feature::parse(feature, pattern)?];
                &single
            };
            let mut found = false;
            for (index, name) in channels.iter().enumerate().filter(|(_, name)| matches(channel, name)) {
                found = true;
                for feature in features {
                    layout.add(index, name, *feature)?;
                }
            }
            if !found {
                return Err(unknown_channel(pattern, channel, channels));
            }
        }
        if layout.names.is_empty() { Err(FeatureError::Empty) } else { Ok(layout) }
    }

    /// Names in the order of the vector: `channel.feature`, parameters in their shortest spelling.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Number of features.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never true: an empty list is refused.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Position of a feature by its name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|own| **own == *name)
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    fn add(&mut self, channel: usize, name: &str, feature: Feature) -> Result<(), FeatureError> {
        let position = self.names.len();
        let full = FeatureError::TooMany { limit: FEATURES_MAX };
        match self.groups.iter_mut().find(|group| group.channel == channel) {
            Some(group) if group.items.iter().any(|(_, own)| *own == feature) => return Ok(()),
            Some(_) | None if position == FEATURES_MAX => return Err(full),
            Some(group) => group.items.push((position, feature)),
            None => self.groups.push(Group { channel, items: vec![(position, feature)] }),
        }
        self.names.push(format!("{name}.{}", feature.name()).into());
        Ok(())
    }
}

fn unknown_channel(pattern: &str, channel: &str, channels: &[String]) -> FeatureError {
    let mut known = channels.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if channels.len() > NAMES_SHOWN_MAX {
        known.push_str(", …");
    }
    FeatureError::UnknownChannel {
        pattern: pattern.to_owned(),
        channel: channel.to_owned(),
        nearest: nearest(channel, channels.iter().map(String::as_str)).to_owned(),
        known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    fn check(patterns: &[&str], expect: Result<&[&str], &str>) {
        let channels = strings(&["ts1", "ts2", "motor.current"]);
        match (FeatureLayout::resolve(&strings(patterns), &channels), expect) {
            (Ok(layout), Ok(expect)) => {
                assert_eq!(layout.names().iter().map(|name| &**name).collect::<Vec<_>>(), expect);
                assert_eq!(layout.len(), expect.len());
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{error} lacks {part}");
            }
            (Ok(_), Err(part)) => panic!("{patterns:?} was accepted, expected {part}"),
            (Err(error), Ok(_)) => panic!("{patterns:?}: {error}"),
        }
    }

    #[test]
    fn patterns_list_features_in_their_own_order_and_channels_in_the_order_of_the_stream() {
        check(&["ts2.mean", "ts1.rms"], Ok(&["ts2.mean", "ts1.rms"]));
        check(&["*.mean"], Ok(&["ts1.mean", "ts2.mean", "motor.current.mean"]));
        check(&["ts*.q(0.5)"], Ok(&["ts1.q(0.5)", "ts2.q(0.5)"]));
        check(&["ts2.mean", "*.mean"], Ok(&["ts2.mean", "ts1.mean", "motor.current.mean"]));
        check(&["ts1.band(2.0, 10)", "ts1.band(2,10)"], Ok(&["ts1.band(2,10)"]));
    }

    #[test]
    fn a_star_for_the_feature_lists_all_without_parameters() {
        let layout = FeatureLayout::resolve(&strings(&["ts1.*"]), &strings(&["ts1"])).unwrap();
        assert_eq!(layout.len(), 14);
        assert_eq!(layout.position("ts1.spectral_centroid"), Some(13));
        assert_eq!(layout.position("ts1.band(2,10)"), None);
    }

    #[test]
    fn what_does_not_exist_is_answered_with_the_nearest() {
        check(&[], Err("empty"));
        check(&["mean"], Err("channel.feature"));
        check(&["ts3.mean"], Err("did you mean \"ts1\"? channels are ts1, ts2, motor.current"));
        check(&["ts1.meen"], Err("did you mean \"mean\""));
        check(&["x*.mean"], Err("no channel \"x*\""));
    }

    #[test]
    fn more_features_than_a_vector_may_hold_are_refused() {
        let channels: Vec<String> = (0..300).map(|n| format!("c{n}")).collect();
        let error = FeatureLayout::resolve(&strings(&["*.*"]), &channels).unwrap_err();
        assert_eq!(error, FeatureError::TooMany { limit: FEATURES_MAX });
    }
}
