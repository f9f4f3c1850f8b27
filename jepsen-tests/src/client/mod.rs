//! One client process: it does one thing at a time, through the SDK, and records what it knows of it.

mod decisions;
mod halts;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use chancery_client::chancery_ledger::command::{
    Body, Bounds, GrantId, Name, Patterns, PublicKey, SignedCommand, Terms,
};
use chancery_client::chancery_ledger::hash::to_hex;
use chancery_client::{CheckError, Ledger, Options, Receipt, SigningKey, SubmitError};

use crate::cluster::Cluster;
use crate::fault::HarnessError;
use crate::history::{Call, Outcome, Told, halt_of};
use crate::recorder::Recorder;
use crate::seed::Choices;

/// Grants begin so long before the run and end so long after its beginning: time decides nothing, though a clock be
/// an hour wrong.
const GRANT_MARGIN: Duration = Duration::from_secs(7 * 24 * 3_600);

/// When this process began. All grants that are asked about have one time, so that no delegation outlasts its parent.
static BEGAN: LazyLock<Duration> =
    LazyLock::new(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());

/// How often a command whose outcome is unknown is sent again, the very same bytes, before it is left open.
const RETRIES_MAX: u32 = 2;

/// The contexts of those of whom some end a halt.
const RESUMERS: [&str; 3] = ["resumer", "resumer-2", "resumer-3"];

const OWNER: &str = "ada@example.com";

/// A client process. It is given a new number whenever an operation of the last one stays open.
pub struct Client {
    workload: &'static str,
    process: u32,
    node: Option<u64>,
    issuer: Ledger,
    revoker: Ledger,
    gate: Ledger,
    halter: Ledger,
    resumers: Vec<Ledger>,
    recorder: Arc<Recorder>,
    /// What it chooses.
    pub choices: Choices,
}

/// What an authority is for.
#[derive(Clone, Debug)]
pub struct Right {
    /// The agent.
    pub agent: Name,
    /// What it may do.
    pub action: Name,
    /// On what.
    pub resource: Name,
    /// How many delegations may follow.
    pub depth: u32,
    /// How much it may be used.
    pub bounds: Bounds,
    /// How long from now, if its time is to end before the round does.
    pub lasts: Option<Duration>,
}

/// How long the SDK tries.
pub fn options() -> Options {
    Options {
        check_timeout: Duration::from_secs(2),
        submit_timeout: Duration::from_secs(3),
        read_timeout: Duration::from_secs(2),
        ..Options::default()
    }
}

impl Client {
    /// A client of `workload`, bound to one node (and those that may come in its place) or to none, with
    /// connections that it shares with nobody.
    ///
    /// # Errors
    /// A context cannot be used.
    pub async fn connect(
        cluster: &Cluster,
        recorder: &Arc<Recorder>,
        workload: &'static str,
        node: Option<u64>,
        choices: Choices,
    ) -> Result<Self, HarnessError> {
        let mut resumers = Vec::new();
        for resumer in RESUMERS {
            resumers.push(cluster.connect(resumer, node, options()).await?);
        }
        Ok(Self {
            workload,
            process: recorder.process(workload),
            node: node.filter(|_| !cluster.members_change()),
            issuer: cluster.connect("issuer", node, options()).await?,
            revoker: cluster.connect("revoker", node, options()).await?,
            gate: cluster.connect("gate", node, options()).await?,
            halter: cluster.connect("halter", node, options()).await?,
            resumers,
            recorder: Arc::clone(recorder),
            choices,
        })
    }

    /// Registers an agent, with a key if it is to delegate.
    pub async fn register(&mut self, agent: &Name, key: Option<&SigningKey>) -> Outcome {
        self.register_in(agent, key, None).await
    }

    /// Registers an agent in a lineage, if there is one.
    pub async fn register_in(
        &mut self,
        agent: &Name,
        key: Option<&SigningKey>,
        lineage: Option<&Name>,
    ) -> Outcome {
        let key = key.map(|key| PublicKey(key.verifying_key().to_bytes()));
        let body =
            Body::RegisterAgent { agent: agent.clone(), owner: name(OWNER), key, lineage: lineage.cloned() };
        let ledger = self.issuer.clone();
        let signed = ledger.sign(body, &[]);
        let call = Call::Register { agent: agent.to_string(), lineage: lineage.map(ToString::to_string) };
        self.submit(&ledger, signed, |_| call).await
    }

    /// Grants a right. The grant's id is known, whatever becomes of it.
    pub async fn grant(&mut self, right: &Right) -> (Option<GrantId>, Outcome) {
        let ledger = self.issuer.clone();
        let signed = ledger.sign(Body::grant(right.terms()), &[]);
        let id = id_of(&ledger, &signed);
        let outcome = self.submit(&ledger, signed, |grant| Call::Grant {
            agent: right.agent.to_string(),
            action: right.action.to_string(),
            resource: right.resource.to_string(),
            grant,
        });
        (id, outcome.await)
    }

    /// Delegates a right below `parent`, signed by `holder`.
    pub async fn delegate(
        &mut self,
        parent: GrantId,
        right: &Right,
        holder: &SigningKey,
    ) -> (Option<GrantId>, Outcome) {
        let ledger = self.issuer.clone();
        let signed = ledger.sign_as(holder, Body::delegate(parent, right.terms()), &[]);
        let id = id_of(&ledger, &signed);
        let outcome = self.submit(&ledger, signed, |grant| Call::Delegate {
            agent: right.agent.to_string(),
            action: right.action.to_string(),
            resource: right.resource.to_string(),
            grant,
            parent: spelled(parent),
        });
        (id, outcome.await)
    }

    /// Revokes a grant.
    pub async fn revoke(&mut self, grant: GrantId) -> Outcome {
        let ledger = self.revoker.clone();
        let signed = ledger.sign(Body::RevokeGrant { grant, reason: "a test".into() }, &[]);
        self.submit(&ledger, signed, |_| Call::RevokeGrant { grant: spelled(grant) }).await
    }

    /// Revokes all that an agent was granted.
    pub async fn revoke_agent(&mut self, agent: &Name) -> Outcome {
        let ledger = self.revoker.clone();
        let signed = ledger.sign(Body::RevokeAgent { agent: agent.clone(), reason: "a test".into() }, &[]);
        self.submit(&ledger, signed, |_| Call::RevokeAgent { agent: agent.to_string() }).await
    }

    /// Asks whether `agent` may.
    pub async fn check(&mut self, agent: &Name, action: &Name, resource: &Name) -> Outcome {
        let call = Call::Check {
            agent: agent.to_string(),
            action: action.to_string(),
            resource: resource.to_string(),
        };
        let open = self.recorder.begin(self.process, self.node, None, call);
        let answer = self.gate.check(agent.as_str(), action.as_str(), resource.as_str(), b"").await;
        let outcome = match &answer {
            Ok(permit) => {
                self.recorder.keep_answer(&open, permit.checked());
                let chain = permit.authority().chain.iter().map(|link| spelled(link.grant)).collect();
                Outcome::Permitted { block: permit.block(), chain }
            }
            Err(CheckError::Denied(denied)) => {
                self.recorder.keep_answer(&open, &denied.checked);
                let block = denied.checked.verified.head.block;
                let halt = halt_of(&denied.denial);
                Outcome::Denied { block, reason: denied.denial.code().into(), halt }
            }
            Err(error) => Outcome::NotDone { reason: error.to_string() },
        };
        self.recorder.end(open, outcome.clone());
        outcome
    }

    async fn submit(
        &mut self,
        ledger: &Ledger,
        signed: Result<SignedCommand, SubmitError>,
        call: impl FnOnce(String) -> Call,
    ) -> Outcome {
        self.receipt(ledger, signed, call).await.0
    }

    /// [`Client::submit`], and the last receipt, if there was one.
    async fn receipt(
        &mut self,
        ledger: &Ledger,
        signed: Result<SignedCommand, SubmitError>,
        call: impl FnOnce(String) -> Call,
    ) -> (Outcome, Option<Receipt>) {
        let signed = match signed {
            Ok(signed) => signed,
            // Nothing was sent: no operation has begun.
            Err(error) => return (Outcome::NotDone { reason: error.to_string() }, None),
        };
        let mut last = None;
        let grant = GrantId::of(ledger.trust().ledger, signed.command_bytes());
        let command = Some(to_hex(&signed.command_hash().0));
        let open = self.recorder.begin(self.process, self.node, command, call(spelled(grant)));
        let mut outcome = Outcome::NotDone { reason: "not sent".into() };
        for again in 0..=RETRIES_MAX {
            let receipt = ledger.submit(&signed).await;
            if let Ok(receipt) = &receipt {
                self.recorder.keep_receipt(&open, receipt);
                last = Some(receipt.clone());
            }
            // Once it may have been done, only an acknowledgement says more.
            match outcome_of(receipt) {
                acknowledged @ Outcome::Acknowledged { .. } => outcome = acknowledged,
                _ if again > 0 => {}
                first => outcome = first,
            }
            if !matches!(outcome, Outcome::Unknown { .. }) || !self.choices.chance(500) {
                break;
            }
        }
        let open_for_ever = matches!(outcome, Outcome::Unknown { .. });
        self.recorder.end(open, outcome.clone());
        if open_for_ever {
            self.process = self.recorder.process(self.workload);
        }
        (outcome, last)
    }
}

impl Right {
    /// The right to do `action` on `resource`, without bounds, that is not delegated and does not end.
    pub fn new(agent: &Name, action: &str, resource: &str) -> Self {
        let (action, resource) = (name(action), name(resource));
        Self { agent: agent.clone(), action, resource, depth: 0, bounds: Bounds::default(), lasts: None }
    }

    fn terms(&self) -> Terms {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let not_after = self.lasts.map_or_else(|| *BEGAN + GRANT_MARGIN, |lasts| now() + lasts);
        Terms {
            agent: self.agent.clone(),
            actions: only(&self.action),
            resources: only(&self.resource),
            not_before_ms: ms(BEGAN.saturating_sub(GRANT_MARGIN)),
            not_after_ms: ms(not_after),
            max_staleness_ms: 5_000,
            delegable_depth: self.depth,
            condition: None,
            knowledge: Default::default(),
            bounds: self.bounds.clone(),
        }
    }
}

fn outcome_of(receipt: Result<Receipt, SubmitError>) -> Outcome {
    match receipt {
        Ok(receipt) => {
            let Receipt { index, block, before, verdict, .. } = receipt;
            Outcome::Acknowledged { index, block, before, verdict: verdict.as_ref().map(Told::of) }
        }
        // The node does not speak to this client, or has no room for it: nothing of the ledger's state.
        Err(SubmitError::Refused { code, .. }) if code == "not_permitted" => {
            Outcome::NotDone { reason: code }
        }
        Err(SubmitError::Refused { code, .. }) => Outcome::Refused { reason: code },
        Err(error @ (SubmitError::Unknown { .. } | SubmitError::Unproven { .. })) => {
            Outcome::Unknown { reason: error.to_string() }
        }
        Err(error) => Outcome::NotDone { reason: error.to_string() },
    }
}

fn id_of(ledger: &Ledger, signed: &Result<SignedCommand, SubmitError>) -> Option<GrantId> {
    signed.as_ref().ok().map(|signed| GrantId::of(ledger.trust().ledger, signed.command_bytes()))
}

fn only(name: &Name) -> Patterns {
    // INVARIANT: a name is a pattern that matches itself.
    Patterns::collect([name.as_str()]).unwrap_or_default()
}

/// A name that is known to be one.
pub(crate) fn name(text: &str) -> Name {
    match Name::new(text) {
        Ok(name) => name,
        // INVARIANT: the harness makes its names of letters, digits and `/`, far below the bound.
        Err(_) => unreachable!("{text:?} is a name"),
    }
}

fn spelled(grant: GrantId) -> String {
    grant.to_string()
}
