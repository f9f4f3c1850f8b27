//! A disk that is full stops its node, with the reason, and nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use chancery_client::SubmitError;
use tokio::task::JoinSet;

use crate::harness::{NODES, PATIENCE, name, terms};
use crate::{House, READER};

/// What a young node's stores need, several times over.
const DISK_SIZE_MIB: u64 = 128;

/// What is left of it for the node to start: less than RocksDB sets aside ahead of its writes, so that it sets
/// nothing aside.
const LEFT_SIZE_BYTES: u64 = 6 << 20;

/// Commands at once, and how often, until a node on a full disk must have stopped.
const COMMANDS: u64 = 16;
const TIMES_MAX: u64 = 1_000;

/// A small disk of its own, where this machine lets us mount one.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_SIZE_MIB}m"), "tmpfs"]).arg(path);
        mount.output().ok().filter(|output| output.status.success()).map(|_| Self { path: path.into() })
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Writes until nothing more goes in, then gives some of it back.
    fn fill_but(&self, left_size_bytes: u64) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        for size_bytes in [1 << 20, 4_096, 1] {
            while file.write(&vec![1; size_bytes]).is_ok_and(|written| written > 0) {}
        }
        let size_bytes = file.metadata().unwrap().len();
        file.set_len(size_bytes.saturating_sub(left_size_bytes)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A node may still run there when a test fails.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

pub(crate) async fn stops_the_node_alone(house: &mut House) {
    let full = house.cluster.leader().await;
    let data = house.cluster.data(full);
    house.cluster.kill(full);
    let aside = data.with_extension("aside");
    fs::rename(&data, &aside).unwrap();
    fs::create_dir(&data).unwrap();
    let Some(disk) = Disk::mount(&data) else {
        println!("NOT SHOWN: a full disk, because no disk can be mounted here");
        fs::remove_dir(&data).unwrap();
        fs::rename(&aside, &data).unwrap();
        house.cluster.start_node(full);
        house.cluster.wait_until_serving(NODES).await;
        return;
    };
    let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(&data).status().unwrap();
    assert!(copied.success(), "{copied}");
    disk.fill_but(LEFT_SIZE_BYTES);
    house.cluster.start_node(full);
    house.cluster.wait_until_serving(NODES).await;
    house.unharmed("a move to a small disk").await;

    let said_before = house.cluster.said(full).len();
    disk.fill_but(0);
    let mut acknowledged = Vec::new();
    let mut times = 0;
    while !house.cluster.has_ended(full) {
        assert!(times < TIMES_MAX, "node {full} goes on with a full disk");
        let mut given = JoinSet::new();
        for number in 0..COMMANDS {
            let (issuer, agent) = (house.issuer.clone(), format!("full/{times}/{number}"));
            given.spawn(async move {
                let registered = issuer.register_agent(name(&agent), name("ada@example.com"), None).await;
                (agent, registered)
            });
        }
        for (agent, registered) in given.join_all().await {
            match registered {
                Ok(_) => acknowledged.push(agent),
                // While another leader is elected.
                Err(SubmitError::NotDone { .. } | SubmitError::Unknown { .. }) => {}
                Err(error) => panic!("{agent}: {error}"),
            }
        }
        times += 1;
    }
    let status = house.cluster.wait_for_exit(full).await;
    let said = house.cluster.said(full).split_off(said_before);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "it does not say why it stopped: {said}");

    // The other two go on.
    house.cluster.wait_until_serving(NODES - 1).await;
    for number in 0..20 {
        let agent = format!("full/other/{number}");
        house.issuer.register_agent(name(&agent), name("ada@example.com"), None).await.unwrap();
        acknowledged.push(agent);
    }
    println!("{} commands were acknowledged around a full disk", acknowledged.len());

    fs::remove_file(disk.filler()).unwrap();
    house.cluster.start_node(full);
    house.cluster.wait_until_serving(NODES).await;
    house.gates.clear();
    for node in 1..=NODES {
        house.gates.push(house.cluster.connect_to(node, "gate").await);
    }
    // Each is there, and known to the node that had stopped: it permits what is granted to them now.
    let returned = house.cluster.connect_to(full, "issuer").await;
    // The first and the last: there may be thousands.
    let kept = acknowledged.len().saturating_sub(100).max(100).min(acknowledged.len());
    acknowledged.drain(acknowledged.len().min(100)..kept);
    for agent in &acknowledged {
        returned.grant(terms(agent)).await.unwrap_or_else(|error| panic!("{agent} is lost: {error}"));
    }
    let gate = house.cluster.connect_to(full, "gate").await;
    for agent in acknowledged.iter().map(String::as_str).chain([READER]) {
        let permit = gate.check(agent, "read", "documents/1", b"").await;
        assert!(permit.is_ok(), "{agent}, after {PATIENCE:?} at most: {permit:?}");
    }
    house.count_leaves().await;
    house.unharmed("a full disk").await;
    house.cluster.kill(full);
    drop(disk);
}
