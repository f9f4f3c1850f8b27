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
///
/// A ledger has a million of them where a million commands came in their lifetime, so they are kept small: a signer's key
/// once, however many it has, and no place in a map without an entry.
#[derive(Clone, Default, Debug)]
pub struct Dedup {
    signers: HashMap<PublicKey, Signer>,
    /// Signers there ever were: the next one's number.
    numbered: u64,
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Clone, Debug)]
struct Signer {
    number: u64,
    /// How many live entries it has. Not 0.
    live: u32,
}

#[derive(Clone, Debug)]
struct Bucket {
    record: DedupBucketRecord,
    entries: BTreeMap<Key, Kept>,
}

/// The signer's number, and the request id.
type Key = (u64, RequestId);

/// The rest of an entry.
#[derive(Clone, Copy, Debug)]
struct Kept {
    command_hash: Hash,
    not_after_ms: u64,
    index: u64,
    block: u64,
    time_ms: u64,
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
    pub fn get(&self, (signer, request_id): &(PublicKey, RequestId)) -> Option<DedupEntry> {
        let key = (self.signers.get(signer)?.number, *request_id);
        // A command may live for a few buckets, so there are few.
        let found = self.buckets.values().find_map(|bucket| bucket.entries.get(&key))?;
        let Kept { command_hash, not_after_ms, index, block, time_ms } = *found;
        let (signer, request_id) = (*signer, *request_id);
        Some(DedupEntry { signer, request_id, command_hash, not_after_ms, index, block, time_ms })
    }

    /// How many live entries `signer` has.
    pub fn count(&self, signer: &PublicKey) -> u32 {
        self.signers.get(signer).map_or(0, |signer| signer.live)
    }

    /// How many entries live.
    pub fn len(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.entries.len()).sum()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chain of a bucket.
    pub fn bucket(&self, bucket: u64) -> DedupBucketRecord {
        self.buckets.get(&bucket).map_or(EMPTY_BUCKET, |bucket| bucket.record)
    }

    /// Every bucket with its chain.
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
        let DedupEntry { signer, request_id, command_hash, not_after_ms, index, block, time_ms } = entry;
        assert!(
            self.get(&(signer, request_id)).is_none(),
            "one key, one entry: apply looks before it inserts"
        );
        let signer = self.signers.entry(signer).or_insert_with(|| {
            let number = self.numbered;
            // INVARIANT: each number takes a command, and a log has less than 2^64 of them.
            self.numbered = number.wrapping_add(1);
            Signer { number, live: 0 }
        });
        signer.live = signer.live.saturating_add(1);
        let empty = || Bucket { record: EMPTY_BUCKET, entries: BTreeMap::new() };
        let bucket = self.buckets.entry(entry.bucket()).or_insert_with(empty);
        bucket.record = extend(bucket.record, &entry);
        let kept = Kept { command_hash, not_after_ms, index, block, time_ms };
        bucket.entries.insert((signer.number, request_id), kept);
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
        let Some(Bucket { entries, .. }) = self.buckets.remove(&bucket) else { return };
        let mut ended: HashMap<u64, u32> = HashMap::new();
        for (number, _) in entries.keys() {
            let ended = ended.entry(*number).or_default();
            *ended = ended.saturating_add(1);
        }
        self.signers.retain(|_, signer| {
            signer.live = signer.live.saturating_sub(ended.get(&signer.number).copied().unwrap_or(0));
            signer.live > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(signer: u8, request: u8, not_after_ms: u64, index: u64) -> DedupEntry {
        DedupEntry {
            signer: PublicKey([signer; 32]),
            request_id: RequestId([request; 16]),
            command_hash: Hash::of(&[&[signer, request]]),
            not_after_ms,
            index,
            block: index / 2,
            time_ms: index + 7,
        }
    }

    #[test]
    fn what_is_kept_is_found_until_its_bucket_goes() {
        let mut dedup = Dedup::default();
        let spans = [0, 1, 1, 4, 0];
        let entries: Vec<_> = (0_u8..)
            .zip(spans)
            .flat_map(|(request, span)| {
                let not_after_ms = span * BUCKET_SPAN_MS + u64::from(request);
                [1, 2].map(|signer| entry(signer, request, not_after_ms, u64::from(request * 2 + signer)))
            })
            .collect();
        let mut kept: Vec<DedupEntry> = Vec::new();
        for one in &entries {
            assert_eq!(dedup.get(&(one.signer, one.request_id)), None);
            dedup.insert(*one);
            kept.push(*one);
        }
        for gone in [None, Some(1), Some(3), Some(0), Some(4)] {
            if let Some(gone) = gone {
                dedup.drop_bucket(gone);
                kept.retain(|entry| entry.bucket() != gone);
            }
            assert_eq!((dedup.len(), dedup.is_empty()), (kept.len(), kept.is_empty()));
            for one in &entries {
                let key = (one.signer, one.request_id);
                assert_eq!(dedup.get(&key), kept.contains(one).then_some(*one));
                let live = kept.iter().filter(|entry| entry.signer == one.signer).count();
                assert_eq!(dedup.count(&one.signer) as usize, live);
            }
        }
        assert_eq!(dedup.signers.len(), 0, "who has none is forgotten");
    }
}
