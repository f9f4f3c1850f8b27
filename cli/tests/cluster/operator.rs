//! The operator's command line, against the nodes of a test.

use std::path::PathBuf;
use std::time::Duration;

use chancery_client::{Context, NodeStatus};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Cluster, PATIENCE, looking};

/// A change of the voters may be waited for by the command itself for a minute.
const COMMAND_MAX: Duration = Duration::from_secs(240);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) json: Value,
    /// What it told on the way.
    said: String,
}

impl Ended {
    /// It did what it was asked to.
    #[track_caller]
    pub(crate) fn done(self) -> Value {
        assert_eq!(self.code, Some(0), "{}; it said: {}", self.json, self.said);
        self.json
    }

    /// It was refused, for this reason.
    #[track_caller]
    pub(crate) fn refused(self, code: &str) {
        assert_eq!((self.code, &self.json["code"]), (Some(14), &code.into()), "{}", self.json);
        assert_eq!(self.json["outcome"], "refused");
    }
}

impl Cluster {
    /// Runs a command in the context of `principal`.
    pub(crate) async fn run(&self, principal: &str, arguments: &[&str]) -> Ended {
        let mut command = tokio::process::Command::from(self.chancery());
        command.arg("--context").arg(self.context_folder(principal)).args(["--output", "json"]);
        let running = command.args(arguments).kill_on_drop(true).output();
        let output = timeout(COMMAND_MAX, running).await;
        let output = output.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let json = serde_json::from_slice(&output.stdout);
        let json = json.unwrap_or_else(|error| panic!("{arguments:?} printed no JSON: {error}: {output:?}"));
        Ended { code: output.status.code(), json, said }
    }

    /// [`Cluster::run`] as `operator`.
    pub(crate) async fn operate(&self, arguments: &[&str]) -> Ended {
        self.run("operator", arguments).await
    }

    /// Makes the folder of a node that is to join, and tells every context where it is; its `member.toml`.
    pub(crate) async fn prepare(&mut self, node: u64) -> String {
        let (peer, client) = (self.reserve_port(), self.reserve_port());
        let (number, folder) = (node.to_string(), self.ledger_folder());
        let addresses = format!("127.0.0.1:{peer},127.0.0.1:{client}");
        let ledger = folder.to_str().unwrap();
        let prepare = ["member", "prepare", &number, "--ledger", ledger, "--addresses", &addresses];
        self.operate(&prepare).await.done();
        for entry in folder.join("contexts").read_dir().unwrap() {
            let mut context = Context::open(entry.unwrap().path()).unwrap();
            context.endpoints.push(format!("127.0.0.1:{client}"));
            context.save().unwrap();
        }
        self.node_folder(node).join("member.toml").to_str().unwrap().to_owned()
    }

    /// Prepares and starts a node, and has it vote.
    pub(crate) async fn join(&mut self, node: u64) -> Value {
        let member = self.prepare(node).await;
        self.start_node(node);
        self.operate(&["member", "add", &member]).await.done()
    }

    /// Has another voter lead, the one named if there is one. A command that was not done in the time that it gives itself, as on
    /// a slow machine, is given again; one that is refused is not.
    pub(crate) async fn transfer(&self, to: Option<&str>) -> Value {
        const NOT_DONE_OR_UNKNOWN: [Option<i32>; 2] = [Some(11), Some(12)];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = match to {
                Some(voter) => self.operate(&["transfer", "--to", voter]).await,
                None => self.operate(&["transfer"]).await,
            };
            if !NOT_DONE_OR_UNKNOWN.contains(&ended.code) {
                return ended.done();
            }
            assert!(Instant::now() < deadline, "nobody takes over: {ended:?}");
        }
    }

    /// The leader that all of `voters` name, one of them.
    pub(crate) async fn leader_of_voters(&self, voters: &[u64]) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut named = Vec::new();
            for voter in voters {
                let knows =
                    |status: &NodeStatus| status.leader.is_some_and(|leader| voters.contains(&leader));
                named.push(self.wait_for_status(*voter, "who leads", knows).await.leader);
            }
            if let [Some(leader), rest @ ..] = named.as_slice()
                && rest.iter().all(|other| *other == Some(*leader))
            {
                return *leader;
            }
            assert!(Instant::now() < deadline, "{voters:?} do not agree on a leader: {named:?}");
        }
    }

    /// Where a principal's context is.
    pub(crate) fn context_folder(&self, principal: &str) -> PathBuf {
        self.ledger_folder().join("contexts").join(principal)
    }

    /// Waits until the node says of itself what `wanted` asks for.
    pub(crate) async fn wait_for_status(
        &self,
        node: u64,
        what: &str,
        wanted: impl Fn(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let ledger = self.connect_with("operator", Some(node), looking()).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = ledger.status().await.pop();
            if let Some((_, Ok(status))) = &said
                && wanted(status)
            {
                return status.clone();
            }
            assert!(Instant::now() < deadline, "node {node} does not come to say {what}: {said:?}");
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The numbers of the voters that a command's JSON names: of the last set.
pub(crate) fn voters(json: &Value) -> Vec<u64> {
    let sets = json["sets"].as_array().unwrap();
    let voters = sets.last().unwrap()["voters"].as_array().unwrap();
    voters.iter().map(|voter| voter["node"].as_u64().unwrap()).collect()
}
