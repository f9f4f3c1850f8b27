//! The commands, one method each: made, signed with the context's key, and submitted.

use chancery_ledger::command::{
    Body, Command, Generation, GenerationId, GrantId, HaltScope, LineageConstraints, LineagePolicy, Name,
    Principal, PublicKey, RequestId, SignedCommand, Terms,
};
use chancery_ledger::condition::Schema;
use chancery_ledger::hash::Hash;
use ed25519_dalek::SigningKey;

use crate::Ledger;
use crate::receipt::Receipt;
use crate::submit::SubmitError;

/// What a command's method may end with: see [`SubmitError`].
type Result<T> = std::result::Result<T, SubmitError>;

/// # Errors
///
/// Of every method: [`SubmitError`].
impl Ledger {
    /// Grants authority. The receipt names the grant.
    ///
    /// Terms may have a condition on each call, bounds on what is spent, and what the agent must have had in front of
    /// it: here refunds of at most 50.00 each and 1,000.00 in all, of an order that was read within 10 minutes.
    ///
    /// ```no_run
    /// # use chancery_client::Ledger;
    /// # use chancery_client::chancery_ledger::command::{
    /// #     Bound, BoundKind, Bounds, Identifier, Name, Patterns, Per, Requirement, Requirements, Template, Terms,
    /// # };
    /// # use chancery_client::chancery_ledger::condition::Condition;
    /// # async fn refunds(ledger: &Ledger, now_ms: u64) -> Result<(), Box<dyn std::error::Error>> {
    /// let each = "permit(principal, action, resource) when { context.args.amount <= 5000 };";
    /// let in_all = Bound {
    ///     name: Identifier::new("refunds")?,
    ///     kind: BoundKind::Sum { argument: Identifier::new("amount")? },
    ///     limit: 100_000,
    ///     per: Per::Grant,
    /// };
    /// let read = Requirement { source: Template::new("order/{args.order}")?, max_age_ms: 600_000 };
    /// let granted = ledger.grant(Terms {
    ///     agent: Name::new("bots/desk")?,
    ///     actions: Patterns::collect(["payment/refund"])?,
    ///     resources: Patterns::collect(["customer/*"])?,
    ///     not_before_ms: 0,
    ///     not_after_ms: now_ms + 8 * 3_600_000,
    ///     max_staleness_ms: 2_000,
    ///     delegable_depth: 0,
    ///     condition: Some(Condition::new(each)?),
    ///     knowledge: Requirements::collect([read])?,
    ///     bounds: Bounds::collect([in_all])?,
    /// });
    /// println!("granted {:?}", granted.await?.grant);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn grant(&self, terms: Terms) -> Result<Receipt> {
        self.command(Body::grant(terms)).await
    }

    /// Grants authority whose condition is checked against `schema`, which is kept in the log alone.
    pub async fn grant_checked(&self, terms: Terms, schema: Schema) -> Result<Receipt> {
        self.command(Body::Grant { terms, schema: Some(schema) }).await
    }

    /// Narrows the grant `parent` for another agent, signed with `agent_key`, the key of the agent that holds
    /// it. The receipt names the new grant.
    pub async fn delegate(&self, parent: GrantId, terms: Terms, agent_key: &SigningKey) -> Result<Receipt> {
        self.submit(&self.sign_as(agent_key, Body::delegate(parent, terms), &[])?).await
    }

    /// [`Ledger::delegate`] with a condition that is checked against `schema`, which is kept in the log alone.
    pub async fn delegate_checked(
        &self,
        parent: GrantId,
        terms: Terms,
        schema: Schema,
        agent_key: &SigningKey,
    ) -> Result<Receipt> {
        let body = Body::Delegate { parent, terms, schema: Some(schema) };
        self.submit(&self.sign_as(agent_key, body, &[])?).await
    }

    /// Revokes a grant for good, and with it every delegation below it.
    pub async fn revoke(&self, grant: GrantId, reason: impl Into<String>) -> Result<Receipt> {
        self.command(Body::RevokeGrant { grant, reason: reason.into() }).await
    }

    /// Revokes everything that `agent` was granted so far.
    pub async fn revoke_agent(&self, agent: Name, reason: impl Into<String>) -> Result<Receipt> {
        self.command(Body::RevokeAgent { agent, reason: reason.into() }).await
    }

    /// Registers an agent, with the person accountable for it, and the key that signs its delegations if it
    /// may delegate.
    pub async fn register_agent(&self, agent: Name, owner: Name, key: Option<PublicKey>) -> Result<Receipt> {
        self.command(Body::RegisterAgent { agent, owner, key, lineage: None }).await
    }

    /// [`Ledger::register_agent`] as one of a lineage, whose agents can be halted together.
    pub async fn register_agent_of(
        &self,
        lineage: Name,
        agent: Name,
        owner: Name,
        key: Option<PublicKey>,
    ) -> Result<Receipt> {
        self.command(Body::RegisterAgent { agent, owner, key, lineage: Some(lineage) }).await
    }

    /// Retires an agent for good.
    pub async fn retire_agent(&self, agent: Name) -> Result<Receipt> {
        self.command(Body::RetireAgent { agent }).await
    }

    /// Stops everything in `scope`. The receipt's `index`, and the hash of its `command`, name the halt.
    pub async fn halt(&self, scope: HaltScope, reason: impl Into<String>) -> Result<Receipt> {
        self.command(Body::Halt { scope, reason: reason.into() }).await
    }

    /// Says that the halt of the leaf at `halt` may end, whose command has the hash `halt_command`. It ends once
    /// as many resumers have said so as the ledger's limits demand.
    pub async fn resume(&self, halt: u64, halt_command: Hash) -> Result<Receipt> {
        self.command(Body::Resume { halt, halt_command }).await
    }

    /// Sets how a lineage changes and what all its generations keep to. To tighten takes the context's key; to loosen,
    /// as many operators as the policy in force says, of whom `operators` sign too: none twice, none the context's.
    pub async fn set_lineage(
        &self,
        lineage: Name,
        policy: LineagePolicy,
        constraints: LineageConstraints,
        operators: &[&SigningKey],
    ) -> Result<Receipt> {
        let body = Body::SetLineage { lineage, policy, constraints, operators: sorted(operators) };
        self.submit(&self.sign(body, operators)?).await
    }

    /// Registers a version of the agents of a lineage. Its id is [`Generation::id`].
    pub async fn register_generation(&self, generation: Generation) -> Result<Receipt> {
        self.command(Body::RegisterGeneration(Box::new(generation))).await
    }

    /// Has a generation act. It takes as many reviewers or operators as the lineage's policy says, of whom `reviewers`
    /// sign too: none twice, none the context's.
    pub async fn release_generation(
        &self,
        lineage: Name,
        generation: GenerationId,
        reviewers: &[&SigningKey],
    ) -> Result<Receipt> {
        let body = Body::ReleaseGeneration { lineage, generation, reviewers: sorted(reviewers) };
        self.submit(&self.sign(body, reviewers)?).await
    }

    /// Goes back to an older generation, by its number and its id; later ones act no more.
    pub async fn roll_back(&self, lineage: Name, number: u64, generation: GenerationId) -> Result<Receipt> {
        self.command(Body::RollbackLineage { lineage, number, generation }).await
    }

    /// Admits a principal.
    pub async fn add_principal(&self, principal: Principal) -> Result<Receipt> {
        self.command(Body::AddPrincipal(principal)).await
    }

    /// Ends a principal's future commands.
    pub async fn remove_principal(&self, key: PublicKey) -> Result<Receipt> {
        self.command(Body::RemovePrincipal { key }).await
    }

    /// Replaces `old_key` with `new_key`, which signs too. By the principal itself, or an operator.
    pub async fn rotate_principal(&self, old_key: PublicKey, new_key: &SigningKey) -> Result<Receipt> {
        let body = Body::RotatePrincipal { old_key, new_key: public(new_key) };
        self.submit(&self.sign(body, &[new_key])?).await
    }

    /// Signs and submits any command.
    pub async fn command(&self, body: Body) -> Result<Receipt> {
        self.submit(&self.sign(body, &[])?).await
    }

    /// Signs a command with the context's key; with others that are waiting, if there are any, by one signature.
    pub(crate) async fn sign_among(&self, body: Body) -> Result<SignedCommand> {
        let key = self.key().ok_or(SubmitError::NoKey)?;
        let command = self.prepare(key, body)?;
        match self.signing(key).sign(command.clone()).await {
            Some(signed) => Ok(signed?),
            None => self.sign_with(&command, &[key]),
        }
    }

    /// Signs a command with the context's key, and with `others` if they must consent, without sending it.
    pub fn sign(&self, body: Body, others: &[&SigningKey]) -> Result<SignedCommand> {
        self.sign_as(self.key().ok_or(SubmitError::NoKey)?, body, others)
    }

    /// Signs a command of the signer whose key is `signer`: a fresh request id, and the lifetime of the
    /// options.
    pub fn sign_as(&self, signer: &SigningKey, body: Body, others: &[&SigningKey]) -> Result<SignedCommand> {
        let command = self.prepare(signer, body)?;
        self.sign_with(&command, &[&[signer], others].concat())
    }

    fn sign_with(&self, command: &Command, keys: &[&SigningKey]) -> Result<SignedCommand> {
        let trust = self.trust();
        Ok(SignedCommand::sign_known(trust.ledger, command, keys, trust.seen())?)
    }

    fn prepare(&self, signer: &SigningKey, body: Body) -> Result<Command> {
        let mut request_id = RequestId([0; 16]);
        getrandom::fill(&mut request_id.0).map_err(SubmitError::Randomness)?;
        let not_after_ms = self.clock().wall_ms().saturating_add(self.options().command_lifetime_ms);
        Ok(Command { signer: public(signer), request_id, not_after_ms, body })
    }
}

pub(crate) fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// As a command names those that sign beside its signer.
fn sorted(keys: &[&SigningKey]) -> Vec<PublicKey> {
    let mut keys: Vec<_> = keys.iter().map(|key| public(key)).collect();
    keys.sort();
    keys
}
