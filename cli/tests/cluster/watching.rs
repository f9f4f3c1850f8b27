//! Following the log of real nodes: through their deaths, from tokens, and more slowly than it grows.

use chancery_client::{Event, Ledger, Options, ResumeToken, SubmitError, Watch, WatchError};
use chancery_ledger::authority::Entry;
use chancery_ledger::command::{Patterns, Principal, PublicKey, Role, Scope, Terms};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Cluster, NODES, PATIENCE, name, now_ms, register, terms};

fn patient() -> Options {
    Options { submit_timeout: PATIENCE, read_timeout: PATIENCE, tries_max: 1_000, ..Options::default() }
}

/// What a watcher is told, as long as `more` wants it.
async fn told(watch: &mut Watch, entries: &mut Vec<Entry>, more: impl Fn(&Event) -> bool) {
    loop {
        let event = timeout(PATIENCE, watch.next()).await.expect("an event in time").unwrap();
        if let Event::Change(change) = &event {
            assert_eq!(change.index, entries.len() as u64, "each leaf once, in order");
            entries.push(change.entry.clone());
        }
        if !more(&event) {
            return;
        }
    }
}

/// Up to a head of at least so many leaves.
fn before_head_of(size: u64) -> impl Fn(&Event) -> bool {
    move |event| !matches!(event, Event::Head(proven) if proven.head.log_size >= size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_node_dies_a_follower_misses_nothing() {
    let mut cluster = Cluster::start().await;
    let issuer = cluster.connect_with("issuer", None, patient()).await;
    let follower = cluster.connect_with("gate", None, patient()).await;
    let mut watch = follower.watch(0).await.unwrap();
    let mut entries = Vec::new();
    let mut token: Option<ResumeToken> = None;
    for round in 0..NODES + 1 {
        let mut size = 0;
        for number in 0..5 {
            size = register(&issuer, &format!("bots/{round}/{number}")).await.head.head.log_size;
        }
        // Whichever serves the stream is among them.
        let node = round % NODES + 1;
        cluster.kill(node);
        size = size.max(register(&issuer, &format!("bots/{round}/late")).await.head.head.log_size);
        told(&mut watch, &mut entries, before_head_of(size)).await;
        if round % 2 == 1 {
            // Another process, from the token's text.
            let kept = watch.token().unwrap().to_string();
            drop(watch);
            let follower = cluster.connect_with("gate", None, patient()).await;
            watch = follower.watch_from(kept.parse().unwrap()).await.unwrap();
            token = Some(kept.parse().unwrap());
        }
        cluster.start_node(node);
        cluster.wait_until_serving(NODES).await;
    }
    assert!(token.is_some());
    let all = cluster.settled_leaves().await;
    told(&mut watch, &mut entries, before_head_of(all.len() as u64)).await;
    assert_eq!(entries, all);
}

/// A grant that ends soon, and not before it is made, however slow the machine.
async fn short_grant(issuer: &Ledger) -> (u64, u64) {
    let mut lifetime_ms = 3_000;
    loop {
        let not_after_ms = now_ms() + lifetime_ms;
        match issuer.grant(Terms { not_after_ms, ..terms("bot") }).await {
            Ok(receipt) => return (receipt.index, not_after_ms),
            Err(SubmitError::Refused { code, .. }) => assert_eq!(code, "terms_ended"),
            Err(error) => panic!("{error}"),
        }
        lifetime_ms *= 2;
        assert!(lifetime_ms < 100_000, "it never gets through");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_end_though_nobody_says_so() {
    let cluster = Cluster::start().await;
    let issuer = cluster.connect_with("issuer", None, patient()).await;
    register(&issuer, "bot").await;
    issuer.grant(terms("bot")).await.unwrap();
    let (index, not_after_ms) = short_grant(&issuer).await;
    let follower = cluster.connect_with("gate", None, patient()).await;
    let mut watch = follower.watch(0).await.unwrap();
    let mut entries = Vec::new();
    let token = watch.token().unwrap();
    // In an idle ledger: by the nodes' clocks.
    told(&mut watch, &mut entries, |event| !matches!(event, Event::Ended(_))).await;
    told(&mut watch, &mut entries, |event| !matches!(event, Event::Head(_))).await;
    assert!(watch.proven().ends.time_ms >= not_after_ms);

    // From before it, by another process at each node: once again, and the same.
    for node in 1..=NODES {
        let follower = cluster.connect_with("gate", Some(node), patient()).await;
        let mut again = follower.watch_from(token.clone()).await.unwrap();
        let (mut ends, mut heads) = (Vec::new(), 0);
        while heads < 2 || ends.is_empty() {
            match timeout(PATIENCE, again.next()).await.unwrap().unwrap() {
                Event::Ended(end) => ends.push((end.index, end.not_after_ms)),
                Event::Head(_) => heads += 1,
                Event::Change(_) => {}
            }
        }
        assert_eq!(ends, [(index, not_after_ms)], "node {node}");
    }
    // From after it: never again.
    let mut later = follower.watch_from(watch.token().unwrap()).await.unwrap();
    told(&mut later, &mut entries, |event| {
        assert!(!matches!(event, Event::Ended(_)), "{event:?}");
        !matches!(event, Event::Head(_))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_follower_is_cut_off_and_slows_nobody() {
    let cluster = Cluster::start_with(|tuning| tuning.watch_patience_ms = 200).await;
    let follower = cluster.connect_with("gate", Some(1), patient()).await;
    let mut watch = follower.watch(0).await.unwrap();
    let operator = cluster.connect_with("operator", None, patient()).await;
    // More than the stream's window and all queues take: nothing of it is read.
    let mut writers = JoinSet::new();
    for writer in 0..4_u8 {
        let operator = operator.clone();
        writers.spawn(async move {
            for number in 0..100_u8 {
                operator.add_principal(bulky(writer, number)).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let deadline = Instant::now() + PATIENCE;
    while !cluster.said(1).contains("a watcher is cut off") {
        assert!(Instant::now() < deadline, "who takes nothing is not cut off");
        sleep(std::time::Duration::from_millis(50)).await;
    }
    // It is told so, after what was on its way, and goes on where it was.
    let all = cluster.settled_leaves().await;
    let (mut entries, mut cut_off) = (Vec::new(), 0);
    while entries.len() < all.len() {
        match timeout(PATIENCE, watch.next()).await.expect("an event in time") {
            Ok(Event::Change(change)) => {
                assert_eq!(change.index, entries.len() as u64);
                entries.push(change.entry);
            }
            Ok(_) => {}
            Err(WatchError::TooSlow { message, .. }) => {
                assert!(message.contains("took nothing"), "{message}");
                cut_off += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(entries, all);
    assert!(cut_off >= 1);
}

/// A principal whose record is some 16 KiB long.
fn bulky(writer: u8, number: u8) -> Principal {
    let long = |place: usize| format!("{writer}/{number}/{place:03}/{}/*", "x".repeat(230));
    let mut key = [writer; 32];
    key[1] = number;
    Principal {
        key: PublicKey(key),
        name: name(&format!("bulky/{writer}/{number}")),
        roles: vec![Role::Reviewer],
        scope: Scope { agents: Patterns::collect((0..60).map(long)).unwrap(), ..Scope::default() },
    }
}
