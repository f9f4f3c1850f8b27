//! A log that grows and is published as a test says, by a node that asks witnesses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::head::HeadVoters;
use chancery_ledger::trust::{Cosigned, CosignedError, Trust, Witnesses as Rule};
use chancery_node::config::{TilesConfig, WitnessConfig, WitnessesConfig};
use chancery_node::store::applied::{AppliedOptions, AppliedStore};
use chancery_node::tile_log::{Published, TileServer, WitnessBook, Witnessed, Witnesses, checkpoint_of};
use chancery_proto::v1::api::WitnessStatus;
use ed25519_dalek::SigningKey;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::fake::Fake;
use crate::ledger::{Leader, founding, node_key, roster, voter};

/// For anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const ORIGIN: &str = "example.com/ledger";

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[77; 32])
}

/// The log, and the node around it.
pub(crate) struct Log {
    leader: Leader,
    store: AppliedStore,
    published: watch::Sender<Option<Arc<Published>>>,
    stop: watch::Sender<bool>,
    asking: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
    _folder: TempDir,
    book: Option<Arc<WitnessBook>>,
}

impl Log {
    /// Of a node that asks nobody and serves nobody.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = AppliedStore::open(folder.path(), founding(), AppliedOptions::default()).unwrap();
        let mut leader = Leader::new();
        for entry in leader.some_entries(0) {
            store.apply(&entry).unwrap();
        }
        let (published, _) = watch::channel(None);
        let (stop, _) = watch::channel(false);
        Self { leader, store, published, stop, asking: None, address: None, _folder: folder, book: None }
    }

    /// Of a node that asks these, so many of which are enough.
    pub(crate) async fn asking(witnesses: &[Fake], quorum: u32) -> Self {
        let mut log = Self::new();
        log.ask(witnesses, quorum).await;
        log
    }

    /// Begins to.
    pub(crate) async fn ask(&mut self, witnesses: &[Fake], quorum: u32) {
        let server = |fake: &Fake| WitnessConfig { url: fake.url(), vkey: fake.key().to_string() };
        let config =
            WitnessesConfig { quorum: Some(quorum), servers: witnesses.iter().map(server).collect() };
        let asked = Witnesses::configured(&config).unwrap();
        self.book = Some(asked.book());
        let (witness, witnessed) = watch::channel(None);
        let run = asked.run(self.store.clone(), self.published.clone(), witness, self.stop.subscribe());
        self.asking = Some(tokio::spawn(run));
        self.serve(Some(witnessed)).await;
    }

    /// What the node says of a witness, once it is what is waited for.
    pub(crate) async fn told(
        &self,
        place: usize,
        is_awaited: impl Fn(&WitnessStatus) -> bool,
    ) -> WitnessStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.book.as_ref().expect("a log that asks").statuses().swap_remove(place);
            if is_awaited(&told) {
                return told;
            }
            assert!(Instant::now() < deadline, "{told:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Begins to serve.
    pub(crate) async fn serve(&mut self, witnessed: Option<watch::Receiver<Witnessed>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = Some(listener.local_addr().unwrap());
        let server =
            TileServer { store: self.store.clone(), published: self.published.subscribe(), witnessed };
        let mut stopped = self.stop.subscribe();
        tokio::spawn(async move {
            let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
            server.serve(&config(), listener, stop).await;
        });
    }

    /// So many blocks more.
    pub(crate) fn grow(&mut self, blocks: usize) {
        for _ in 0..blocks {
            let entry = self.leader.busy_block();
            self.store.apply(&entry).unwrap();
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.leader.state.head().log_size
    }

    /// The checkpoint of all of it, signed by the log and by two nodes of three.
    pub(crate) fn signed(&self) -> SignedCheckpoint {
        let head = self.leader.state.head();
        let mut lines = Vec::new();
        for node in [1, 2] {
            let (checkpoint, name) = checkpoint_of(ORIGIN, head, &voter(node)).unwrap();
            if lines.is_empty() {
                lines.push(checkpoint.sign(&log_key()));
            }
            lines.push(checkpoint.cosign(&name, 1_700_000_000, &node_key(node)).unwrap());
        }
        let (checkpoint, _) = checkpoint_of(ORIGIN, head, &voter(1)).unwrap();
        SignedCheckpoint::new(checkpoint, lines).unwrap()
    }

    /// Publishes it.
    pub(crate) fn publish(&self) -> SignedCheckpoint {
        let signed = self.signed();
        self.publish_signed(&signed);
        signed
    }

    /// Publishes this one.
    pub(crate) fn publish_signed(&self, signed: &SignedCheckpoint) {
        let published = Published {
            size: signed.checkpoint().size(),
            note: signed.encode(),
            policy: None,
            rosters: Vec::new(),
        };
        self.published.send_replace(Some(Arc::new(published)));
    }

    /// What is published now.
    pub(crate) fn newest(&self) -> SignedCheckpoint {
        parse(self.published.borrow().as_ref().unwrap())
    }

    /// What is published, once so many witnesses have cosigned that.
    pub(crate) async fn published_with(&self, witnesses: usize) -> SignedCheckpoint {
        let mut published = self.published.subscribe();
        let enough = |published: &Option<Arc<Published>>| {
            published.as_ref().is_some_and(|published| parse(published).signatures().len() >= 3 + witnesses)
        };
        let found = timeout(PATIENCE, published.wait_for(enough)).await.expect("witnesses cosign in time");
        parse(found.unwrap().as_ref().unwrap())
    }

    /// What is served as witnessed, once it has so many leaves.
    pub(crate) async fn witnessed_at(&self, size: u64) -> SignedCheckpoint {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, body) = self.get("witnessed-checkpoint").await;
            if status == 200 {
                let witnessed = SignedCheckpoint::parse(&body).unwrap();
                let found = witnessed.checkpoint().size();
                assert!(found <= size, "{found} leaves are witnessed, and not {size}");
                if found == size {
                    return witnessed;
                }
            }
            assert!(Instant::now() < deadline, "{size} leaves are not witnessed in time");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Status and body at a path.
    pub(crate) async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let url = format!("http://{}/{path}", self.address.unwrap());
        let answer = tokio::task::spawn_blocking(move || {
            let config = ureq::Agent::config_builder()
                .timeout_global(Some(PATIENCE))
                .http_status_as_error(false)
                .proxy(None);
            let agent: ureq::Agent = config.build().into();
            let mut response = agent.get(&url).call().unwrap();
            (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
        });
        answer.await.unwrap()
    }

    /// Trust in this log that demands so many of these witnesses.
    pub(crate) fn trust(&self, witnesses: &[Fake], quorum: u32) -> Trust {
        let trust = Trust::new(ORIGIN.into(), founding().ledger(), roster(), 500);
        trust.with_witnesses(Rule::new(witnesses.iter().map(Fake::key).collect(), quorum).unwrap())
    }

    /// Whether a checkpoint satisfies a trust.
    pub(crate) fn verify(&self, trust: &Trust, signed: &SignedCheckpoint) -> Result<Cosigned, CosignedError> {
        trust.verify_checkpoint(signed, &HeadVoters::of(&trust.genesis))
    }

    /// Stops asking.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        self.asking.take().unwrap().await.unwrap();
    }
}

fn parse(published: &Published) -> SignedCheckpoint {
    SignedCheckpoint::parse(published.note.as_bytes()).unwrap()
}

fn config() -> TilesConfig {
    TilesConfig::new(([127, 0, 0, 1], 0).into(), "log.key".into())
}
