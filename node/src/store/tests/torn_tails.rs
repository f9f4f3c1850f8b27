//! What a power cut may leave of the write-ahead log's unsynced end. Only one batch is ever unsynced,
//! so whatever is left of it, the batches before it must all be there.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::store::Tail;

fn newest_wal(folder: &Folder) -> PathBuf {
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

/// Ten acknowledged batches, then a batch of `tail_bytes` that `tear` is let loose on (given the WAL's
/// bytes and where the batch starts in them).
async fn after_tearing(tail_bytes: usize, tear: impl Fn(&mut Vec<u8>, usize)) -> Result<Tail, String> {
    let folder = Folder::new();
    let mut log = folder.open();
    let mut chain = Chain::new();
    for _ in 0..10 {
        append(&mut log, chain.blocks(1)).await;
    }
    let wal = newest_wal(&folder);
    let synced_bytes = fs::metadata(&wal).unwrap().len();
    let block = block_after(chain.position.block_hash, &vec![0xAB; tail_bytes]);
    append(&mut log, vec![chain.entry(Payload::new(Some(block), None))]).await;
    drop(log);
    let mut bytes = fs::read(&wal).unwrap();
    tear(&mut bytes, usize::try_from(synced_bytes).unwrap());
    fs::write(&wal, bytes).unwrap();
    let opened = RaftLog::open(folder.path(), &genesis(), Arc::new(TestFormat), folder.options);
    let tail = opened.map_err(|error| error.to_string())?.read_tail_with(|tail| *tail);
    tail.map_err(|error| error.to_string())
}

/// What to do to a WAL whose last batch starts at the given byte.
type Tear = fn(&mut Vec<u8>, usize);

const fn middle(bytes: &[u8], batch: usize) -> usize {
    usize::midpoint(batch, bytes.len())
}

#[tokio::test]
async fn a_batch_that_a_power_cut_tore_is_dropped_and_no_other() {
    let tears: [(&str, Tear); 9] = [
        ("cut in half", |wal, batch| wal.truncate(middle(wal, batch))),
        ("last byte gone", |wal, _| wal.truncate(wal.len() - 1)),
        ("nothing written", |wal, batch| wal[batch..].fill(0)),
        ("first half written", |wal, batch| {
            let middle = middle(wal, batch);
            wal[middle..].fill(0);
        }),
        ("first half written, and preallocated space after it", |wal, batch| {
            let middle = middle(wal, batch);
            wal[middle..].fill(0);
            wal.extend([0; 100_000]);
        }),
        ("second half written", |wal, batch| {
            let middle = middle(wal, batch);
            wal[batch..middle].fill(0);
        }),
        ("a page in the middle not written", |wal, batch| {
            let from = (middle(wal, batch) & !4095).max(batch);
            let to = (from + 4096).min(wal.len());
            wal[from..to].fill(0);
        }),
        ("garbage at the end", |wal, batch| {
            let middle = middle(wal, batch);
            wal[middle..].fill(0x5A);
        }),
        ("garbage at the start", |wal, batch| wal[batch..batch + 7].fill(0x5A)),
    ];
    for size_bytes in [0, 100, 20_000, 40_000, 200_000] {
        for (name, tear) in tears {
            let tail = after_tearing(size_bytes, tear).await;
            let tail = tail.unwrap_or_else(|error| panic!("{size_bytes} bytes, {name}: {error}"));
            assert_eq!((tail.block, tail.log_id), (10, Some(log_id(1, 9))), "{size_bytes} bytes, {name}");
        }
    }
}

#[tokio::test]
async fn a_broken_batch_that_others_followed_stops_the_start() {
    let breaks: [(&str, Tear); 3] = [
        ("one bit", |wal, batch| wal[batch / 2] ^= 1),
        ("a run of bytes", |wal, batch| wal[batch / 2..batch / 2 + 200].fill(0)),
        ("the last batch but one", |wal, batch| wal[batch - 20] ^= 1),
    ];
    for size_bytes in [100, 40_000] {
        for (name, tear) in breaks {
            let opened = after_tearing(size_bytes, tear).await;
            assert!(opened.is_err(), "{size_bytes} bytes, {name}: {opened:?}");
        }
    }
}

#[tokio::test]
async fn a_store_torn_once_goes_on_and_can_be_torn_again() {
    let folder = Folder::new();
    let mut chain = Chain::new();
    for _ in 0..3 {
        let mut log = folder.open();
        append(&mut log, chain.blocks(2)).await;
        let wal = newest_wal(&folder);
        let synced_bytes = usize::try_from(fs::metadata(&wal).unwrap().len()).unwrap();
        append(&mut log, { chain }.blocks(1)).await;
        drop(log);
        let mut bytes = fs::read(&wal).unwrap();
        bytes[synced_bytes + 20..].fill(0x5A);
        fs::write(&wal, bytes).unwrap();
        let tail = folder.open().read_tail_with(|tail| *tail).unwrap();
        assert_eq!(tail.block, chain.position.block);
    }
}
