//! Following the log through whatever breaks.

use chancery_client::{Event, Ledger, ResumeToken, Watch, WatchError};
use chancery_ledger::command::Body;
use chancery_ledger::follow::FollowError;
use chancery_ledger::hash::Hash;

use crate::fake::{Cluster, Fault, name, terms};

async fn connect(cluster: &Cluster) -> Ledger {
    cluster.connect().await
}

/// Everything up to and with the next head.
async fn until_head(watch: &mut Watch) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        events.push(watch.next().await.unwrap());
        if matches!(events.last(), Some(Event::Head(_))) {
            return events;
        }
    }
}

fn indices(events: &[Event]) -> Vec<u64> {
    let index = |event: &Event| if let Event::Change(change) = event { Some(change.index) } else { None };
    events.iter().filter_map(index).collect()
}

#[tokio::test]
async fn a_token_goes_on_where_it_was_taken() {
    let cluster = Cluster::start(2).await.with_grant();
    let size = cluster.world.lock().unwrap().head().log_size;
    for node in &cluster.nodes {
        node.misbehave(Fault::Heads(vec![]));
    }
    let mut watch = connect(&cluster).await.watch(0).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), watch_first(&cluster).await);
    let early = watch.token().unwrap();
    assert_eq!(early.frontier.size(), 1);
    assert_eq!(watch.proven().frontier.size(), 0, "no head came yet");
    let events = until_head(&mut watch).await;
    assert_eq!(indices(&events), (1..size).collect::<Vec<_>>());
    let Some(Event::Head(proven)) = events.last() else { panic!() };
    assert_eq!(proven.head, cluster.world.lock().unwrap().head());
    assert_eq!(watch.proven(), &watch.token().unwrap());
    let late: ResumeToken = watch.proven().to_string().parse().unwrap();
    drop(watch);

    cluster.apply(Body::grant(terms()));
    let more = cluster.world.lock().unwrap().head().log_size;
    // Another process, another node; from either token.
    for (token, from) in [(late, size), (early, 1)] {
        let mut watch = connect(&cluster).await.watch_from(token.clone()).await.unwrap();
        assert_eq!(indices(&until_head(&mut watch).await), (from..more).collect::<Vec<_>>());
        let mut asked = cluster.nodes.iter().flat_map(|node| node.shared.watches.lock().unwrap().clone());
        let asked = asked.rfind(|asked| asked.from_index == from).unwrap();
        assert_eq!(asked.ended_ms, Some(token.ends.time_ms), "ends go on where they were");
        assert!(!asked.with_frontier);
    }
    let mut other = watch_token(&cluster).await;
    other.ledger.0 = Hash::ZERO;
    let error = connect(&cluster).await.watch_from(other).await.unwrap_err();
    assert!(matches!(error, WatchError::OtherLedger), "{error}");
}

async fn watch_first(cluster: &Cluster) -> Event {
    connect(cluster).await.watch(0).await.unwrap().next().await.unwrap()
}

async fn watch_token(cluster: &Cluster) -> ResumeToken {
    connect(cluster).await.watch(0).await.unwrap().token().unwrap()
}

#[tokio::test]
async fn from_the_middle_the_first_head_proves_what_was_before() {
    let cluster = Cluster::start(1).await.with_grant();
    cluster.nodes[0].misbehave(Fault::Heads(vec![]));
    let size = cluster.world.lock().unwrap().head().log_size;
    let mut watch = connect(&cluster).await.watch(3).await.unwrap();
    assert_eq!((watch.next_index(), watch.token()), (3, None));
    assert_eq!(indices(&until_head(&mut watch).await), (3..size).collect::<Vec<_>>());
    assert_eq!(watch.proven().frontier, cluster.world.lock().unwrap().frontier(size));
}

#[tokio::test]
async fn leaves_that_are_not_the_logs_are_found_out_by_the_next_head() {
    let cluster = Cluster::start(1).await.with_grant();
    cluster.nodes[0].misbehave(Fault::OtherLeaf);
    let size = cluster.world.lock().unwrap().head().log_size;
    let mut watch = connect(&cluster).await.watch(0).await.unwrap();
    let error = loop {
        match watch.next().await {
            Ok(Event::Change(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    let WatchError::Untrue { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, FollowError::OtherLog(found) if found == size), "{error}");
    // From what was proven on, at an honest node, it is all right again.
    cluster.nodes[0].misbehave(Fault::Heads(vec![]));
    let mut watch = connect(&cluster).await.watch_from(watch.proven().clone()).await.unwrap();
    assert_eq!(indices(&until_head(&mut watch).await), (0..size).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_is_cut_off_is_told_and_goes_on_without_a_gap() {
    let cluster = Cluster::start(1).await.with_grant();
    cluster.nodes[0].misbehave(Fault::CutOff);
    let size = cluster.world.lock().unwrap().head().log_size;
    let mut watch = connect(&cluster).await.watch(0).await.unwrap();
    let (mut seen, mut cut_off) = (Vec::new(), 0);
    while seen.len() < size as usize {
        match watch.next().await {
            Ok(event) => seen.extend(indices(&[event])),
            Err(WatchError::TooSlow { message, .. }) => {
                assert_eq!(message, "as told");
                cut_off += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(seen, (0..size).collect::<Vec<_>>());
    assert!(cut_off >= 1, "{cut_off}");
}

#[tokio::test]
async fn ends_of_grants_are_proven_and_told_once() {
    let cluster = Cluster::start(1).await;
    cluster.apply(Body::RegisterAgent { agent: name("bot"), owner: name("ann"), key: None, lineage: None });
    // An hour's; the voters' clocks are two hours on when they tell of ends.
    cluster.apply(Body::grant(terms()));
    let grant = cluster.world.lock().unwrap().head().log_size - 2;
    cluster.nodes[0].misbehave(Fault::Heads(vec![grant]));
    let mut watch = connect(&cluster).await.watch(0).await.unwrap();
    let events = until_head(&mut watch).await;
    let ended = |event: &Event| matches!(event, Event::Ended(end) if end.index == grant);
    assert_eq!(events.iter().filter(|event| ended(event)).count(), 1);
    assert!(ended(&events[events.len() - 2]), "after the leaves, before the head");
    // A node that tells it again is not believed; nor one that tells what has not ended, or is no grant.
    let token = watch.proven().clone();
    for (leaf, what) in [(grant, "again"), (2, "no grant")] {
        cluster.nodes[0].misbehave(Fault::Heads(vec![leaf]));
        let mut watch = connect(&cluster).await.watch_from(token.clone()).await.unwrap();
        let error = watch.next().await.unwrap_err();
        assert!(matches!(error, WatchError::Untrue { .. }), "{what}: {error}");
    }
}
