//! The fields a stream wants from its JSON objects, and the walk that finds them.

use crate::ingest::decode::scan::{Scalar, Scanner, Token};
use crate::tally::DropReason;

/// Names of wanted fields as a tree of keys: `motor.current` is the key `current` in the object `motor`, and also the
/// key `motor.current`.
pub(crate) struct Fields {
    /// The first node is the object itself.
    nodes: Vec<Node>,
    /// By the place of a key in the first node, the place where the next key is looked for first. Programs write
    /// their keys in one order, and people list the names in that order.
    next: Vec<usize>,
}

/// Keys of one object in alphabetical order.
#[derive(Default)]
struct Node {
    keys: Vec<(Box<str>, Wanted)>,
}

/// What a key leads to.
#[derive(Clone, Copy, Default)]
struct Wanted {
    /// Index of the field, if the value is one.
    field: Option<u16>,
    /// The node of the object below, if there are fields in it.
    node: Option<u16>,
}

/// Memory of a walk, reused from message to message.
#[derive(Default)]
pub(crate) struct Walk {
    /// The node of each open container; `None` where nothing is wanted.
    open: Vec<Option<u16>>,
    /// Keys with escapes are read into this.
    key: String,
    /// Place in the first node of the key expected next.
    expected: usize,
}

/// Takes the fields of a row.
pub(crate) trait Row {
    /// A wanted field: its index among the names, its value; `None` for an object or array.
    fn field(&mut self, field: u16, value: Option<Scalar<'_>>) -> Result<(), DropReason>;
    /// A key of the row itself that is not wanted.
    fn other(&mut self, _key: &str) -> Result<(), DropReason> {
        Ok(())
    }
    /// The row is complete.
    fn end(&mut self) -> Result<(), DropReason>;
}

impl Fields {
    /// The tree of the names; a field's index is its place among them.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut fields = Self { nodes: vec![Node::default()], next: Vec::new() };
        let names: Vec<&str> = names.into_iter().collect();
        for (name, index) in names.iter().copied().zip(0..) {
            fields.want(0, name, |wanted| wanted.field = Some(index));
            let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
            let mut node = Some(0);
            for key in path.split('.').filter(|_| !path.is_empty()) {
                node = node.and_then(|node| fields.below(node, key));
            }
            if let Some(node) = node {
                fields.want(node, last, |wanted| wanted.field = Some(index));
            }
        }
        // Of a nested name the key that is seen in the object itself is the first one of its path.
        let first_keys = names.iter().map(|name| name.split('.').next().unwrap_or(name));
        let mut order: Vec<usize> = first_keys.filter_map(|key| fields.place(0, key)).collect();
        order.dedup();
        fields.next = vec![0; fields.nodes.first().map_or(0, |node| node.keys.len())];
        for (place, next) in order.iter().zip(order.iter().cycle().skip(1)) {
            if let Some(entry) = fields.next.get_mut(*place) {
                *entry = *next;
            }
        }
        fields
    }

    /// Walks an object, or an array of objects, and gives each row its fields.
    pub(crate) fn walk(
        &self,
        scanner: &mut Scanner<'_>,
        walk: &mut Walk,
        row: &mut impl Row,
    ) -> Result<(), DropReason> {
        match scanner.next()? {
            Token::ObjectStart => self.row(scanner, walk, row)?,
            Token::ArrayStart => loop {
                match scanner.next()? {
                    Token::ObjectStart => self.row(scanner, walk, row)?,
                    Token::End => break,
                    Token::ArrayStart | Token::Key(_) | Token::Scalar(_) | Token::Finish => {
                        return Err(DropReason::Malformed);
                    }
                }
            },
            Token::End | Token::Key(_) | Token::Scalar(_) | Token::Finish => {
                return Err(DropReason::Malformed);
            }
        }
        match scanner.next()? {
            Token::Finish => Ok(()),
            Token::ObjectStart | Token::ArrayStart | Token::End | Token::Key(_) | Token::Scalar(_) => {
                Err(DropReason::Malformed)
            }
        }
    }

    /// Walks one object whose start has been read.
    fn row(&self, scanner: &mut Scanner<'_>, walk: &mut Walk, row: &mut impl Row) -> Result<(), DropReason> {
        walk.open.clear();
        walk.open.push(Some(0));
        let mut wanted = Wanted::default();
        loop {
            match scanner.next()? {
                Token::Key(key) => {
                    let key = key.read(&mut walk.key);
                    let found = if walk.open.len() == 1 {
                        let found = self.find_expected(key, &mut walk.expected);
                        if found.is_none() {
                            row.other(key)?;
                        }
                        found
                    } else {
                        walk.open.last().copied().flatten().and_then(|node| self.find(node, key))
                    };
                    wanted = found.unwrap_or_default();
                }
                Token::Scalar(value) => {
                    if let Some(field) = wanted.field {
                        row.field(field, Some(value))?;
                    }
                }
                Token::ObjectStart | Token::ArrayStart => {
                    if let Some(field) = wanted.field {
                        row.field(field, None)?;
                    }
                    walk.open.push(wanted.node);
                    wanted = Wanted::default();
                }
                Token::End => {
                    walk.open.pop();
                    if walk.open.is_empty() {
                        return row.end();
                    }
                    wanted = Wanted::default();
                }
                Token::Finish => return Err(DropReason::Malformed),
            }
        }
    }

    /// What a key of the row itself leads to. Looks where the last key found makes it likely, then everywhere.
    fn find_expected(&self, key: &str, expected: &mut usize) -> Option<Wanted> {
        let keys = &self.nodes.first()?.keys;
        let place = match keys.get(*expected) {
            Some((name, _)) if name.as_ref() == key => *expected,
            Some(_) | None => self.place(0, key)?,
        };
        *expected = self.next.get(place).copied().unwrap_or(0);
        keys.get(place).map(|(_, wanted)| *wanted)
    }

    fn find(&self, node: u16, key: &str) -> Option<Wanted> {
        let place = self.place(node, key)?;
        self.nodes.get(usize::from(node))?.keys.get(place).map(|(_, wanted)| *wanted)
    }

    /// Where a key is in its node.
    fn place(&self, node: u16, key: &str) -> Option<usize> {
        let keys = &self.nodes.get(usize::from(node))?.keys;
        keys.binary_search_by(|(name, _)| name.as_ref().cmp(key)).ok()
    }

    /// The node below a key, made if it is not there. `None` beyond 65,536 nodes.
    fn below(&mut self, node: u16, key: &str) -> Option<u16> {
        let fresh = u16::try_from(self.nodes.len()).ok()?;
        let below = self.want(node, key, |wanted| *wanted.node.get_or_insert(fresh))?;
        if below == fresh {
            self.nodes.push(Node::default());
        }
        Some(below)
    }

    /// Changes the entry of a key in a node, made if it is not there.
    fn want<T>(&mut self, node: u16, key: &str, change: impl FnOnce(&mut Wanted) -> T) -> Option<T> {
        let keys = &mut self.nodes.get_mut(usize::from(node))?.keys;
        let place = match keys.binary_search_by(|(name, _)| name.as_ref().cmp(key)) {
            Ok(place) => place,
            Err(place) => {
                keys.insert(place, (key.into(), Wanted::default()));
                place
            }
        };
        keys.get_mut(place).map(|(_, wanted)| change(wanted))
    }
}
