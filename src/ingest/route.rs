//! Topic to streams and sources, remembered for the topics seen before.

use std::collections::{BTreeSet, HashMap};

use crate::flow::AssetId;
use crate::ingest::{Limits, TopicFilter};
use crate::tally::DropReason;

/// One stream that a topic belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Index into the streams ingest was given.
    pub(crate) stream: usize,
    /// The source; `None` if there are too many already.
    pub(crate) asset: Option<AssetId>,
}

/// Where in the list of targets those of a topic lie.
#[derive(Clone, Copy)]
struct Route {
    first: usize,
    count: usize,
}

/// Finds the targets of a topic. Grows with the distinct sources, up to the limit, and then no more.
pub(crate) struct Router {
    filters: Vec<TopicFilter>,
    limits: Limits,
    /// Topics seen before. Keyed with the standard library's seeded hash: topics are chosen by strangers.
    routes: HashMap<Box<[u8]>, Route>,
    /// Targets of the remembered topics, one run per topic.
    targets: Vec<Target>,
    /// Pairs of stream and source.
    series: BTreeSet<(usize, AssetId)>,
    /// How many sources each stream has.
    sources: Vec<usize>,
    assets: HashMap<Box<str>, AssetId>,
    names: Vec<Box<str>>,
    /// Targets of a topic that is not remembered.
    passing: Vec<Target>,
    asset: String,
}

impl Router {
    pub(crate) fn new(filters: Vec<TopicFilter>, limits: Limits) -> Self {
        Self {
            sources: vec![0; filters.len()],
            filters,
            limits,
            routes: HashMap::new(),
            targets: Vec::new(),
            series: BTreeSet::new(),
            assets: HashMap::new(),
            names: Vec::new(),
            passing: Vec::new(),
            asset: String::new(),
        }
    }

    /// The targets of a topic, at least one.
    pub(crate) fn route(&mut self, topic: &[u8]) -> Result<&[Target], DropReason> {
        if let Some(route) = self.routes.get(topic).copied() {
            return Ok(self.targets.get(route.first..route.first + route.count).unwrap_or_default());
        }
        let text = self.valid(topic)?;
        self.passing.clear();
        for stream in 0..self.filters.len() {
            let matched =
                self.filters.get(stream).is_some_and(|filter| filter.matches(text, &mut self.asset));
            if matched {
                let asset = self.intern(stream);
                self.passing.push(Target { stream, asset });
            }
        }
        if self.passing.is_empty() {
            return Err(DropReason::NoStream);
        }
        // A topic with a refused source is not remembered: strangers could fill the table with such topics.
        let known = self.passing.iter().all(|target| target.asset.is_some());
        if known && self.routes.len() < self.series_max() {
            let route = Route { first: self.targets.len(), count: self.passing.len() };
            self.targets.extend_from_slice(&self.passing);
            self.routes.insert(topic.into(), route);
        }
        Ok(&self.passing)
    }

    /// What the wildcards matched for a source; empty for one that was never seen.
    pub(crate) fn asset_name(&self, asset: AssetId) -> &str {
        usize::try_from(asset.0).ok().and_then(|index| self.names.get(index)).map_or("", |name| name)
    }

    /// Distinct sources of all streams.
    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    /// The filters to subscribe to: each once, those left out that a wider plain one covers.
    ///
    /// Brokers may deliver a message once per overlapping subscription; a report would be read twice.
    pub(crate) fn subscriptions(&self) -> Vec<String> {
        let covered = |index: usize, filter: &TopicFilter| {
            self.filters.iter().enumerate().any(|(other_index, other)| {
                if filter.is_shared() || other.is_shared() {
                    return filter == other && other_index < index;
                }
                // Of two that cover each other the first stays.
                other_index != index && other.covers(filter) && (!filter.covers(other) || other_index < index)
            })
        };
        let kept = self.filters.iter().enumerate().filter(|(index, filter)| !covered(*index, filter));
        kept.map(|(_, filter)| filter.to_string()).collect()
    }

    fn valid<'a>(&self, topic: &'a [u8]) -> Result<&'a str, DropReason> {
        if topic.is_empty() || topic.len() > usize::from(self.limits.topic_bytes) {
            return Err(DropReason::Topic);
        }
        let text = std::str::from_utf8(topic).map_err(|_| DropReason::Topic)?;
        let strange = text.chars().any(|c| c.is_control() || c == '+' || c == '#');
        if strange || text.split('/').count() > usize::from(self.limits.topic_levels) {
            return Err(DropReason::Topic);
        }
        Ok(text)
    }

    /// The source named by `self.asset` in a stream, made if there is room.
    fn intern(&mut self, stream: usize) -> Option<AssetId> {
        let known = self.assets.get(self.asset.as_str()).copied();
        if let Some(asset) = known.filter(|asset| self.series.contains(&(stream, *asset))) {
            return Some(asset);
        }
        if !self.has_room(stream) {
            return None;
        }
        let asset = if let Some(asset) = known {
            asset
        } else {
            let asset = AssetId(u32::try_from(self.names.len()).ok()?);
            self.names.push(self.asset.as_str().into());
            self.assets.insert(self.asset.as_str().into(), asset);
            asset
        };
        self.series.insert((stream, asset));
        if let Some(sources) = self.sources.get_mut(stream) {
            *sources += 1;
        }
        Some(asset)
    }

    /// Whether a stream may have one source more. Half of all places are shared out evenly among the streams and kept for
    /// them; the other half goes to whoever comes first. So no stream of strangers can keep another from its own source.
    fn has_room(&self, stream: usize) -> bool {
        let (most, streams) = (self.series_max(), self.sources.len().max(1));
        let own = (most / 2 / streams).max(1);
        let beyond = |sources: &usize| sources.saturating_sub(own);
        let shared = most.saturating_sub(own.saturating_mul(streams));
        let taken: usize = self.sources.iter().map(beyond).sum();
        self.series.len() < most
            && (self.sources.get(stream).is_some_and(|held| *held < own) || taken < shared)
    }

    fn series_max(&self) -> usize {
        usize::try_from(self.limits.series).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(filters: &[&str], series: u32) -> Router {
        let filters = filters.iter().map(|text| TopicFilter::parse(text).unwrap()).collect();
        Router::new(filters, Limits { series, ..Limits::default() })
    }

    #[test]
    fn a_topic_keeps_its_targets_and_a_name_its_source() {
        let mut router = router(&["plant/+/x", "plant/#"], 10);
        let first = router.route(b"plant/a/x").unwrap().to_vec();
        assert_eq!(first.iter().map(|target| target.stream).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(router.asset_name(first[0].asset.unwrap()), "a");
        assert_eq!(router.asset_name(first[1].asset.unwrap()), "a/x");
        assert_eq!(router.route(b"plant/a/x").unwrap(), first);
        assert_eq!(router.series_count(), 2);
        assert_eq!(router.asset_name(AssetId(99)), "");
    }

    #[test]
    fn strange_topics_are_refused() {
        let mut router = router(&["#"], 10);
        let (long, deep) = ("a".repeat(257), vec!["a"; 17].join("/"));
        for bad in [&b""[..], b"a/\xff", b"a/+", b"a/#", b"a\0", b"a\n", long.as_bytes(), deep.as_bytes()] {
            assert_eq!(router.route(bad), Err(DropReason::Topic), "{bad:?}");
        }
        assert_eq!(router.route(b"$SYS/load"), Err(DropReason::NoStream));
        assert_eq!(router.series_count(), 0);
    }

    #[test]
    fn a_flood_of_topics_fills_the_table_and_no_more_and_known_sources_go_on() {
        let mut router = router(&["plant/+"], 4);
        for n in 0..10_000 {
            let refused = router.route(format!("plant/{n}").as_bytes()).unwrap()[0].asset.is_none();
            assert_eq!(refused, n >= 4);
            assert_eq!(router.route(format!("other/{n}").as_bytes()), Err(DropReason::NoStream));
        }
        assert_eq!((router.routes.len(), router.names.len(), router.series_count()), (4, 4, 4));
        assert!(router.route(b"plant/2").unwrap()[0].asset.is_some());
    }

    #[test]
    fn a_topic_that_one_stream_refuses_is_decoded_by_the_others_and_not_remembered() {
        let mut router = router(&["plant/+", "plant/#"], 3);
        let known = |router: &mut Router, topic: &[u8]| {
            router.route(topic).unwrap().iter().map(|target| target.asset.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(known(&mut router, b"plant/a"), [true, true]);
        assert_eq!(known(&mut router, b"plant/b"), [true, false]);
        assert_eq!(known(&mut router, b"plant/b"), [true, false]);
        assert_eq!(router.routes.len(), 1);
    }

    #[test]
    fn overlapping_filters_are_subscribed_once() {
        let subscriptions = |filters: &[&str]| router(filters, 1).subscriptions();
        assert_eq!(subscriptions(&["a/b", "a/#", "a/+", "c"]), ["a/#", "c"]);
        assert_eq!(subscriptions(&["a/b", "a/b"]), ["a/b"]);
        assert_eq!(subscriptions(&["$share/g/a/b", "a/#", "$share/g/a/b"]), ["$share/g/a/b", "a/#"]);
    }
}
