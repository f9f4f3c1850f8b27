//! Which commands took effect lately, so that a retried one does so once.
//!
//! An entry lives until its command's `not_after_ms` has passed, after which the command is refused for its
//! age alone. Entries are bucketed by `not_after_ms`; of each bucket the state tree commits to a hash chain
//! over its entries, so that a snapshot's entries can be verified without a leaf for each.

use std::collections::{BTreeMap, HashMap};

use super::records::DedupBucketRecord;
use crate::command::{PublicKey, RequestId};
use crate::hash::Hash;

/// Span of `not_after_ms` that one bucket covers, in milliseconds (10 minutes).
pub const BUCKET_SPAN_MS: u64 = 10 * 60 * 1000;

/// A command that took effect, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DedupEntry {
    /// Who gave it.
    pub signer: PublicKey,
    /// Under which request id.
    pub request_id: RequestId,
    /// [`crate::command::SignedCommand::command_hash`].
    pub command_hash: Hash,
    /// How long it may be given.
    pub not_after_ms: u64,
    /// Its leaf.
    pub index: u64,
    /// Its block.
    pub block: u64,
    /// The block's ledger time.
    pub time_ms: u64,
}

/// Encoded size of a [`DedupEntry`], in bytes.
pub const DEDUP_ENTRY_SIZE_BYTES: usize = 112;

impl DedupEntry {
    /// The bucket that holds it.
    pub const fn bucket(&self) -> u64 {
        self.not_after_ms / BUCKET_SPAN_MS
    }

    /// The fixed layout: signer 32, request id 16, command hash 32, not_after 8, index 8, block 8, time 8.
    pub fn encode(&self) -> Vec<u8> {
        [
            self.signer.0.as_slice(),
            &self.request_id.0,
            self.command_hash.as_bytes(),
            &self.not_after_ms.to_be_bytes(),
            &self.index.to_be_bytes(),
            &self.block.to_be_bytes(),
            &self.time_ms.to_be_bytes(),
        ]
        .concat()
    }

    /// The entry in exactly [`DEDUP_ENTRY_SIZE_BYTES`] bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (signer, rest) = bytes.split_first_chunk::<32>()?;
        let (request_id, rest) = rest.split_first_chunk::<16>()?;
        let (command_hash, rest) = rest.split_first_chunk::<32>()?;
        let (not_after, rest) = rest.split_first_chunk::<8>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (block, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            signer: PublicKey(*signer),
            request_id: RequestId(*request_id),
            command_hash: Hash(*command_hash),
            not_after_ms: u64::from_be_bytes(*not_after),
            index: u64::from_be_bytes(*index),
            block: u64::from_be_bytes(*block),
            time_ms: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// The live entries.
#[derive(Clone, Default, Debug)]
pub struct Dedup {
    entries: HashMap<(PublicKey, RequestId), DedupEntry>,
    per_signer: HashMap<PublicKey, u32>,
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Clone, Debug)]
struct Bucket {
    record: DedupBucketRecord,
    keys: Vec<(PublicKey, RequestId)>,
}

/// The chain of a bucket without entries.
pub(crate) const EMPTY_BUCKET: DedupBucketRecord = DedupBucketRecord { entries: 0, hash: Hash::ZERO };

/// The chain after one more entry.
pub(crate) fn extend(record: DedupBucketRecord, entry: &DedupEntry) -> DedupBucketRecord {
    DedupBucketRecord {
        entries: record.entries.saturating_add(1),
        hash: Hash::labelled("chancery/dedup/v1", &[record.hash.as_bytes(), &entry.encode()]),
    }
}

impl Dedup {
    /// What took effect under this key.
    pub fn get(&self, key: &(PublicKey, RequestId)) -> Option<&DedupEntry> {
        self.entries.get(key)
    }

    /// How many live entries `signer` has.
    pub fn count(&self, signer: &PublicKey) -> u32 {
        self.per_signer.get(signer).copied().unwrap_or(0)
    }

    /// How many entries live.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The chain of a bucket.
    pub fn bucket(&self, bucket: u64) -> DedupBucketRecord {
        self.buckets.get(&bucket).map_or(EMPTY_BUCKET, |bucket| bucket.record)
    }

    /// Every bucket with its chain, and its entries in the order of the chain.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, DedupBucketRecord)> {
        self.buckets.iter().map(|(number, bucket)| (*number, bucket.record))
    }

    /// Buckets all of whose commands are too old at `time_ms`.
    pub fn expired(&self, time_ms: u64) -> impl Iterator<Item = u64> {
        // Bucket b holds not_after_ms < (b + 1) * span.
        self.buckets.range(..time_ms / BUCKET_SPAN_MS).map(|(number, _)| *number)
    }

    /// Adds an entry at the end of its bucket's chain. Entries of one bucket come in the order of the log.
    pub fn insert(&mut self, entry: DedupEntry) {
        let key = (entry.signer, entry.request_id);
        if self.entries.insert(key, entry).is_some() {
            debug_assert!(false, "one key, one entry: apply looks before it inserts");
            return;
        }
        let bucket = self
            .buckets
            .entry(entry.bucket())
            .or_insert_with(|| Bucket { record: EMPTY_BUCKET, keys: Vec::new() });
        bucket.record = extend(bucket.record, &entry);
        bucket.keys.push(key);
        let count = self.per_signer.entry(entry.signer).or_default();
        *count = count.saturating_add(1);
    }

    /// Moves on by a block: drops the buckets that ended with it, and adds its entries.
    pub(super) fn follow(&mut self, entries: &[DedupEntry], dropped: &[u64]) {
        for bucket in dropped {
            self.drop_bucket(*bucket);
        }
        for entry in entries {
            self.insert(*entry);
        }
    }

    /// Forgets a bucket.
    pub fn drop_bucket(&mut self, bucket: u64) {
        for key in self.buckets.remove(&bucket).map(|bucket| bucket.keys).unwrap_or_default() {
            self.entries.remove(&key);
            if let Some(count) = self.per_signer.get_mut(&key.0) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.per_signer.remove(&key.0);
                }
            }
        }
    }
}
