//! Entities found and entities there: exact matches of type and place.

use std::collections::BTreeSet;

use crate::quality::confusion::{Class, Confusion};

/// An entity in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entity {
    /// Index of its type.
    pub kind: usize,
    /// First byte, or first word.
    pub start: usize,
    /// The byte after its last, or the word.
    pub end: usize,
}

/// Counts over texts, by type: an entity is right if one of the same type stands at exactly the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityCounts {
    classes: Vec<Class>,
    same_place: Confusion,
}

impl EntityCounts {
    /// Of so many types, nothing counted yet.
    pub fn new(kinds: usize) -> Self {
        Self { classes: vec![Class::default(); kinds], same_place: Confusion::new(kinds) }
    }

    /// Counts one text. What is listed twice counts once.
    pub fn add(&mut self, truth: &[Entity], found: &[Entity]) {
        let (truth, found): (BTreeSet<_>, BTreeSet<_>) =
            (truth.iter().copied().collect(), found.iter().copied().collect());
        for entity in &truth {
            if let Some(class) = self.classes.get_mut(entity.kind) {
                class.support += 1;
                class.right += u64::from(found.contains(entity));
            }
            let here = |other: &&Entity| (other.start, other.end) == (entity.start, entity.end);
            for other in found.iter().filter(here) {
                self.same_place.add(entity.kind, other.kind);
            }
        }
        for entity in &found {
            if let Some(class) = self.classes.get_mut(entity.kind) {
                class.predicted += 1;
            }
        }
    }

    /// The figures of one type.
    pub fn class(&self, kind: usize) -> Class {
        self.classes.get(kind).copied().unwrap_or_default()
    }

    /// The figures of all entities together: its F1 is the micro-F1.
    pub fn all(&self) -> Class {
        self.classes.iter().fold(Class::default(), |sum, class| sum.and(*class))
    }

    /// Mean F1 over the types that occur; `None` if none does.
    pub fn macro_f1(&self) -> Option<f64> {
        let seen: Vec<f64> =
            self.classes.iter().filter(|class| class.is_seen()).map(|class| class.f1()).collect();
        (!seen.is_empty()).then(|| seen.iter().sum::<f64>() / seen.len() as f64)
    }

    /// Types of what was found at exactly the place of an entity.
    pub fn same_place(&self) -> &Confusion {
        &self.same_place
    }
}

/// The entities of a sentence tagged word by word: `O`, `B-type`, `I-type`. An `I` that continues nothing of its type
/// begins an entity, as the usual scorers have it.
///
/// # Errors
/// The first tag that is none of these, or of no known type.
pub fn of_tags<'a>(
    tags: &[&'a str],
    kind_of: &dyn Fn(&str) -> Option<usize>,
) -> Result<Vec<Entity>, &'a str> {
    let mut entities: Vec<Entity> = Vec::new();
    let mut open = false;
    for (word, tag) in tags.iter().enumerate() {
        if *tag == "O" {
            open = false;
            continue;
        }
        let (begins, name) = match tag.split_once('-') {
            Some(("B", name)) => (true, name),
            Some(("I", name)) => (false, name),
            Some(_) | None => return Err(tag),
        };
        let kind = kind_of(name).ok_or(*tag)?;
        match entities.last_mut() {
            Some(last) if open && !begins && last.kind == kind => last.end = word + 1,
            Some(_) | None => entities.push(Entity { kind, start: word, end: word + 1 }),
        }
        open = true;
    }
    Ok(entities)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::confusion::Mistake;

    fn entities(list: &[(usize, usize, usize)]) -> Vec<Entity> {
        list.iter().map(|&(kind, start, end)| Entity { kind, start, end }).collect()
    }

    #[test]
    fn only_the_same_type_at_the_same_place_is_right() {
        let mut counts = EntityCounts::new(3);
        // One right, one cut short, one of the wrong type, one found twice that is not there.
        counts.add(
            &entities(&[(0, 0, 2), (1, 3, 6), (1, 7, 8)]),
            &entities(&[(0, 0, 2), (1, 3, 5), (0, 7, 8), (0, 9, 10), (0, 9, 10)]),
        );
        counts.add(&[], &[]);
        let all = counts.all();
        assert_eq!((all.support, all.predicted, all.right), (3, 4, 1));
        assert!((all.f1() - 2.0 / 7.0).abs() < 1e-12);
        // Type 0: 2·1/(1+3); type 1: 0; type 2 does not occur.
        assert!((counts.macro_f1().unwrap() - 0.25).abs() < 1e-12);
        let mistakes = counts.same_place().worst(3);
        assert_eq!(mistakes, [Mistake { truth: 1, predicted: 0, count: 1 }]);
        assert_eq!(counts.same_place().total(), 2);
    }

    #[test]
    fn tags_become_entities_also_where_a_beginning_is_missing() {
        let kind = |name: &str| ["Item", "Activity"].iter().position(|known| *known == name);
        let of = |tags: &[&'static str]| of_tags(tags, &kind);
        assert_eq!(of(&["B-Item", "I-Item", "O", "I-Item"]), Ok(entities(&[(0, 0, 2), (0, 3, 4)])));
        assert_eq!(of(&["B-Item", "B-Item", "I-Activity"]), Ok(entities(&[(0, 0, 1), (0, 1, 2), (1, 2, 3)])));
        assert_eq!(of(&["B-Item", "O", "I-Item"]), Ok(entities(&[(0, 0, 1), (0, 2, 3)])));
        assert_eq!(of(&[]), Ok(Vec::new()));
        for wrong in ["B-Pump", "Item", "X-Item", ""] {
            assert_eq!(of(&["O", wrong]), Err(wrong));
        }
    }
}
