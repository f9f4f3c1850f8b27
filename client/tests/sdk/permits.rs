//! When permits end.

use std::sync::Arc;
use std::time::Duration;

use chancery_client::{CheckOptions, Ledger, Permit, PermitError};
use chancery_ledger::command::{Body, Terms};
use chancery_ledger::hash::Hash;

use crate::fake::{Cluster, NOW_MS, TestClock, name, terms};

async fn permit() -> (Cluster, Ledger, Arc<TestClock>, Permit) {
    let cluster = Cluster::start(1).await.with_grant();
    let (clock, ledger) = (Arc::clone(&cluster.clock), cluster.connect().await);
    let permit = ledger.check("bot", "pay", "a", b"x").await.unwrap();
    (cluster, ledger, clock, permit)
}

#[tokio::test]
async fn a_permit_ends_a_staleness_after_it_was_asked_for() {
    let (_cluster, ledger, clock, permit) = permit().await;
    clock.pass(Duration::from_millis(3_500));
    assert_eq!(permit.run(b"x", || 1), Ok(1));
    let permit = ledger.check("bot", "pay", "a", b"x").await;
    // The client's clock is 3.5 s ahead of the nodes' now: 1 s is left on it.
    let permit = permit.unwrap();
    clock.pass(Duration::from_millis(1_000));
    assert!(permit.is_expired());
    assert_eq!(permit.run(b"x", || panic!("it ran")), Err(PermitError::Expired));
}

#[tokio::test]
async fn a_suspend_ends_a_permit_though_the_wall_clock_slept_too() {
    let (_cluster, _ledger, clock, permit) = permit().await;
    clock.suspend_without_wall(Duration::from_millis(5_000));
    assert_eq!(permit.run(b"x", || panic!("it ran")), Err(PermitError::Expired));
}

#[tokio::test]
async fn the_wall_clock_ends_a_permit_though_the_other_has_time_left() {
    let (_cluster, _ledger, clock, permit) = permit().await;
    clock.step_wall_ms(4_500);
    assert_eq!(permit.run_async(b"x", || async { panic!("it ran") }).await, Err(PermitError::Expired));
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_prolong_a_permit() {
    let (_cluster, _ledger, clock, permit) = permit().await;
    clock.step_wall_ms(-3_600_000);
    clock.suspend_without_wall(Duration::from_millis(5_000));
    assert_eq!(permit.run(b"x", || panic!("it ran")), Err(PermitError::Expired));
}

#[tokio::test]
async fn a_permit_ends_with_its_authority() {
    let cluster = Cluster::start(1).await;
    cluster.apply(Body::RegisterAgent { agent: name("bot"), owner: name("ann"), key: None, lineage: None });
    let not_after_ms = NOW_MS + 2_500;
    cluster.apply(Body::grant(Terms { not_after_ms, ..terms() }));
    let (clock, ledger) = (Arc::clone(&cluster.clock), cluster.connect().await);
    let permit = ledger.check("bot", "pay", "a", b"x").await.unwrap();
    assert_eq!(permit.deadline().wall_ms, not_after_ms - 500);
    clock.pass(Duration::from_millis(2_000));
    assert_eq!(permit.run(b"x", || panic!("it ran")), Err(PermitError::Expired));
}

#[tokio::test]
async fn the_caller_may_ask_for_less_staleness_and_not_for_more() {
    let (_cluster, ledger, clock, permit) = permit().await;
    let request = permit.checked().request.clone();
    let options = CheckOptions { staleness_ms_max: 1_000, ..ledger.check_options() };
    let strict = ledger.check_with(request.clone(), options).await.unwrap();
    let options = CheckOptions { staleness_ms_max: 60_000, ..ledger.check_options() };
    let lax = ledger.check_with(request, options).await.unwrap();
    clock.suspend_without_wall(Duration::from_millis(1_000));
    assert!(strict.is_expired() && !lax.is_expired());
    clock.suspend_without_wall(Duration::from_millis(4_000));
    assert!(lax.is_expired());
}

#[tokio::test]
async fn a_permit_is_for_the_arguments_that_were_checked() {
    let (_cluster, ledger, _clock, permit) = permit().await;
    let refused = permit.run(b"y", || panic!("it ran"));
    let digest = |bytes: &[u8]| Hash::of(&[bytes]);
    let expected = PermitError::OtherArguments { permitted: digest(b"x"), found: digest(b"y") };
    assert_eq!(refused, Err(expected));
    // The digest does as well as the bytes.
    let permit = ledger.check("bot", "pay", "a", digest(b"x")).await.unwrap();
    assert_eq!(permit.run_async(b"x", || async { 7 }).await, Ok(7));
}
