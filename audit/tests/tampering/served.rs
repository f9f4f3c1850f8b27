//! The same log over HTTP, by a server that is busy, late, or other than it should be.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use chancery_audit::engine::{Engine, Options};
use chancery_audit::source::{self, SourceError};
use chancery_audit::{Progress, Published, audit};

use super::log;

/// What to answer to a path, by how often it was asked for: a status, and bytes.
type Answer = dyn Fn(&str, usize) -> (u16, Vec<u8>) + Send + Sync;

/// Serves on a port of this machine until the process ends; one connection at a time has a thread.
fn serve(answer: Arc<Answer>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(BTreeMap::new()));
    thread::spawn(move || {
        for stream in listener.incoming().take(1_000) {
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
            thread::spawn(move || serve_one(stream.unwrap(), &*answer, &asked));
        }
    });
    address
}

fn serve_one(mut stream: TcpStream, answer: &Answer, asked: &Mutex<BTreeMap<String, usize>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(first)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let path = first.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
        let times = {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(path.clone()).or_default();
            *times += 1;
            *times
        };
        let (status, body) = answer(&path, times);
        let head =
            format!("HTTP/1.1 {status} -\r\nlocation: /tile\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

fn file(folder: &Path, path: &str) -> (u16, Vec<u8>) {
    std::fs::read(folder.join(path)).map_or((404, Vec::new()), |bytes| (200, bytes))
}

#[test]
fn a_log_is_audited_over_http_from_a_server_that_is_busy_now_and_then() {
    let log = log();
    let folder = tempfile::tempdir().unwrap();
    log.honest.write(folder.path());
    // As a server that keeps no partial tiles of earlier checkpoints, with what is full in their place.
    let root: PathBuf = folder.path().into();
    let address = serve(Arc::new(move |path, times| match path {
        "checkpoint" if times == 1 => (503, b"not yet".to_vec()),
        "tile/entries/001" if times < 3 => (429, Vec::new()),
        path => file(&root, path),
    }));
    let state = tempfile::tempdir().unwrap();
    let mut engine =
        Engine::open(state.path(), log.trust.ledger, Options { threads: 1, ..Options::default() }).unwrap();
    let source = Published::new(source::open(&format!("http://{address}/")).unwrap());
    let told = Mutex::new(Vec::new());
    let audited =
        audit(&[source], &log.trust, None, &mut engine, &|now| told.lock().unwrap().push(now)).unwrap();
    assert_eq!(audited.findings, []);
    assert_eq!(audited.cosigners, ["node-2", "node-3"]);
    let told = told.into_inner().unwrap();
    let size = log.honest.size();
    assert_eq!(told.last(), Some(&Progress { from: 0, compared: size, size }));
    assert!(told.is_sorted_by(|a, b| a.compared < b.compared));
}

#[test]
fn what_a_server_sends_is_bounded_and_where_it_sends_to_is_not_gone_to() {
    let address = serve(Arc::new(|path, _| match path {
        "large" => (200, vec![0; 1_001]),
        "exact" => (200, vec![0; 1_000]),
        "else" => (302, Vec::new()),
        "tile" => (200, b"elsewhere".to_vec()),
        _ => (404, Vec::new()),
    }));
    let source = source::open(&format!("http://{address}")).unwrap();
    assert_eq!(source.read("exact", 1_000).unwrap().len(), 1_000);
    let large = source.read("large", 1_000);
    assert!(matches!(large, Err(SourceError::TooLarge { size_bytes_max: 1_000, .. })), "{large:?}");
    let elsewhere = source.read("else", 1_000);
    assert!(matches!(elsewhere, Err(SourceError::Status { status: 302, .. })), "{elsewhere:?}");
    assert!(matches!(source.read("none", 1_000), Err(SourceError::Missing { .. })));
    assert!(matches!(source::open("no/such/folder"), Err(SourceError::NotASource(_))));
}
