//! The tree of the newest version as hashes alone, in bounded memory: for who has values by key and no history.
//!
//! A [`HashTree`] and a tree of nodes over the same keys and values have the same root. Subtrees of few leaves are
//! buckets: rows of keys and hashes, whose inner nodes are computed anew when one of them changes. Buckets that were
//! not changed for long are forgotten but for their hash, and read again from where the values stand; what is read
//! then must have that hash.

use std::sync::Arc;

use super::node::{empty_hash, inner_hash, leaf_hash};
use super::{Changes, Key, VALUE_SIZE_BYTES_MAX, Value, Version};
use crate::hash::Hash;

/// Most leaves of a bucket.
const BUCKET_LEAVES_MAX: usize = 8;

/// Leaves beneath what is forgotten as one, at first.
const FORGOTTEN_LEAVES_MAX: u64 = 16;

/// About what each part takes of memory, in bytes, with its allocations.
const INNER_BYTES: u64 = 192;
const BUCKET_BYTES: u64 = 64;
const LEAF_BYTES: u64 = 64;
const FORGOTTEN_BYTES: u64 = 64;

/// Where the values of one version stand, by key.
pub trait LeafRead {
    /// Why they could not be read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The value of `key`; `None` if it has none.
    fn value(&self, key: &Key) -> Result<Option<Value>, Self::Error>;

    /// Tells `each` all keys from `first` to `last`, both included, by ascending key, with their values.
    fn range(&self, first: &Key, last: &Key, each: &mut dyn FnMut(Key, &[u8])) -> Result<(), Self::Error>;
}

/// Where the values of one version are kept until the next version takes its place.
pub trait LeafKeep: LeafRead {
    /// Makes these changes.
    fn change(&mut self, changes: Changes) -> Result<(), Self::Error>;
}

/// Why the tree could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum HashTreeError<E> {
    /// The place where values are kept failed.
    #[error("the state's values could not be read")]
    Read(#[source] E),
    /// The values that were read are not those that the tree was made of.
    #[error("the state's values at {near} are not those that its tree was made of")]
    OtherValues {
        /// A key among them.
        near: Key,
    },
    /// A value to be written is longer than [`VALUE_SIZE_BYTES_MAX`].
    #[error("the value of state key {key} is too long: {size_bytes} bytes")]
    ValueTooLong {
        /// The key that it was meant for.
        key: Key,
        /// How long it is.
        size_bytes: usize,
    },
}

/// The hashes of one version.
#[derive(Clone, Debug)]
pub struct HashTree {
    top: Option<Subtree>,
    /// How many versions there were: what a bucket's age is told by.
    versions: u64,
    size_bytes_max: u64,
    forgotten_leaves_max: u64,
}

/// A version as hashes, and its values.
#[derive(Clone, Copy, Debug)]
pub struct Hashed<'a, L> {
    /// Its hashes.
    pub tree: &'a HashTree,
    /// Its values.
    pub leaves: &'a L,
}

/// The next version of a [`HashTree`], and what becomes of its values.
#[derive(Debug)]
pub struct NextHashes {
    top: Option<Subtree>,
    changes: Changes,
}

impl HashTree {
    /// The tree without keys. It will take about `size_bytes_max` of memory.
    pub const fn new(size_bytes_max: u64) -> Self {
        Self { top: None, versions: 0, size_bytes_max, forgotten_leaves_max: FORGOTTEN_LEAVES_MAX }
    }

    /// The tree over everything in `leaves`.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn over<L: LeafRead>(leaves: &L, size_bytes_max: u64) -> Result<Self, L::Error> {
        let mut row = Row::default();
        leaves.range(&Key([0; 32]), &Key([0xFF; 32]), &mut |key, value| {
            row.push(Subtree::of_leaf(LeafHash::of(key, value), 0), 0);
            if row.size_bytes() > size_bytes_max {
                row.forget();
            }
        })?;
        let mut tree = Self { top: row.joined(0), ..Self::new(size_bytes_max) };
        tree.shrink();
        Ok(tree)
    }

    /// What commits to every key and value.
    pub fn root_hash(&self) -> Hash {
        root_hash(self.top.as_ref())
    }

    /// Takes the next version in place of this one. Gives what the values' place must take, for [`LeafKeep::change`].
    pub fn take(&mut self, next: NextHashes) -> Changes {
        self.top = next.top;
        self.versions += 1;
        self.shrink();
        next.changes
    }

    /// About what it takes of memory, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.top.as_ref().map_or(0, |top| top.size_bytes)
    }

    /// Forgets the buckets that were not changed for longest, if it takes too much, until those that stay take half of
    /// what they may; if what leads to them and what is known of the others is too much by itself, ever more of
    /// them, and ever more of what is forgotten as one.
    fn shrink(&mut self) {
        let mut kept_bytes_max = self.size_bytes_max;
        while self.size_bytes() > self.size_bytes_max {
            let Some(top) = self.top.take() else { return };
            kept_bytes_max /= 2;
            let oldest = top.version_that_fits(kept_bytes_max);
            let top = self.top.insert(top.forgotten(oldest, self.forgotten_leaves_max));
            if matches!(top.rest, Rest::Forgotten(_)) {
                return;
            }
            if self.size_bytes() > self.size_bytes_max {
                self.forgotten_leaves_max = self.forgotten_leaves_max.saturating_mul(2);
            }
        }
    }
}

impl<L: LeafRead> Version for Hashed<'_, L> {
    type Error = HashTreeError<L::Error>;
    type Next = NextHashes;

    fn value(&self, key: &Key) -> Result<Option<Value>, Self::Error> {
        self.leaves.value(key).map_err(HashTreeError::Read)
    }

    fn next(&self, changes: Changes) -> Result<(Hash, NextHashes), Self::Error> {
        let mut hashed = Vec::with_capacity(changes.len());
        for (key, value) in &changes {
            let size_bytes = value.as_ref().map_or(0, |value| value.len());
            if size_bytes > VALUE_SIZE_BYTES_MAX {
                return Err(HashTreeError::ValueTooLong { key: *key, size_bytes });
            }
            hashed
                .push(Change { key: *key, hash: value.as_ref().map(|value| LeafHash::of(*key, value).hash) });
        }
        let growth = Growth { leaves: self.leaves, version: self.tree.versions };
        let top = match &self.tree.top {
            Some(top) => growth.merge(top, 0, &hashed)?,
            None => Subtree::of_leaves(&written(&hashed).collect::<Vec<_>>(), growth.version),
        };
        Ok((root_hash(top.as_ref()), NextHashes { top, changes }))
    }
}

/// What becomes of one key: the hash of its leaf, or no leaf any more.
struct Change {
    key: Key,
    hash: Option<Hash>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LeafHash {
    key: Key,
    hash: Hash,
}

/// Some leaves that have all bits in common which tell them from their neighbours. What is asked of it in passing
/// stands here, beside its neighbour's, and not where the rest is.
#[derive(Clone, Debug)]
struct Subtree {
    hash: Hash,
    leaves: u64,
    size_bytes: u64,
    rest: Rest,
}

#[derive(Clone, Debug)]
enum Rest {
    Inner(Arc<Inner>),
    Bucket(Arc<Bucket>),
    Forgotten(Arc<Forgotten>),
}

/// Where the keys beneath part.
#[derive(Clone, Debug)]
struct Inner {
    bit: u8,
    /// A key with the bits before that one that all beneath have.
    near: Key,
    left: Subtree,
    right: Subtree,
}

/// Few leaves: at least one, by ascending key.
#[derive(Debug)]
struct Bucket {
    /// The version that they came with.
    version: u64,
    leaves: Box<[LeafHash]>,
}

/// A subtree of which no more is known.
#[derive(Debug)]
struct Forgotten {
    near: Key,
}

fn root_hash(top: Option<&Subtree>) -> Hash {
    top.map_or_else(empty_hash, |top| top.hash)
}

impl LeafHash {
    fn of(key: Key, value: &[u8]) -> Self {
        Self { key, hash: leaf_hash(&key, &Hash::of(&[value])) }
    }
}

/// The leaves of what is written.
fn written(changes: &[Change]) -> impl Iterator<Item = LeafHash> {
    changes.iter().filter_map(|Change { key, hash }| Some(LeafHash { key: *key, hash: (*hash)? }))
}

/// The bit in which the first of some leaves differs from the last, and those on either side. `None` if there are
/// less than two.
fn parted(leaves: &[LeafHash]) -> Option<(u8, &[LeafHash], &[LeafHash])> {
    let (first, last) = (leaves.first()?, leaves.last()?);
    let bit = first.key.first_difference(&last.key)?;
    let (left, right) = leaves.split_at(leaves.partition_point(|leaf| !leaf.key.bit(bit)));
    Some((bit, left, right))
}

/// The hash of the subtree of these leaves.
fn hash_of(leaves: &[LeafHash]) -> Hash {
    match (parted(leaves), leaves) {
        (Some((bit, left, right)), _) => inner_hash(bit, &hash_of(left), &hash_of(right)),
        (None, [leaf, ..]) => leaf.hash,
        (None, []) => empty_hash(),
    }
}

impl Subtree {
    fn bucket(hash: Hash, version: u64, leaves: Box<[LeafHash]>) -> Self {
        let count = leaves.len() as u64;
        let size_bytes = BUCKET_BYTES + LEAF_BYTES * count;
        Self { hash, leaves: count, size_bytes, rest: Rest::Bucket(Arc::new(Bucket { version, leaves })) }
    }

    fn of_leaf(leaf: LeafHash, version: u64) -> Self {
        Self::bucket(leaf.hash, version, [leaf].into())
    }

    /// The subtree of these leaves, by ascending key; `None` if there are none.
    fn of_leaves(leaves: &[LeafHash], version: u64) -> Option<Self> {
        if leaves.len() > BUCKET_LEAVES_MAX
            && let Some((bit, left, right)) = parted(leaves)
        {
            let (left, right) = (Self::of_leaves(left, version)?, Self::of_leaves(right, version)?);
            return Some(Self::inner(bit, leaves.first()?.key, left, right));
        }
        (!leaves.is_empty()).then(|| Self::bucket(hash_of(leaves), version, leaves.into()))
    }

    fn inner(bit: u8, near: Key, left: Self, right: Self) -> Self {
        let hash = inner_hash(bit, &left.hash, &right.hash);
        let leaves = left.leaves.saturating_add(right.leaves);
        let size_bytes = INNER_BYTES.saturating_add(left.size_bytes).saturating_add(right.size_bytes);
        Self { hash, leaves, size_bytes, rest: Rest::Inner(Arc::new(Inner { bit, near, left, right })) }
    }

    fn forget(near: Key, hash: Hash, leaves: u64) -> Self {
        let rest = Rest::Forgotten(Arc::new(Forgotten { near }));
        Self { hash, leaves, size_bytes: FORGOTTEN_BYTES, rest }
    }

    /// Both sides of `bit`, which are near `near`; one bucket, if they are few.
    fn joined(bit: u8, near: Key, left: Self, right: Self, version: u64) -> Self {
        if left.leaves.saturating_add(right.leaves) <= BUCKET_LEAVES_MAX as u64
            && let (Rest::Bucket(left_of), Rest::Bucket(right_of)) = (&left.rest, &right.rest)
        {
            let hash = inner_hash(bit, &left.hash, &right.hash);
            return Self::bucket(hash, version, [&*left_of.leaves, &*right_of.leaves].concat().into());
        }
        Self::inner(bit, near, left, right)
    }

    /// A key that shares with those beneath all bits that tell them from their neighbours.
    fn near(&self) -> Key {
        match &self.rest {
            Rest::Inner(inner) => inner.near,
            // INVARIANT: a bucket has a leaf; if it had none, its subtree's hash would be found to differ.
            Rest::Bucket(bucket) => bucket.leaves.first().map_or(Key([0; 32]), |leaf| leaf.key),
            Rest::Forgotten(forgotten) => forgotten.near,
        }
    }

    /// The newest version whose buckets, and those of older ones, cannot stay if the others take at most
    /// `size_bytes_max`.
    fn version_that_fits(&self, size_bytes_max: u64) -> u64 {
        let mut buckets = Vec::new();
        let mut pending = vec![self];
        while let Some(next) = pending.pop() {
            match &next.rest {
                Rest::Inner(inner) => pending.extend([&inner.left, &inner.right]),
                Rest::Bucket(bucket) => buckets.push((bucket.version, next.size_bytes)),
                Rest::Forgotten(_) => {}
            }
        }
        buckets.sort_unstable_by(|left, right| right.cmp(left));
        let mut left = size_bytes_max;
        let gone = buckets.into_iter().find(|(_, size_bytes)| match left.checked_sub(*size_bytes) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        gone.map_or(0, |(version, _)| version)
    }

    /// Forgets the buckets up to `version`; as one, what is forgotten and has at most `leaves_max` leaves.
    fn forgotten(self, version: u64, leaves_max: u64) -> Self {
        let near = self.near();
        let Self { hash, leaves, size_bytes, rest } = self;
        match rest {
            Rest::Bucket(bucket) if bucket.version <= version => Self::forget(near, hash, leaves),
            Rest::Inner(inner) => {
                let Inner { bit, near, left, right } = Arc::unwrap_or_clone(inner);
                let left = left.forgotten(version, leaves_max);
                let right = right.forgotten(version, leaves_max);
                if leaves <= leaves_max
                    && let (Rest::Forgotten(_), Rest::Forgotten(_)) = (&left.rest, &right.rest)
                {
                    return Self::forget(near, hash, leaves);
                }
                let size_bytes = INNER_BYTES.saturating_add(left.size_bytes).saturating_add(right.size_bytes);
                Self {
                    hash,
                    leaves,
                    size_bytes,
                    rest: Rest::Inner(Arc::new(Inner { bit, near, left, right })),
                }
            }
            rest => Self { hash, leaves, size_bytes, rest },
        }
    }
}

/// A row of subtrees by ascending key, as it is made into one.
#[derive(Default)]
struct Row {
    /// Those that wait for the end of their right side, with growing bits.
    open: Vec<(u8, Subtree)>,
    last: Option<Subtree>,
}

impl Row {
    fn push(&mut self, part: Subtree, version: u64) {
        let Some(mut last) = self.last.take() else {
            self.last = Some(part);
            return;
        };
        // INVARIANT: the keys of parts are distinct; if they were not, the root would be found to differ.
        let bit = last.near().first_difference(&part.near()).unwrap_or(u8::MAX);
        while let Some((bit, left)) = self.open.pop_if(|(open, _)| *open > bit) {
            last = Subtree::joined(bit, left.near(), left, last, version);
        }
        self.open.push((bit, last));
        self.last = Some(part);
    }

    fn joined(self, version: u64) -> Option<Subtree> {
        let mut all = self.last?;
        for (bit, left) in self.open.into_iter().rev() {
            all = Subtree::joined(bit, left.near(), left, all, version);
        }
        Some(all)
    }

    fn size_bytes(&self) -> u64 {
        self.open.iter().map(|(_, part)| part.size_bytes).sum()
    }

    /// Forgets everything in it.
    fn forget(&mut self) {
        for (_, part) in &mut self.open {
            *part = part.clone().forgotten(u64::MAX, FORGOTTEN_LEAVES_MAX);
        }
    }
}

/// The making of the next version.
struct Growth<'a, L> {
    leaves: &'a L,
    version: u64,
}

impl<L: LeafRead> Growth<'_, L> {
    /// Makes `changes` in the subtree `at`, whose parent stands at the bit before `bits`. All of them belong below
    /// that bit.
    ///
    /// Recursion is as deep as the tree: bits grow on the way down, so 257 at most.
    fn merge(
        &self,
        at: &Subtree,
        bits: u16,
        changes: &[Change],
    ) -> Result<Option<Subtree>, HashTreeError<L::Error>> {
        if changes.is_empty() {
            return Ok(Some(at.clone()));
        }
        match &at.rest {
            Rest::Bucket(bucket) => Ok(self.merge_bucket(at, bucket, changes)),
            Rest::Inner(inner) => self.merge_inner(at, inner, changes),
            Rest::Forgotten(forgotten) => {
                self.merge(&self.remembered(at, forgotten.near, bits)?, bits, changes)
            }
        }
    }

    fn merge_bucket(&self, at: &Subtree, bucket: &Bucket, changes: &[Change]) -> Option<Subtree> {
        let mut merged = Vec::with_capacity(bucket.leaves.len() + changes.len());
        let mut old = bucket.leaves.iter().peekable();
        for Change { key, hash } in changes {
            while let Some(leaf) = old.next_if(|leaf| leaf.key < *key) {
                merged.push(*leaf);
            }
            old.next_if(|leaf| leaf.key == *key);
            merged.extend(hash.map(|hash| LeafHash { key: *key, hash }));
        }
        merged.extend(old);
        if *merged == *bucket.leaves {
            return Some(at.clone());
        }
        Subtree::of_leaves(&merged, self.version)
    }

    fn merge_inner(
        &self,
        at: &Subtree,
        inner: &Inner,
        changes: &[Change],
    ) -> Result<Option<Subtree>, HashTreeError<L::Error>> {
        // Keys that part from this subtree's before its own bit get a place beside it, the rest in it.
        let (near, bits) = (inner.near, u16::from(inner.bit));
        let (before, rest) =
            changes.split_at(changes.partition_point(|change| change.key.cmp_prefix(&near, bits).is_lt()));
        let (inside, after) =
            rest.split_at(rest.partition_point(|change| change.key.cmp_prefix(&near, bits).is_eq()));
        let (lefts, rights) = inside.split_at(inside.partition_point(|change| !change.key.bit(inner.bit)));
        let left = self.merge(&inner.left, bits + 1, lefts)?;
        let right = self.merge(&inner.right, bits + 1, rights)?;
        let kept = match (left, right) {
            (Some(left), Some(right)) => {
                let same = left.hash == inner.left.hash && right.hash == inner.right.hash;
                Some(if same {
                    at.clone()
                } else {
                    Subtree::joined(inner.bit, near, left, right, self.version)
                })
            }
            // A side that ran empty takes the inner node with it.
            (only, None) | (None, only) => only,
        };
        if before.is_empty() && after.is_empty() {
            return Ok(kept);
        }
        // One by one: those beside this subtree may part from each other above where they part from it.
        let single = |leaf| Subtree::of_leaf(leaf, self.version);
        let mut row = Row::default();
        let parts = written(before).map(single).chain(kept).chain(written(after).map(single));
        parts.for_each(|part| row.push(part, self.version));
        Ok(row.joined(self.version))
    }

    /// Reads again what was forgotten.
    fn remembered(&self, at: &Subtree, near: Key, bits: u16) -> Result<Subtree, HashTreeError<L::Error>> {
        let (first, last) = near.all_with_prefix(bits);
        let mut leaves = Vec::new();
        let read = self.leaves.range(&first, &last, &mut |key, value| leaves.push(LeafHash::of(key, value)));
        read.map_err(HashTreeError::Read)?;
        let remembered = Subtree::of_leaves(&leaves, self.version).filter(|found| found.hash == at.hash);
        remembered.ok_or(HashTreeError::OtherValues { near })
    }
}
