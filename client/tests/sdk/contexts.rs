//! Contexts on disk, and what was verified.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use chancery_client::{ConnectError, Context, ContextError, Contexts, Ledger};
use tempfile::TempDir;

use crate::fake::{Cluster, PATIENCE, name};

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_context_is_saved_selected_and_loaded() {
    let cluster = Cluster::start(1).await.with_grant();
    let home = TempDir::new().unwrap();
    let contexts = Contexts::new(home.path());
    assert!(matches!(contexts.load(None), Err(ContextError::NoneSelected)));
    let folder = contexts.folder("dev").unwrap();
    let saved = Context { folder: folder.clone(), ..cluster.context() };
    saved.save().unwrap();
    for file in std::fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    contexts.select("dev").unwrap();
    let loaded = contexts.load(None).unwrap();
    assert_eq!((&loaded.endpoints, &loaded.trust), (&saved.endpoints, &saved.trust));
    assert_eq!(loaded.key, saved.key);
    assert!(!format!("{loaded:?}").contains(&loaded.tls_key[40..60]));
    let ledger = cluster.connect_as(loaded).await;
    ledger.check("bot", "pay", "a", b"").await.unwrap().run(b"", || ()).unwrap();
    assert!(matches!(contexts.load(Some("other")), Err(ContextError::Read { .. })));
}

#[tokio::test]
async fn secrets_that_others_can_read_are_refused_and_so_is_trust_that_they_can_write() {
    let cluster = Cluster::start(1).await;
    cluster.context().save().unwrap();
    let folder = cluster.folder.path();
    for (file, mode) in
        [("key", 0o640), ("client-key.pem", 0o604), ("trust.toml", 0o620), ("context.toml", 0o602)]
    {
        let path = folder.join(file);
        chmod(&path, mode);
        let error = Context::open(folder).unwrap_err();
        assert!(
            matches!(&error, ContextError::LaxMode { path: p, mode: m } if *p == path && *m == mode),
            "{error}"
        );
        chmod(&path, 0o600);
        Context::open(folder).unwrap();
    }
    // A reader has no key at all.
    let text = std::fs::read_to_string(folder.join("context.toml")).unwrap();
    std::fs::write(folder.join("context.toml"), text.replace("key = \"key\"\n", "")).unwrap();
    assert!(Context::open(folder).unwrap().key.is_none());
    std::fs::write(folder.join("context.toml"), format!("{text}\nunknown = 1\n")).unwrap();
    assert!(matches!(Context::open(folder), Err(ContextError::Malformed { .. })));
}

#[tokio::test]
async fn endpoints_and_certificates_are_looked_at_when_connecting() {
    let cluster = Cluster::start(1).await;
    for endpoint in ["localhost", "a b:1", "user@host:1", "host:1/path", "http://host:1", ""] {
        let context = Context { endpoints: vec![endpoint.into()], ..cluster.context() };
        let connected = Ledger::connect(context).await;
        assert!(matches!(connected, Err(ConnectError::Endpoint(_))), "{endpoint}: {connected:?}");
    }
    let context = Context { certificate: "none".into(), ..cluster.context() };
    assert!(matches!(Ledger::connect(context).await, Err(ConnectError::Tls(_))));
    let context = Context { endpoints: Vec::new(), ..cluster.context() };
    assert!(matches!(Ledger::connect(context).await, Err(ConnectError::NoEndpoint)));
}

/// Waits until the context's folder says that this block is the newest.
async fn until_written(folder: &Path, block: u64) {
    let deadline = Instant::now() + PATIENCE;
    while written(folder) != Some(block) {
        assert!(Instant::now() < deadline, "{:?} is written and not {block}", written(folder));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The newest block that the context's folder knows of.
fn written(folder: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join("newest.toml")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("block = ")).map(|block| block.parse().unwrap())
}

#[tokio::test]
async fn the_newest_head_is_kept_soon_and_on_drop() {
    let cluster = Cluster::start(1).await.with_grant();
    let folder = cluster.folder.path();
    let ledger = cluster.connect().await;
    drop(ledger.check("bot", "pay", "a", b"").await.unwrap());
    until_written(folder, 2).await;
    ledger.register_agent(name("x"), name("ann"), None).await.unwrap();
    until_written(folder, 3).await;
    ledger.register_agent(name("y"), name("ann"), None).await.unwrap();
    let clone = ledger.clone();
    drop(ledger);
    assert_eq!(clone.newest_verified().block, 4);
    drop(clone);
    assert_eq!(written(folder), Some(4));
    let path = folder.join("newest.toml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // What another process verified meanwhile is not forgotten.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("block = 4\n", "block = 9\n")).unwrap();
    assert_eq!(cluster.connect().await.newest_verified().block, 9);
    drop(cluster.connect().await);
    assert_eq!(written(folder), Some(9));
}

#[tokio::test]
async fn a_ledger_that_is_dropped_while_it_writes_has_written_all_of_it() {
    let cluster = Cluster::start(1).await.with_grant();
    let folder = cluster.folder.path();
    let ledger = cluster.connect().await;
    // Another process writes, and takes its time.
    let other = std::fs::File::create(folder.join("newest.lock")).unwrap();
    other.lock().unwrap();
    drop(ledger.check("bot", "pay", "a", b"").await.unwrap());
    ledger.register_agent(name("x"), name("ann"), None).await.unwrap();
    let released = std::thread::spawn(move || {
        // Most likely after the drop has begun; it is right however that falls out.
        std::thread::sleep(Duration::from_millis(200));
        drop(other);
    });
    drop(ledger);
    assert_eq!(written(folder), Some(3));
    released.join().unwrap();
}
