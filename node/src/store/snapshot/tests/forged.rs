//! Snapshots that are not the ledger's, by damage or by design, are refused.

use std::fs;
use std::path::Path;

use chancery_ledger::authority::DedupEntry;
use chancery_ledger::head::RosterChain;
use chancery_ledger::state::{self, Child, Key, NodeId};

use crate::raft::types::{Membership, StoredMembership, log_id};
use crate::store::applied::database::{Batch, Column, Database, Record};
use crate::store::applied::record;
use crate::store::applied::tests::ledger::{Leader, membership, sign_head};
use crate::store::applied::tests::node::{Node, transfer};
use crate::store::snapshot::{
    FileRecord, Manifest, Registered, SnapshotError, SnapshotReader, VerifyError, files,
};

async fn built(leader: &mut Leader) -> (Node, Registered) {
    let node = Node::new(1).await;
    node.feed(&leader.some_entries(6)).await;
    let built = node.build().await.unwrap();
    (node, built)
}

#[tokio::test]
async fn any_file_with_a_flipped_bit_is_refused() {
    let (_one, built) = built(&mut Leader::new()).await;
    let two = Node::new(2).await;
    for file in built.manifest().files().iter().filter(|file| file.size_bytes > 0) {
        let flip = |chunk: &mut crate::store::snapshot::SnapshotChunk| {
            let at = chunk.bytes.len() / 2;
            chunk.bytes[at] ^= 0x10;
        };
        let mut reader = SnapshotReader::new(built.clone());
        let mut receiver = two.stores().snapshots.receive(&reader.manifest().unwrap()).unwrap();
        let refused = loop {
            let mut chunk = reader.next_chunk().unwrap().expect("the file is reached");
            if chunk.file == file.name {
                flip(&mut chunk);
            }
            match receiver.chunk(&chunk.file, chunk.offset, &chunk.bytes) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(&refused, SnapshotError::File(name) if *name == file.name), "{refused}");
    }
    assert!(two.stores().snapshots.current().is_none());
    assert_eq!(two.stores().log.read_tail_with(|tail| tail.block).unwrap(), 0);
    transfer(&built, &two.stores().snapshots).unwrap();
}

/// The snapshot with some records changed, and a manifest that fits the changed files, given to another
/// node as its sender would. The quorum's signatures are those on the true head.
async fn forge(
    built: &Registered,
    change: impl FnOnce(&Database, &mut Batch<'_>),
) -> Result<Registered, SnapshotError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot");
    fs::create_dir_all(path.join("database")).unwrap();
    for file in built.manifest().files() {
        fs::copy(built.database().join(&file.name), path.join("database").join(&file.name)).unwrap();
    }
    let database = Database::open(&path.join("database")).unwrap();
    let mut batch = database.batch();
    change(&database, &mut batch);
    batch.write().unwrap();
    database.flush().unwrap();
    drop(database);
    let manifest = with_files_of(built.manifest(), &path.join("database"));
    send(&path, manifest).await
}

fn with_files_of(manifest: &Manifest, database: &Path) -> Manifest {
    let mut found: Vec<FileRecord> = fs::read_dir(database)
        .unwrap()
        .map(|found| found.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["LOCK", "LOG", "IDENTITY"].contains(&name.as_str()) && !name.starts_with("LOG."))
        .map(|name| {
            let (size_bytes, sha256) = files::measure(&database.join(&name)).unwrap();
            FileRecord { name, size_bytes, sha256 }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Manifest::new(
        *manifest.head(),
        manifest.position().block_hash,
        manifest.log_id(),
        manifest.membership().clone(),
        manifest.rosters().clone(),
        manifest.statements().to_vec(),
        found,
    )
    .unwrap()
}

async fn send(path: &Path, manifest: Manifest) -> Result<Registered, SnapshotError> {
    let two = Node::new(2).await;
    let folder = crate::raft::types::SnapshotFolder::at(path);
    let forged = Registered { folder, manifest: manifest.into() };
    let result = transfer(&forged, &two.stores().snapshots);
    if result.is_err() {
        assert_eq!(two.stores().log.read_tail_with(|tail| tail.block).unwrap(), 0);
        assert_eq!(fs::read_dir(two.path().join("snapshots")).unwrap().count(), 0, "nothing is left");
    }
    result
}

async fn refused(built: &Registered, change: impl FnOnce(&Database, &mut Batch<'_>)) -> VerifyError {
    match forge(built, change).await {
        Err(SnapshotError::Verify(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn all(database: &Database, column: Column) -> Vec<Record> {
    database.records_from(column, &[]).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_is_not_changed_is_taken() {
    let (_one, built) = built(&mut Leader::new()).await;
    forge(&built, |_, _| {}).await.unwrap();
}

#[tokio::test]
async fn forged_state_trees() {
    let mut leader = Leader::new();
    let (_one, built) = built(&mut leader).await;
    let root = leader.state.summary().root.child.unwrap();

    let other_root = state::Node::Leaf { key: Key([0; 32]), value: (*b"forged").into() };
    let error = refused(&built, |_, batch| {
        batch.put(Column::Nodes, root.id.0.to_be_bytes(), other_root.encode()).unwrap();
    });
    assert!(matches!(error.await, VerifyError::State(_)));

    for leaf in [0, 7, 20] {
        let error = refused(&built, |database, batch| {
            let nodes = all(database, Column::Nodes);
            let mut in_use = leaf_records(&nodes, root);
            let (key, mut value) = in_use.swap_remove(leaf);
            *value.last_mut().unwrap() ^= 1;
            batch.put(Column::Nodes, key, value).unwrap();
        });
        assert!(matches!(error.await, VerifyError::State(_)));
        let error = refused(&built, |database, batch| {
            let nodes = all(database, Column::Nodes);
            batch.delete(Column::Nodes, leaf_records(&nodes, root).swap_remove(leaf).0).unwrap();
        });
        assert!(matches!(error.await, VerifyError::State(_)));
    }

    let error = refused(&built, |_, batch| {
        let head_block = leader.state.head().block;
        batch.put(Column::Stale, record::pair_key(head_block, 9), record::encode_stale(&[root.id])).unwrap();
    });
    assert!(matches!(error.await, VerifyError::StaleInUse(_)));
    let error = refused(&built, |_, batch| {
        let head_block = leader.state.head().block;
        batch.put(Column::Stale, record::pair_key(head_block, 9), [2, 0]).unwrap();
    });
    assert!(matches!(error.await, VerifyError::Manifest(_)));
    let error = refused(&built, |_, batch| batch.put(Column::Stale, [1, 2, 3], []).unwrap());
    assert!(matches!(error.await, VerifyError::Manifest(_)));
}

/// The leaves below `top`, as they are stored.
fn leaf_records(nodes: &[Record], top: Child) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut pending, mut leaves) = (vec![top.id], Vec::new());
    while let Some(NodeId(id)) = pending.pop() {
        let (key, value) = nodes.iter().find(|(key, _)| **key == id.to_be_bytes()).unwrap();
        match state::Node::decode(value).unwrap() {
            state::Node::Leaf { .. } => leaves.push((key.to_vec(), value.to_vec())),
            state::Node::Inner { left, right, .. } => pending.extend([left.id, right.id]),
        }
    }
    leaves
}

#[tokio::test]
async fn forged_deduplication_entries() {
    let (_one, built) = built(&mut Leader::new()).await;
    let forgeries: [fn(&mut DedupEntry); 3] = [
        |entry| entry.command_hash = chancery_ledger::hash::Hash::ZERO,
        |entry| entry.request_id.0[0] ^= 1,
        |entry| entry.block += 1,
    ];
    for forgery in forgeries {
        let error = refused(&built, |database, batch| {
            let (key, value) = all(database, Column::Dedup).swap_remove(3);
            let mut entry = DedupEntry::decode(&value).unwrap();
            forgery(&mut entry);
            batch.put(Column::Dedup, key, entry.encode()).unwrap();
        });
        assert!(matches!(error.await, VerifyError::Dedup(_)));
    }
    let error = refused(&built, |database, batch| {
        batch.delete(Column::Dedup, &all(database, Column::Dedup)[0].0).unwrap();
    });
    assert!(matches!(error.await, VerifyError::Dedup(_)));
    let error = refused(&built, |database, batch| {
        for (key, _) in all(database, Column::Dedup) {
            batch.delete(Column::Dedup, key).unwrap();
        }
    });
    assert!(matches!(error.await, VerifyError::Dedup(_)));
    let error = refused(&built, |database, batch| {
        let (_, value) = all(database, Column::Dedup).swap_remove(0);
        let mut entry = DedupEntry::decode(&value).unwrap();
        entry.not_after_ms += 86_400_000;
        entry.request_id.0[0] ^= 1;
        batch.put(Column::Dedup, record::pair_key(entry.bucket(), entry.index), entry.encode()).unwrap();
    });
    assert!(matches!(error.await, VerifyError::Dedup(_)));
}

#[tokio::test]
async fn forged_logs() {
    let mut leader = Leader::new();
    let (_one, built) = built(&mut leader).await;
    let size = leader.state.head().log_size;
    for index in [0, 1, size / 2, size - 1] {
        let error = refused(&built, |database, batch| {
            let (key, mut value) =
                all(database, Column::Entries).swap_remove(usize::try_from(index).unwrap());
            *value.last_mut().unwrap() ^= 1;
            batch.put(Column::Entries, key, value).unwrap();
        });
        assert!(matches!(error.await, VerifyError::Log { .. }));
        let error = refused(&built, |_, batch| {
            batch.delete(Column::Entries, index.to_be_bytes()).unwrap();
        });
        assert!(matches!(error.await, VerifyError::Log { .. }));
    }
    let error = refused(&built, |_, batch| {
        batch.put(Column::Entries, size.to_be_bytes(), b"one more").unwrap();
    });
    assert!(matches!(error.await, VerifyError::Log { .. }));
    let tile_forgeries: [fn(&mut Vec<u8>); 3] =
        [|tile| tile[33] ^= 1, |tile| tile.truncate(tile.len() - 32), |tile| tile.extend([7; 32])];
    for forgery in tile_forgeries {
        let error = refused(&built, |database, batch| {
            let (key, value) = all(database, Column::Tiles).swap_remove(0);
            let mut tile = value.into_vec();
            forgery(&mut tile);
            batch.put(Column::Tiles, key, tile).unwrap();
        });
        assert!(matches!(error.await, VerifyError::Log { .. }));
    }
    let error = refused(&built, |_, batch| {
        batch.put(Column::Tiles, [5, 0, 0, 0, 0, 0, 0, 0, 0], [7; 32]).unwrap();
    });
    assert!(matches!(error.await, VerifyError::Log { .. }));
}

#[tokio::test]
async fn forged_ends() {
    let mut leader = Leader::new();
    let (_one, built) = built(&mut leader).await;
    let error = refused(&built, |database, batch| {
        let (key, _) = all(database, Column::Ends).swap_remove(0);
        batch.delete(Column::Ends, key).unwrap();
    });
    assert!(matches!(error.await, VerifyError::Ends("one is missing")));
    let error = refused(&built, |_, batch| batch.put(Column::Ends, record::pair_key(7, 3), []).unwrap());
    assert!(matches!(error.await, VerifyError::Ends("there is one too many")));
    let error = refused(&built, |database, batch| {
        let (key, _) = all(database, Column::Ends).swap_remove(0);
        batch.delete(Column::Ends, &key).unwrap();
        let (time_ms, index) = record::decode_pair_key(&key).unwrap();
        batch.put(Column::Ends, record::pair_key(time_ms - 1, index), []).unwrap();
    });
    assert!(matches!(error.await, VerifyError::Ends("one is missing")));
}

#[tokio::test]
async fn forged_summaries() {
    let mut leader = Leader::new();
    let (_one, built) = built(&mut leader).await;
    let summaries: Vec<_> = leader.history.iter().map(|applied| applied.summary.clone()).collect();
    let put = |forged: chancery_ledger::authority::Summary| {
        let built = &built;
        async move {
            refused(built, |_, batch| {
                let key = forged.head.block.to_be_bytes();
                batch.put(Column::Summaries, key, record::encode_summary(&forged)).unwrap();
            })
            .await
        }
    };
    // Of earlier blocks.
    let mut forged = summaries[3].clone();
    forged.head.time_ms += 1;
    assert!(matches!(put(forged).await, VerifyError::Summary { block: 3, .. }));
    let mut forged = summaries[3].clone();
    forged.root = summaries[2].root;
    assert!(matches!(put(forged).await, VerifyError::Summary { block: 3, .. }));
    let mut forged = summaries[2].clone();
    forged.head.block = 3;
    assert!(matches!(put(forged).await, VerifyError::Summary { .. }));
    let mut forged = summaries[3].clone();
    forged.head.ledger.0.0[0] ^= 1;
    assert!(matches!(put(forged).await, VerifyError::Summary { block: 3, .. }));
    // Of the last one.
    let mut forged = summaries[7].clone();
    forged.head.time_ms += 1;
    assert!(matches!(put(forged).await, VerifyError::Manifest("head")));
    let mut forged = summaries[7].clone();
    forged.block_hash.0[0] ^= 1;
    assert!(matches!(put(forged).await, VerifyError::Manifest(_)));
    let mut forged = summaries[7].clone();
    forged.next_node = NodeId(3);
    assert!(matches!(put(forged).await, VerifyError::State(_)));
    let mut forged = summaries[7].clone();
    forged.head.block = 8;
    assert!(matches!(put(forged).await, VerifyError::Manifest("head")));
    for block in [0_u64, 4, 7] {
        let error = refused(&built, |_, batch| {
            batch.delete(Column::Summaries, block.to_be_bytes()).unwrap();
        });
        assert!(matches!(error.await, VerifyError::Summary { .. } | VerifyError::Manifest("head")));
    }
}

#[tokio::test]
async fn forged_records() {
    let (_one, built) = built(&mut Leader::new()).await;
    let applied = record::encode_applied(log_id(9, 9));
    let error = refused(&built, |_, batch| batch.put(Column::Meta, record::APPLIED, applied).unwrap());
    assert!(matches!(error.await, VerifyError::Manifest("last entry")));
    let other = StoredMembership::new(Some(log_id(1, 0)), membership(&[77]));
    let bytes = record::encode_membership(&other).unwrap().unwrap();
    let error = refused(&built, |_, batch| batch.put(Column::Meta, record::MEMBERSHIP, bytes).unwrap());
    assert!(matches!(error.await, VerifyError::Manifest("last entry")));
    for name in [record::APPLIED, record::MEMBERSHIP] {
        let error = refused(&built, |_, batch| batch.delete(Column::Meta, name).unwrap());
        assert!(matches!(error.await, VerifyError::Database(_)));
    }
    let error = refused(&built, |_, batch| batch.delete(Column::Meta, record::SCHEMA).unwrap());
    assert!(matches!(error.await, VerifyError::Manifest("schema")));
    let history = record::encode_history(record::HistoryStart { state: 1000, summary: 0 });
    let error = refused(&built, |_, batch| batch.put(Column::Meta, record::HISTORY, history).unwrap());
    assert!(matches!(error.await, VerifyError::Manifest("history")));
}

#[tokio::test]
async fn claims_without_a_quorum() {
    let mut leader = Leader::new();
    let (_one, built) = built(&mut leader).await;
    let true_head = *built.manifest().head();
    let claim = |head, membership: StoredMembership, statements| {
        let (position, log_id) = (built.manifest().position(), built.manifest().log_id());
        let files = built.manifest().files().to_vec();
        let manifest = Manifest::new(
            head,
            position.block_hash,
            log_id,
            membership,
            RosterChain::default(),
            statements,
            files,
        )
        .unwrap();
        send(built.folder().path(), manifest)
    };
    let membership_now = || built.manifest().membership().clone();
    for nodes in [&[][..], &[1], &[1, 1]] {
        let refused = claim(true_head, membership_now(), sign_head(true_head, nodes)).await;
        assert!(matches!(refused, Err(SnapshotError::Verify(VerifyError::Quorum(_)))), "{refused:?}");
    }
    let earlier = leader.history[2].summary.head;
    let refused = claim(true_head, membership_now(), sign_head(earlier, &[1, 2])).await;
    assert!(matches!(refused, Err(SnapshotError::Verify(VerifyError::Quorum(_)))), "{refused:?}");
    let refused = claim(earlier, membership_now(), sign_head(earlier, &[1, 2])).await;
    assert!(matches!(refused, Err(SnapshotError::Verify(VerifyError::Manifest("head")))), "{refused:?}");
    let fewer = Membership::new_with_defaults(vec![[1].into()], []);
    let fewer = StoredMembership::new(Some(log_id(1, 0)), fewer);
    let refused = claim(true_head, fewer, sign_head(true_head, &[1, 2])).await;
    assert!(matches!(refused, Err(SnapshotError::Verify(VerifyError::VotersDiffer))), "{refused:?}");
    let mut other = true_head;
    other.ledger.0.0[0] ^= 1;
    let refused = claim(other, membership_now(), sign_head(other, &[1, 2])).await;
    assert!(matches!(refused, Err(SnapshotError::Verify(VerifyError::OtherLedger))), "{refused:?}");
    let mut other = true_head;
    other.roster.digest.0[0] ^= 1;
    let refused = claim(other, membership_now(), sign_head(other, &[1, 2])).await;
    assert!(matches!(refused, Err(SnapshotError::Verify(VerifyError::OtherRoster))), "{refused:?}");
    claim(true_head, membership_now(), sign_head(true_head, &[2, 3])).await.unwrap();
}
