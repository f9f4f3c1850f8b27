//! Contexts on disk, and what was verified.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use chancery_client::{ConnectError, Context, ContextError, Contexts, Ledger};
use tempfile::TempDir;

use crate::fake::{Cluster, name};

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
    let ledger = Ledger::connect(loaded).await.unwrap();
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

#[tokio::test]
async fn the_newest_head_is_kept_at_most_once_a_second_and_on_drop() {
    let cluster = Cluster::start(1).await.with_grant();
    let path = cluster.folder.path().join("newest.toml");
    let written = || std::fs::read_to_string(&path).unwrap_or_default();
    let ledger = cluster.connect().await;
    drop(ledger.check("bot", "pay", "a", b"").await.unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(written().contains("\nblock = 2\n"), "{}", written());
    ledger.register_agent(name("x"), name("ann"), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(written().contains("\nblock = 2\n"), "{}", written());
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(written().contains("\nblock = 3\n"), "{}", written());
    ledger.register_agent(name("y"), name("ann"), None).await.unwrap();
    drop(ledger);
    assert!(written().contains("\nblock = 4\n"), "{}", written());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // What another process verified meanwhile is not forgotten.
    std::fs::write(&path, written().replace("block = 4\n", "block = 9\n")).unwrap();
    assert_eq!(cluster.connect().await.newest_verified().block, 9);
    drop(cluster.connect().await);
    assert!(written().contains("\nblock = 9\n"), "{}", written());
}
