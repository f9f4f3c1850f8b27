//! Tests of what is served, against the log that was applied.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::{Extension, Router};
use chancery_ledger::hash::Hash;
use chancery_ledger::log::{TILE_WIDTH, decode_entry_bundle, leaf_hash};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

use super::Published;
use super::callers::Callers;
use super::routes::{Served, router};
use crate::store::applied::tests::{ledger::Leader, open};

/// A log of some blocks, of which as many leaves are published as a test says.
struct Log {
    entries: Vec<Vec<u8>>,
    router: Router,
    publish: watch::Sender<Option<Arc<Published>>>,
    _folder: TempDir,
}

impl Log {
    fn of_blocks(busy: usize, requests_per_second_max: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        let mut leader = Leader::new();
        for entry in leader.some_entries(busy) {
            store.apply(&entry).unwrap();
        }
        let entries = leader.history.iter().flat_map(|applied| applied.leaves.clone()).collect();
        let (publish, published) = watch::channel(None);
        let callers = Arc::new(Callers::new(NonZeroU32::new(requests_per_second_max).unwrap()));
        let place = Callers::enter(&callers, ([127, 0, 0, 1], 1).into()).unwrap();
        let caller = Extension(place.caller());
        Self {
            entries,
            router: router(Served::new(store, published), callers).layer(caller),
            publish,
            _folder: folder,
        }
    }

    fn publish(&self, size: u64) {
        let (note, policy) = ("the note".into(), Some("the policy".into()));
        self.publish.send_replace(Some(Arc::new(Published {
            size,
            note,
            policy,
            rosters: b"rosters".into(),
        })));
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, String, Vec<u8>) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let cached = response.headers().get(header::CACHE_CONTROL);
        let cached = cached.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = response.status();
        (status, cached, to_bytes(response.into_body(), 64 << 20).await.unwrap().into())
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let (status, _, body) = self.ask(Method::GET, path).await;
        (status, body)
    }
}

#[tokio::test]
async fn tiles_and_entries_are_those_of_the_log_and_end_with_the_checkpoint() {
    let log = Log::of_blocks(100, 10_000);
    let count = log.entries.len() - 7;
    assert!(count > 256, "more than a tile");
    let size = count as u64;
    log.publish(size);
    let leaves: Vec<Hash> = log.entries.iter().map(|entry| leaf_hash(entry)).collect();
    let hashes = |leaves: &[Hash]| leaves.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>();

    assert_eq!(log.get("/tile/0/000").await, (StatusCode::OK, hashes(&leaves[..256])));
    assert_eq!(log.get("/tile/0/000.p/3").await, (StatusCode::OK, hashes(&leaves[..3])));
    let rest = size - 256;
    let last = format!("/tile/0/001.p/{rest}");
    assert_eq!(log.get(&last).await, (StatusCode::OK, hashes(&leaves[256..count])));
    let (status, root) = log.get("/tile/1/000.p/1").await;
    assert_eq!((status, root.len()), (StatusCode::OK, 32));

    let (status, bundle) = log.get("/tile/entries/000").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(decode_entry_bundle(&bundle, TILE_WIDTH).unwrap(), log.entries[..256]);
    let (status, bundle) = log.get(&format!("/tile/entries/001.p/{rest}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(decode_entry_bundle(&bundle, u16::try_from(rest).unwrap()).unwrap(), log.entries[256..count]);

    // The log has more than is published, and none of it is served.
    for path in [
        format!("/tile/0/001.p/{}", rest + 1),
        format!("/tile/entries/001.p/{}", rest + 1),
        "/tile/0/001".into(),
        "/tile/0/002.p/1".into(),
        "/tile/1/000.p/2".into(),
        "/tile/2/000.p/1".into(),
    ] {
        assert_eq!(log.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    log.publish(size + 1);
    assert_eq!(log.get(&format!("/tile/0/001.p/{}", rest + 1)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn nothing_has_two_paths_and_nothing_can_be_changed() {
    let log = Log::of_blocks(1, 10_000);
    log.publish(3);
    for path in [
        "/",
        "/tile",
        "/tile/",
        "/tile/0/000.p/0",
        "/tile/0/000.p/03",
        "/tile/0/000.p/256",
        "/tile/0/0",
        "/tile/00/000.p/3",
        "/tile/0/x000/000.p/3",
        "/tile/0/000.p/3/",
        "/tile//0/000.p/3",
        "/tile/0/%30%30%30.p/3",
        "/tile/64/000.p/1",
        "/tile/-1/000.p/1",
        "/tile/0/../0/000.p/3",
        "/tile/0/x999/x999/x999/x999/x999/x999/999.p/1",
        "/tile/entries/000.p/3x",
        "/checkpoint/",
        "/genesis",
    ] {
        assert_eq!(log.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(log.get("/tile/0/000.p/3").await.0, StatusCode::OK);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/checkpoint", "/rosters", "/tile/0/000.p/3"] {
            assert_eq!(
                log.ask(method.clone(), path).await.0,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
        }
    }
    let (status, _, body) = log.ask(Method::HEAD, "/checkpoint").await;
    assert_eq!((status, body), (StatusCode::OK, Vec::new()));
}

#[tokio::test]
async fn what_may_change_is_not_cached_and_what_does_not_is_for_ever() {
    let log = Log::of_blocks(1, 10_000);
    for path in ["/checkpoint", "/rosters", "/tlog-policy", "/tile/0/000.p/1"] {
        let (status, cached, _) = log.ask(Method::GET, path).await;
        assert_eq!((status, cached.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "no-cache"), "{path}");
    }
    log.publish(3);
    for (path, body) in
        [("/checkpoint", &b"the note"[..]), ("/rosters", b"rosters"), ("/tlog-policy", b"the policy")]
    {
        let (status, cached, found) = log.ask(Method::GET, path).await;
        assert_eq!((status, cached.as_str(), &found[..]), (StatusCode::OK, "no-cache", body), "{path}");
    }
    for path in ["/tile/0/000.p/3", "/tile/entries/000.p/3"] {
        let (status, cached, _) = log.ask(Method::GET, path).await;
        assert_eq!((status, cached.as_str()), (StatusCode::OK, "public, max-age=31536000, immutable"));
    }
    let (status, cached, _) = log.ask(Method::GET, "/tile/0/000.p/4").await;
    assert_eq!((status, cached.as_str()), (StatusCode::NOT_FOUND, "no-cache"), "it is there soon");
}

#[tokio::test]
async fn who_asks_too_often_is_told_so() {
    let log = Log::of_blocks(1, 1);
    log.publish(3);
    let mut refused = 0;
    for _ in 0..50 {
        let (status, body) = log.get("/checkpoint").await;
        match status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => {
                assert_eq!(body, b"too many requests\n");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "fifty requests took less than fifty seconds");
}
