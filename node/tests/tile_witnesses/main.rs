//! What witnesses cosign is published, whatever the others of them do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod configuration;
mod fake;
#[path = "../../src/store/applied/tests/ledger.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests in the crate")]
mod ledger;
mod log;

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::trust::CosignedError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use fake::{Fake, Manner};
use log::Log;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_checkpoint_gains_the_cosignatures_that_trust_demands() {
    let witnesses = [Fake::start("w.example/1").await, Fake::start("w.example/2").await];
    let mut log = Log::asking(&witnesses, 2).await;
    let trust = log.trust(&witnesses, 2);
    log.grow(3);
    let at_once = log.publish();
    assert_eq!(log.verify(&trust, &at_once), Err(CosignedError::TooFewWitnesses { found: 0, demanded: 2 }));

    let cosigned = log.published_with(2).await;
    assert_eq!(cosigned.checkpoint(), at_once.checkpoint());
    let by = log.verify(&trust, &cosigned).unwrap();
    assert_eq!(by.nodes.len(), 2, "what the nodes signed is still there");
    assert_eq!(
        by.witnesses.iter().map(|by| by.key.clone()).collect::<Vec<_>>(),
        witnesses.each_ref().map(Fake::key)
    );
    assert_eq!(log.witnessed_at(cosigned.checkpoint().size()).await, cosigned);

    // A newer one is published at once, without them, and they extend what they cosigned by a proof.
    log.grow(200);
    let newer = log.publish();
    assert!(newer.checkpoint().size() > cosigned.checkpoint().size());
    assert!(log.verify(&trust, &newer).is_err());
    log.verify(&trust, &log.published_with(2).await).unwrap();
    for witness in &witnesses {
        let size = cosigned.checkpoint().size();
        assert_eq!(witness.seen().cosigned, [(0, size), (size, newer.checkpoint().size())]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_delays_nobody_and_adds_nothing() {
    let mut witnesses = vec![
        // One of the nodes: its line would be there twice.
        Fake::start_with("example.com/ledger/node-1", ledger::node_key(1)).await,
        Fake::down("w.example/down"),
        Fake::start_as("w.example/hangs", Manner::Hangs).await,
        Fake::start_as("w.example/hangs-midway", Manner::HangsMidway).await,
        Fake::start_as("w.example/rubbish", Manner::Says(200, "rubbish\n\n— a b\n".into())).await,
        Fake::start_as("w.example/empty", Manner::Says(200, String::new())).await,
        Fake::start_as("w.example/endless", Manner::Endless(200)).await,
        Fake::start_as("w.example/endless-size", Manner::Endless(409)).await,
        Fake::start_as("w.example/no-size", Manner::Says(409, "many\n".into())).await,
        Fake::start_as("w.example/two-sizes", Manner::Contends).await,
        Fake::start_as("w.example/forges", Manner::Forges).await,
        Fake::start_as("w.example/stranger", Manner::Says(404, "unknown log\n".into())).await,
        Fake::start_as("w.example/forbids", Manner::Says(403, "no\n".into())).await,
        Fake::start_as("w.example/redirects", Manner::Says(307, String::new())).await,
        Fake::start_as("w.example/broken", Manner::Says(500, "x".repeat(1 << 20))).await,
    ];
    witnesses.push(Fake::start("w.example/good").await);
    let mut log = Log::asking(&witnesses, 1).await;
    let trust = log.trust(&witnesses[1..], 1);
    for round in 1..=3 {
        log.grow(2);
        let published = Instant::now();
        let at_once = log.publish();
        let cosigned = log.published_with(1).await;
        // Who hangs is waited for ten seconds.
        assert!(published.elapsed() < Duration::from_secs(8), "round {round}: {:?}", published.elapsed());
        assert_eq!(cosigned.checkpoint(), at_once.checkpoint());
        let by = log.verify(&trust, &cosigned).unwrap();
        assert_eq!(by.witnesses.len(), 1);
        assert_eq!(by.witnesses[0].key, witnesses.last().unwrap().key());
        assert_eq!(cosigned.signatures().len(), at_once.signatures().len() + 1, "and no other line");
    }
    // Who answers nonsense is asked again, but not without a pause; who hangs is not asked twice at once.
    for witness in &witnesses {
        match witness.label() {
            "w.example/down" => {}
            "w.example/hangs" | "w.example/hangs-midway" => assert_eq!(witness.seen().at_once_max, 1),
            "w.example/good" => assert_eq!(witness.seen().cosigned.len(), 3),
            label => {
                witness.wait_for_requests(2).await;
                assert_eq!(witness.seen().at_once_max, 1, "{label}");
            }
        }
    }
    let asked =
        witnesses.iter().find(|witness| witness.label() == "w.example/forbids").unwrap().seen().requests;
    assert!(asked <= 6, "asked {asked} times, with pauses of 1, 2 and 4 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cosigned_another_size_is_asked_from_there() {
    let witness = Fake::start("w.example/1").await;
    let mut log = Log::new();
    log.grow(2);
    let first = log.size();
    // Another node was here before.
    witness.has_cosigned(&log.signed());
    log.grow(3);
    log.ask(std::slice::from_ref(&witness), 1).await;
    log.publish();
    let second = log.published_with(1).await.checkpoint().size();
    assert_eq!(witness.seen().cosigned, [(first, second)]);
    assert_eq!(witness.seen().requests, 2, "asked from nothing, told the size, asked from there");

    // It is further than what is published here: there is nothing to ask until that is, too.
    log.grow(2);
    let between = log.signed();
    log.grow(2);
    witness.has_cosigned(&log.signed());
    let requests = witness.seen().requests;
    log.publish_signed(&between);
    witness.wait_for_requests(requests + 1).await;
    let at_its_size = log.publish();
    let cosigned = log.published_with(1).await;
    assert_eq!(cosigned.checkpoint(), at_its_size.checkpoint());
    let size = log.size();
    assert_eq!(witness.seen().cosigned, [(first, second), (size, size)], "with an empty proof");

    // It lost its memory.
    witness.forget();
    log.grow(2);
    log.publish();
    log.published_with(1).await;
    assert_eq!(witness.seen().cosigned.last(), Some(&(0, log.size())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_comes_back_is_asked_for_what_is_newest() {
    let witness = Fake::down("w.example/1");
    let mut log = Log::asking(std::slice::from_ref(&witness), 1).await;
    log.grow(2);
    log.publish();
    log.grow(2);
    let newest = log.publish();
    sleep(Duration::from_millis(1_500)).await;
    witness.come_up().await;
    let cosigned = log.published_with(1).await;
    assert_eq!(cosigned.checkpoint(), newest.checkpoint());
    assert_eq!(witness.seen().cosigned.last(), Some(&(0, newest.checkpoint().size())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_witness_does_is_told_to_who_asks() {
    let witnesses = [
        Fake::start("w.example/good").await,
        Fake::down("w.example/down"),
        Fake::start_as("w.example/broken", Manner::Says(500, "x".repeat(5_000))).await,
        Fake::start("w.example/ahead").await,
    ];
    let mut log = Log::asking(&witnesses, 1).await;
    let untold = log.told(0, |_| true).await;
    assert_eq!(
        (untold.size, untold.cosigned_ms, untold.error.as_str()),
        (None, None, ""),
        "nothing was asked"
    );
    log.grow(2);
    let published = log.signed();
    // Another node was there with more.
    log.grow(2);
    witnesses[3].has_cosigned(&log.signed());
    let ahead = log.size();
    log.publish_signed(&published);
    let good = log.told(0, |told| told.size.is_some()).await;
    assert_eq!((good.name.as_str(), good.size), ("w.example/good", Some(published.checkpoint().size())));
    assert!(good.cosigned_ms.is_some_and(|ms| ms < 60_000) && good.error.is_empty(), "{good:?}");
    for place in [1, 2] {
        let bad = log.told(place, |told| !told.error.is_empty()).await;
        assert_eq!((bad.name.as_str(), bad.size, bad.cosigned_ms), (witnesses[place].label(), None, None));
        assert!(bad.error.chars().count() <= 240, "{bad:?}");
    }
    let other = log.told(3, |told| told.size.is_some()).await;
    assert_eq!((other.size, other.cosigned_ms, other.error.as_str()), (Some(ahead), None, ""));

    // Who comes back is no trouble any more.
    witnesses[1].come_up().await;
    let back = log.told(1, |told| told.cosigned_ms.is_some()).await;
    assert_eq!((back.size, back.error.as_str()), (Some(published.checkpoint().size()), ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_slow_witnesses_of_a_busy_log_cosign_is_published_beside_the_newest() {
    let go = Arc::new(Semaphore::new(0));
    let witnesses = [
        Fake::start("w.example/1").await,
        Fake::start_as("w.example/2", Manner::Waits(Arc::clone(&go))).await,
    ];
    let mut log = Log::asking(&witnesses, 2).await;
    let trust = log.trust(&witnesses, 2);
    assert_eq!(log.get("witnessed-checkpoint").await.0, 503, "nothing yet");
    log.grow(1);
    let mut asked = log.publish();
    for round in 1..=3 {
        for witness in &witnesses {
            witness.wait_for_requests(round).await;
        }
        // The log has grown by the time that the slow one answers.
        log.grow(1);
        let newest = log.publish();
        go.add_permits(1);
        let witnessed = log.witnessed_at(asked.checkpoint().size()).await;
        assert_eq!(witnessed.checkpoint(), asked.checkpoint());
        assert_eq!(log.verify(&trust, &witnessed).unwrap().witnesses.len(), 2);
        assert!(log.verify(&trust, &log.newest()).is_err(), "the newest waits for the slow one");
        assert_eq!(log.newest().checkpoint(), newest.checkpoint());
        asked = newest;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_without_waiting_for_a_witness() {
    let witness = Fake::start_as("w.example/hangs", Manner::Hangs).await;
    let mut log = Log::asking(std::slice::from_ref(&witness), 1).await;
    log.grow(1);
    log.publish();
    witness.wait_for_requests(1).await;
    timeout(Duration::from_secs(5), log.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_witnesses_there_is_no_witnessed_checkpoint() {
    let mut log = Log::new();
    log.serve(None).await;
    log.grow(1);
    log.publish();
    assert_eq!(log.get("checkpoint").await.0, 200);
    assert_eq!(log.get("witnessed-checkpoint").await.0, 404);
}
