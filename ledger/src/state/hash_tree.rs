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
const INNER_BYTES: u64 = 144;
const BUCKET_BYTES: u64 = 112;
const LEAF_BYTES: u64 = 64;
const FORGOTTEN_BYTES: u64 = 112;

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
            row.push(Subtree::of_leaf(LeafHash::of(key, value)), 0);
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
        self.top.as_ref().map_or(0, Subtree::size_bytes)
    }

    /// Forgets the buckets that were not changed for longest, if it takes too much, until those that stay take
    /// half of what they may; and ever more of what is forgotten as one, if that is too much by itself.
    fn shrink(&mut self) {
        while self.size_bytes() > self.size_bytes_max {
            let Some(top) = self.top.take() else { return };
            let oldest = top.version_that_fits(self.size_bytes_max / 2);
            self.top = Some(top.forgotten(oldest, self.forgotten_leaves_max));
            if self.size_bytes() > self.size_bytes_max {
                if self.forgotten_leaves_max == u64::MAX {
                    return;
                }
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
            None => growth.built(&hashed),
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

#[derive(Clone, Debug)]
enum Subtree {
    Inner(Arc<Inner>),
    Bucket(Arc<Bucket>),
    Forgotten(Arc<Forgotten>),
}

/// Where the keys beneath part.
#[derive(Clone, Debug)]
struct Inner {
    bit: u8,
    /// One of those beneath.
    near: Key,
    hash: Hash,
    leaves: u64,
    size_bytes: u64,
    left: Subtree,
    right: Subtree,
}

/// A subtree of few leaves: at least one, by ascending key.
#[derive(Debug)]
struct Bucket {
    hash: Hash,
    /// The version that it came with.
    version: u64,
    leaves: Box<[LeafHash]>,
}

/// A subtree of which only this is known.
#[derive(Debug)]
struct Forgotten {
    near: Key,
    hash: Hash,
    leaves: u64,
}

fn root_hash(top: Option<&Subtree>) -> Hash {
    top.map_or_else(empty_hash, Subtree::hash)
}

impl LeafHash {
    fn of(key: Key, value: &[u8]) -> Self {
        Self { key, hash: leaf_hash(&key, &Hash::of(&[value])) }
    }
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
    fn of_leaf(leaf: LeafHash) -> Self {
        Self::Bucket(Arc::new(Bucket { hash: leaf.hash, version: 0, leaves: [leaf].into() }))
    }

    /// The subtree of these leaves, by ascending key; `None` if there are none.
    fn of_leaves(leaves: Vec<LeafHash>, version: u64) -> Option<Self> {
        if leaves.len() > BUCKET_LEAVES_MAX
            && let Some((bit, left, right)) = parted(&leaves)
        {
            let left = Self::of_leaves(left.to_vec(), version)?;
            return Some(Self::inner(bit, left, Self::of_leaves(right.to_vec(), version)?));
        }
        let hash = hash_of(&leaves);
        let bucket = Bucket { hash, version, leaves: leaves.into() };
        (!bucket.leaves.is_empty()).then(|| Self::Bucket(Arc::new(bucket)))
    }

    fn inner(bit: u8, left: Self, right: Self) -> Self {
        let hash = inner_hash(bit, &left.hash(), &right.hash());
        let leaves = left.leaves().saturating_add(right.leaves());
        let size_bytes = INNER_BYTES.saturating_add(left.size_bytes()).saturating_add(right.size_bytes());
        Self::Inner(Arc::new(Inner { bit, near: left.near(), hash, leaves, size_bytes, left, right }))
    }

    /// Both sides of `bit`; one bucket, if they are few.
    fn joined(bit: u8, left: Self, right: Self, version: u64) -> Self {
        if let (Self::Bucket(left), Self::Bucket(right)) = (&left, &right)
            && left.leaves.len() + right.leaves.len() <= BUCKET_LEAVES_MAX
        {
            let hash = inner_hash(bit, &left.hash, &right.hash);
            let leaves = [&*left.leaves, &*right.leaves].concat().into();
            return Self::Bucket(Arc::new(Bucket { hash, version, leaves }));
        }
        Self::inner(bit, left, right)
    }

    fn hash(&self) -> Hash {
        match self {
            Self::Inner(inner) => inner.hash,
            Self::Bucket(bucket) => bucket.hash,
            Self::Forgotten(forgotten) => forgotten.hash,
        }
    }

    /// A key that shares with those beneath all bits that tell them from their neighbours.
    fn near(&self) -> Key {
        match self {
            Self::Inner(inner) => inner.near,
            // INVARIANT: a bucket has a leaf; if it had none, its subtree's hash would be found to differ.
            Self::Bucket(bucket) => bucket.leaves.first().map_or(Key([0; 32]), |leaf| leaf.key),
            Self::Forgotten(forgotten) => forgotten.near,
        }
    }

    fn leaves(&self) -> u64 {
        match self {
            Self::Inner(inner) => inner.leaves,
            Self::Bucket(bucket) => bucket.leaves.len() as u64,
            Self::Forgotten(forgotten) => forgotten.leaves,
        }
    }

    fn size_bytes(&self) -> u64 {
        match self {
            Self::Inner(inner) => inner.size_bytes,
            Self::Bucket(bucket) => BUCKET_BYTES + LEAF_BYTES * bucket.leaves.len() as u64,
            Self::Forgotten(_) => FORGOTTEN_BYTES,
        }
    }

    /// The newest version whose buckets, and those of older ones, cannot stay if the others take at most
    /// `size_bytes_max`.
    fn version_that_fits(&self, size_bytes_max: u64) -> u64 {
        let mut buckets = Vec::new();
        let mut pending = vec![self];
        while let Some(next) = pending.pop() {
            match next {
                Self::Inner(inner) => pending.extend([&inner.left, &inner.right]),
                Self::Bucket(bucket) => buckets.push((bucket.version, next.size_bytes())),
                Self::Forgotten(_) => {}
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
        match self {
            Self::Bucket(bucket) if bucket.version <= version => {
                let (near, leaves) = (Self::Bucket(Arc::clone(&bucket)).near(), bucket.leaves.len() as u64);
                Self::Forgotten(Arc::new(Forgotten { near, hash: bucket.hash, leaves }))
            }
            Self::Inner(inner) => {
                let Inner { bit, near, hash, leaves, left, right, .. } = Arc::unwrap_or_clone(inner);
                let left = left.forgotten(version, leaves_max);
                let right = right.forgotten(version, leaves_max);
                match (&left, &right) {
                    (Self::Forgotten(_), Self::Forgotten(_)) if leaves <= leaves_max => {
                        Self::Forgotten(Arc::new(Forgotten { near, hash, leaves }))
                    }
                    _ => {
                        let size_bytes = INNER_BYTES + left.size_bytes() + right.size_bytes();
                        Self::Inner(Arc::new(Inner { bit, near, hash, leaves, size_bytes, left, right }))
                    }
                }
            }
            kept => kept,
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
            last = Subtree::joined(bit, left, last, version);
        }
        self.open.push((bit, last));
        self.last = Some(part);
    }

    fn joined(self, version: u64) -> Option<Subtree> {
        let mut all = self.last?;
        for (bit, left) in self.open.into_iter().rev() {
            all = Subtree::joined(bit, left, all, version);
        }
        Some(all)
    }

    fn size_bytes(&self) -> u64 {
        self.open.iter().map(|(_, part)| part.size_bytes()).sum()
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
        match at {
            Subtree::Bucket(bucket) => Ok(self.merge_bucket(bucket, changes)),
            Subtree::Inner(inner) => self.merge_inner(inner, changes),
            Subtree::Forgotten(forgotten) => self.merge(&self.remembered(forgotten, bits)?, bits, changes),
        }
    }

    fn merge_bucket(&self, bucket: &Arc<Bucket>, changes: &[Change]) -> Option<Subtree> {
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
            return Some(Subtree::Bucket(Arc::clone(bucket)));
        }
        Subtree::of_leaves(merged, self.version)
    }

    fn merge_inner(
        &self,
        inner: &Arc<Inner>,
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
                let same = left.hash() == inner.left.hash() && right.hash() == inner.right.hash();
                Some(if same {
                    Subtree::Inner(Arc::clone(inner))
                } else {
                    Subtree::joined(inner.bit, left, right, self.version)
                })
            }
            // A side that ran empty takes the inner node with it.
            (only, None) | (None, only) => only,
        };
        let (before, after) = (self.built(before), self.built(after));
        if before.is_none() && after.is_none() {
            return Ok(kept);
        }
        let mut row = Row::default();
        for part in before.into_iter().chain(kept).chain(after) {
            row.push(part, self.version);
        }
        Ok(row.joined(self.version))
    }

    /// The subtree of what is written.
    fn built(&self, changes: &[Change]) -> Option<Subtree> {
        let written =
            changes.iter().filter_map(|Change { key, hash }| Some(LeafHash { key: *key, hash: (*hash)? }));
        Subtree::of_leaves(written.collect(), self.version)
    }

    /// Reads again what was forgotten.
    fn remembered(&self, forgotten: &Forgotten, bits: u16) -> Result<Subtree, HashTreeError<L::Error>> {
        let (first, last) = forgotten.near.all_with_prefix(bits);
        let mut leaves = Vec::new();
        let read = self.leaves.range(&first, &last, &mut |key, value| leaves.push(LeafHash::of(key, value)));
        read.map_err(HashTreeError::Read)?;
        let remembered =
            Subtree::of_leaves(leaves, self.version).filter(|found| found.hash() == forgotten.hash);
        remembered.ok_or(HashTreeError::OtherValues { near: forgotten.near })
    }
}
