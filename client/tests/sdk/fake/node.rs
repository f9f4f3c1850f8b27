//! One node's client port.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chancery_ledger::answer::{Nonce, decode_answer};
use chancery_ledger::authority::Outcome;
use chancery_ledger::command::{GenerationId, Name, SignedCommand};
use chancery_ledger::decide::Request as Question;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterChain;
use chancery_ledger::knowledge::Knowledge;
use chancery_ledger::state::{Key, Sent};
use chancery_proto::v1::api::ledger_server::{Ledger, LedgerServer};
use chancery_proto::v1::api::{
    AddLearnerProgress, AddLearnerRequest, CheckPastReply, CheckPastRequest, CheckReply, CheckRequest,
    Failure, LeafReply, LeafRequest, Learner, LogStatus, NotKept, NotReached, Refused, RemoveLearnerReply,
    RemoveLearnerRequest, RostersReply, RostersRequest, SessionAnswer, SessionAnswers, SessionFailure,
    SessionQuestion, SessionQuestions, StatusReply, StatusRequest, SubmitReply, SubmitRequest,
    TransferLeadershipReply, TransferLeadershipRequest, WatchEvent, WatchLeaf, WatchRequest, WatchStart,
    WitnessStatus, session_answer, submit_reply,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::{Authority, NOW_MS, World};

/// How a node misbehaves.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// Flips bits of one byte of the answer, the acknowledgement's entry, or the leaf.
    Flip { at: usize, mask: u8 },
    /// Flips bits of one byte of an answer to who keeps nodes: of what stands beside its tree, its keys, or its nodes.
    FlipKept { at: usize, mask: u8 },
    /// Leaves out the nodes that who keeps nodes does not have.
    NoNodes,
    /// Answers another nonce's check.
    WrongNonce,
    /// Answers another question.
    OtherQuestion,
    /// Waits before it does anything.
    Slow(Duration),
    /// Never answers.
    Silent,
    /// Ends a session where it should answer in it.
    EndSessions,
    /// A gRPC error.
    Status(tonic::Code),
    /// All voters' clocks are off by this much.
    Skew(i64),
    /// Keeps the states from this block on.
    Keeps(u64),
    /// Shows the past of another block.
    OtherPast(u64),
    /// Appends to the answer.
    Trailing,
    /// Says `not_done`, so many times.
    NotDone(u32),
    /// Applies, and says `unknown`, so many times.
    Unknown(u32),
    /// Applies, and says so with a wrong receipt.
    Forge(fn(&mut chancery_proto::v1::api::Acknowledged)),
    /// Refuses every command, whatever it is.
    Refuse,
    /// An answer of this size.
    Huge(usize),
    /// A gap in the leaves that it streams.
    Gap,
    /// Streams everything, and then a head, with those leaves as ended grants: two hours later, if any.
    Heads(Vec<u64>),
    /// The same, with the first leaf in the second one's place.
    OtherLeaf,
    /// Cuts the stream off after three leaves, for being slow.
    CutOff,
    /// Shows no roster but genesis'.
    NoRosters,
    /// Shows the roster chain with the first link's statements missing.
    ForgedRosters,
    /// Stops to tell of a learner's progress.
    SilentLearner,
}

/// What a node does, and what it was asked.
#[derive(Clone)]
pub struct Shared {
    pub world: Arc<Mutex<World>>,
    pub fault: Arc<Mutex<Fault>>,
    pub nonces: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Sessions that were begun.
    pub sessions: Arc<AtomicUsize>,
    pub commands: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Blocks since which it was asked for rosters.
    pub rosters: Arc<Mutex<Vec<u64>>>,
    /// From where it was asked to stream.
    pub watches: Arc<Mutex<Vec<WatchRequest>>>,
}

pub struct Node {
    pub shared: Shared,
    port: u16,
    task: JoinHandle<()>,
}

impl Node {
    pub async fn start(world: Arc<Mutex<World>>, authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (certificate, key) = authority.server();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(authority.pem()));
        let shared = Shared {
            world,
            fault: Arc::default(),
            nonces: Arc::default(),
            sessions: Arc::default(),
            commands: Arc::default(),
            rosters: Arc::default(),
            watches: Arc::default(),
        };
        let service = LedgerServer::new(shared.clone());
        let mut server = Server::builder().tls_config(tls).unwrap();
        // Without it, each small reply would wait for the acknowledgement of the one before.
        let incoming = TcpListenerStream::new(listener).map(|stream| {
            let stream = stream?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        });
        let task = tokio::spawn(async move {
            server.add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { shared, port, task }
    }

    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn misbehave(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// Stops listening for good.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    pub fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    pub fn asked(&self) -> usize {
        self.shared.nonces.lock().unwrap().len()
    }
}

impl Shared {
    async fn fault(&self) -> Result<Fault, Status> {
        let fault = self.fault.lock().unwrap().clone();
        match fault {
            Fault::Slow(time) => tokio::time::sleep(time).await,
            Fault::Silent => std::future::pending().await,
            Fault::Status(code) => return Err(Status::new(code, "as told\u{1b}[2J")),
            _ => {}
        }
        Ok(fault)
    }

    fn do_command(&self, bytes: &[u8]) -> submit_reply::Outcome {
        let mut world = self.world.lock().unwrap();
        let signed = SignedCommand::decode(bytes).unwrap();
        match world.apply(signed) {
            Outcome::Applied(cause) => submit_reply::Outcome::Acknowledged(world.acknowledge(cause, false)),
            Outcome::Before(cause) => submit_reply::Outcome::Acknowledged(world.acknowledge(cause, true)),
            Outcome::Refused(refusal) => submit_reply::Outcome::Refused(Refused {
                code: refusal.code().into(),
                message: refusal.to_string(),
            }),
        }
    }

    /// The answer to a check, as it is sent, and the keys that a true one shows.
    async fn answer(&self, asked: CheckRequest) -> Result<(Vec<u8>, BTreeSet<Key>), Status> {
        self.nonces.lock().unwrap().push(asked.nonce.clone());
        let fault = self.fault().await?;
        let mut question = Question {
            agent: Name::new(asked.agent).unwrap(),
            action: Name::new(asked.action).unwrap(),
            resource: Name::new(asked.resource).unwrap(),
            args_digest: Hash::from_slice(&asked.args_digest).unwrap(),
            args: (!asked.args.is_empty()).then_some(asked.args),
            knowledge: (!asked.knowledge.is_empty()).then(|| Knowledge::decode(&asked.knowledge).unwrap()),
            generation: Hash::from_slice(&asked.generation).map(GenerationId),
            hint: None,
        };
        let without_nonce = asked.fresh_within_ms.is_some();
        assert_eq!(without_nonce, asked.nonce.is_empty());
        // What stands in the round's tree: the nonce, bound to the question.
        let mut shown = asked.nonce.try_into().map_or([0; 32], |nonce| Nonce(nonce).question(&question));
        let mut clock_ms = NOW_MS;
        match fault {
            Fault::WrongNonce => shown[0] ^= 1,
            Fault::OtherQuestion => question.agent = Name::new("another").unwrap(),
            Fault::Skew(by) => clock_ms = clock_ms.saturating_add_signed(by),
            _ => {}
        }
        let (mut answer, keys) = self.world.lock().unwrap().answer(&question, shown, clock_ms);
        if without_nonce {
            answer.nonce_path = None;
        }
        let mut answer = answer.encode();
        match fault {
            Fault::Flip { at, mask } => {
                let at = at % answer.len();
                answer[at] ^= mask;
            }
            Fault::Trailing => answer.extend([0xf8, 0x07, 0x01]),
            Fault::Huge(size) => answer = vec![0; size],
            _ => {}
        }
        Ok((answer, keys))
    }

    /// An answer in a session, and what is wrong with it.
    fn in_session(
        &self,
        id: u64,
        answered: Result<(Vec<u8>, BTreeSet<Key>), Status>,
        sent: Option<&mut Sent>,
    ) -> SessionAnswers {
        let fault = self.fault.lock().unwrap().clone();
        let (answer, keys) = match answered {
            Ok(answered) => answered,
            Err(status) => return beside(id, Err(status)),
        };
        let mut message = beside(id, Ok(CheckReply { answer: answer.clone() }));
        // Whose bytes are flipped is sent whole.
        let sent = sent.filter(|_| !matches!(fault, Fault::Flip { .. }));
        let kept = decode_answer(&answer, usize::MAX)
            .ok()
            .zip(sent)
            .and_then(|(answer, sent)| self.world.lock().unwrap().kept(&answer, &keys, sent));
        let Some(mut kept) = kept else { return message };
        match fault {
            Fault::FlipKept { at, mask } => {
                let at = at % (kept.answer.len() + kept.keys.len() + kept.nodes.len());
                let parts = [&mut kept.answer, &mut kept.keys, &mut kept.nodes];
                *parts.into_iter().flatten().nth(at).unwrap() ^= mask;
            }
            Fault::NoNodes => kept.nodes.clear(),
            _ => {}
        }
        message.answers[0].outcome = Some(session_answer::Outcome::Kept(kept));
        message
    }
}

/// An answer with its proof beside it; what is none is sent as it is.
fn beside(id: u64, answered: Result<CheckReply, Status>) -> SessionAnswers {
    let mut message = SessionAnswers::default();
    let outcome = match answered {
        Ok(CheckReply { answer }) => match decode_answer(&answer, usize::MAX) {
            Ok(whole) => {
                message.head = whole.head.encode().to_vec();
                message.statements = whole.statements.iter().map(|statement| statement.encode()).collect();
                message.head_statements =
                    whole.head_statements.iter().map(|statement| statement.encode()).collect();
                session_answer::Outcome::Answer(whole.encode_beside())
            }
            Err(_) => session_answer::Outcome::Answer(answer),
        },
        Err(status) => session_answer::Outcome::Failure(SessionFailure {
            code: status.code().into(),
            message: status.message().into(),
        }),
    };
    message.answers = vec![SessionAnswer { id, outcome: Some(outcome) }];
    message
}

#[tonic::async_trait]
impl Ledger for Shared {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckReply>, Status> {
        let (answer, _) = self.answer(request.into_inner()).await?;
        Ok(Response::new(CheckReply { answer }))
    }

    type CheckSessionStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<SessionAnswers, Status>> + Send>>;

    /// Answers each question as a call would, each in a round of its own.
    async fn check_session(
        &self,
        request: Request<Streaming<SessionQuestions>>,
    ) -> Result<Response<Self::CheckSessionStream>, Status> {
        self.sessions.fetch_add(1, Ordering::SeqCst);
        let (node, mut asked) = (self.clone(), request.into_inner());
        let (to, answers) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move {
            let mut sent = None;
            while let Ok(Some(SessionQuestions { questions, keeps_nodes })) = asked.message().await {
                if keeps_nodes {
                    assert!(sent.is_none(), "it is said once");
                    sent = Some(Arc::new(tokio::sync::Mutex::new(Sent::default())));
                }
                for SessionQuestion { id, check } in questions {
                    let (node, to, sent) = (node.clone(), to.clone(), sent.clone());
                    tokio::spawn(async move {
                        let answered = node.answer(check.unwrap()).await;
                        if matches!(*node.fault.lock().unwrap(), Fault::EndSessions) {
                            let _ = to.send(Err(Status::unavailable("the session is over"))).await;
                            return;
                        }
                        // What is sent first is kept first.
                        let mut sent = match &sent {
                            Some(sent) => Some(sent.lock().await),
                            None => None,
                        };
                        let message = node.in_session(id, answered, sent.as_deref_mut());
                        let _ = to.send(Ok(message)).await;
                    });
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(answers))))
    }

    async fn check_past(
        &self,
        request: Request<CheckPastRequest>,
    ) -> Result<Response<CheckPastReply>, Status> {
        use chancery_proto::v1::api::check_past_reply::Outcome;
        use chancery_proto::v1::api::check_past_request::Moment;
        let fault = self.fault().await?;
        let CheckPastRequest { check, moment } = request.into_inner();
        let asked = check.unwrap();
        let question = Question {
            agent: Name::new(asked.agent).unwrap(),
            action: Name::new(asked.action).unwrap(),
            resource: Name::new(asked.resource).unwrap(),
            args_digest: Hash::from_slice(&asked.args_digest).unwrap(),
            args: (!asked.args.is_empty()).then_some(asked.args),
            generation: Hash::from_slice(&asked.generation).map(GenerationId),
            knowledge: (!asked.knowledge.is_empty()).then(|| Knowledge::decode(&asked.knowledge).unwrap()),
            hint: None,
        };
        let Some(Moment::Block(block)) = moment else { panic!("by time: not here") };
        let mut world = self.world.lock().unwrap();
        let newest_block = world.head().block;
        let outcome = match fault {
            Fault::Keeps(oldest_block) if block < oldest_block => {
                Outcome::NotKept(NotKept { oldest_block, oldest_time_ms: 7 })
            }
            _ if block > newest_block => Outcome::NotReached(NotReached { newest_block, clock_ms: NOW_MS }),
            Fault::OtherPast(other) => Outcome::Answer(world.past(&question, other, NOW_MS).encode()),
            Fault::Flip { at, mask } => {
                let mut answer = world.past(&question, block, NOW_MS).encode();
                let at = at % answer.len();
                answer[at] ^= mask;
                Outcome::Answer(answer)
            }
            _ => Outcome::Answer(world.past(&question, block, NOW_MS).encode()),
        };
        Ok(Response::new(CheckPastReply { outcome: Some(outcome) }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let bytes = request.into_inner().signed_command;
        self.commands.lock().unwrap().push(bytes.clone());
        let fault = self.fault().await?;
        let said = || Failure { message: "as told".into() };
        let outcome = match fault {
            Fault::NotDone(count) if count > 0 => {
                *self.fault.lock().unwrap() = Fault::NotDone(count - 1);
                submit_reply::Outcome::NotDone(said())
            }
            Fault::Unknown(count) if count > 0 => {
                *self.fault.lock().unwrap() = Fault::Unknown(count - 1);
                self.do_command(&bytes);
                submit_reply::Outcome::Unknown(said())
            }
            Fault::Refuse => {
                submit_reply::Outcome::Refused(Refused { code: "wrong_role".into(), message: "no".into() })
            }
            Fault::Forge(forge) => {
                let mut outcome = self.do_command(&bytes);
                if let submit_reply::Outcome::Acknowledged(reply) = &mut outcome {
                    forge(reply);
                }
                outcome
            }
            _ => self.do_command(&bytes),
        };
        Ok(Response::new(SubmitReply { outcome: Some(outcome) }))
    }

    async fn leaf(&self, request: Request<LeafRequest>) -> Result<Response<LeafReply>, Status> {
        let fault = self.fault().await?;
        let LeafRequest { index, log_size } = request.into_inner();
        let (mut entry, inclusion) = self.world.lock().unwrap().leaf(index, log_size);
        if let Fault::Flip { at, mask } = fault {
            let at = at % entry.len();
            entry[at] ^= mask;
        }
        Ok(Response::new(LeafReply { entry, inclusion }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        self.fault().await?;
        let head = self.world.lock().unwrap().head();
        let (tail_block, head_roster) = (head.block, head.roster);
        let (name, head) = ("node-1\u{7}".into(), head.encode().to_vec());
        Ok(Response::new(StatusReply {
            node: 1,
            name,
            signing: true,
            head,
            tail_block,
            roster: self.world.lock().unwrap().roster_on_the_wire(),
            roster_block: head_roster.block,
            roster_digest: head_roster.digest.0.to_vec(),
            learners: vec![Learner { node: 9, name: "new\u{7}".into(), address: "127.0.0.1:9".into() }],
            log: Some(LogStatus { last_index: Some(7), ..LogStatus::default() }),
            witnesses: vec![
                WitnessStatus {
                    name: "w.example/1\u{7}".into(),
                    error: "x".repeat(2_000),
                    ..WitnessStatus::default()
                };
                40
            ],
            ..Default::default()
        }))
    }

    /// One link at a time, so that whoever wants more asks again.
    async fn rosters(&self, request: Request<RostersRequest>) -> Result<Response<RostersReply>, Status> {
        let fault = self.fault().await?;
        let since_block = request.into_inner().since_block;
        self.rosters.lock().unwrap().push(since_block);
        let mut links = self.world.lock().unwrap().chain.links.clone();
        links.retain(|link| link.head.block > since_block);
        links.truncate(1);
        match fault {
            Fault::NoRosters => links.clear(),
            Fault::ForgedRosters => links.iter_mut().for_each(|link| link.statements.truncate(1)),
            _ => {}
        }
        Ok(Response::new(RostersReply { chain: RosterChain { links }.encode() }))
    }

    type AddLearnerStream =
        Pin<Box<dyn futures_util::Stream<Item = Result<AddLearnerProgress, Status>> + Send>>;

    async fn add_learner(
        &self,
        request: Request<AddLearnerRequest>,
    ) -> Result<Response<Self::AddLearnerStream>, Status> {
        let fault = self.fault().await?;
        assert_eq!(request.into_inner().node, 4);
        let at =
            |matched_index, caught_up| Ok(AddLearnerProgress { matched_index, last_index: 9, caught_up });
        let mut told = vec![at(None, false), at(Some(5), false), at(Some(9), true)];
        if matches!(fault, Fault::SilentLearner) {
            told.pop();
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(told))))
    }

    async fn remove_learner(
        &self,
        request: Request<RemoveLearnerRequest>,
    ) -> Result<Response<RemoveLearnerReply>, Status> {
        self.fault().await?;
        assert_eq!(request.into_inner().node, 4);
        Ok(Response::new(RemoveLearnerReply {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipReply>, Status> {
        self.fault().await?;
        let leader = request.into_inner().to;
        Ok(Response::new(TransferLeadershipReply { leader, term: 8 }))
    }

    type WatchStream = Pin<Box<dyn futures_util::Stream<Item = Result<WatchEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        use chancery_proto::v1::api::watch_event::Event;
        let fault = self.fault().await?;
        let asked = request.into_inner();
        self.watches.lock().unwrap().push(asked);
        let from = asked.from_index + u64::from(matches!(fault, Fault::Gap));
        let mut world = self.world.lock().unwrap();
        let leaves = world.leaves.clone();
        // Three leaves, then the stream breaks: who watches must go on elsewhere.
        let most = if matches!(fault, Fault::Heads(_) | Fault::OtherLeaf) { usize::MAX } else { 3 };
        let mut events = Vec::new();
        if asked.with_frontier {
            let (frontier, ended_ms) = (world.frontier(from).encode(), 0);
            events.push(Event::Start(WatchStart { frontier, ended_ms }));
        }
        events.extend((from..leaves.len() as u64).take(most).map(|index| {
            let shown = if matches!(fault, Fault::OtherLeaf) && index == 1 { 0 } else { index };
            Event::Leaf(WatchLeaf { index, entry: leaves[shown as usize].clone() })
        }));
        if most == usize::MAX {
            let ended = if let Fault::Heads(ended) = &fault { ended.clone() } else { Vec::new() };
            let later_ms = if ended.is_empty() { 0 } else { 2 * 3_600_000 };
            events.push(Event::Head(world.watch_head(NOW_MS + later_ms, &ended)));
        }
        let end = match fault {
            Fault::CutOff => Status::resource_exhausted("as told"),
            _ => Status::unavailable("broken"),
        };
        let events: Vec<_> =
            events.into_iter().map(|event| Ok(WatchEvent { event: Some(event) })).chain([Err(end)]).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }
}
