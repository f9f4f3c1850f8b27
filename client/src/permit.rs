//! Permits: a proven "it may", for one call, for a moment.
//!
//! A [`Permit`] cannot be made, copied or stored by anybody but [`Ledger::check`](crate::Ledger::check), and
//! [`Permit::run`] consumes it. Whether it still holds is asked when execution starts, not when the answer
//! came.
//!
//! ```compile_fail
//! fn twice(permit: chancery_client::Permit) {
//!     let again = permit.clone();
//! }
//! ```
//!
//! ```compile_fail
//! fn twice(permit: chancery_client::Permit) {
//!     let _ = permit.run(b"arguments", || ());
//!     let _ = permit.run(b"arguments", || ());
//! }
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::Nonce;
use chancery_ledger::authority::GenerationRef;
use chancery_ledger::command::Name;
use chancery_ledger::decide::Authority;
use chancery_ledger::evidence::Evidence;
use chancery_ledger::hash::Hash;

use crate::endpoints::Try;
use crate::{Args, Checked, Clock};

/// Allows one call, by one agent, with these arguments, until its deadline.
#[must_use = "a permit that is not run allows nothing"]
#[derive(Debug)]
pub struct Permit {
    checked: Checked,
    authority: Authority,
    deadline: Deadline,
    clock: Arc<dyn Clock>,
    failed_tries: Vec<Try>,
}

/// When a permit ends: as soon as either clock reaches its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// On the clock that counts suspend: when the check was sent, and the staleness allowed; without a nonce, when
    /// the wall clock should reach its limit.
    pub since_boot: Duration,
    /// On the wall clock, in milliseconds since 1970: the earlier of the quorum's least clock and the
    /// staleness allowed, and the end of the authority; less what the client's own clock may be off.
    pub wall_ms: u64,
}

/// Why a permit does not allow what it was to allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PermitError {
    /// Its deadline has passed. Nothing was done; check again.
    #[error("the permit's deadline has passed")]
    Expired,
    /// It is for a call with other arguments. Nothing was done.
    #[error("the permit is for arguments with digest {permitted}, not {found}")]
    OtherArguments {
        /// SHA-256 of the arguments that were checked.
        permitted: Hash,
        /// SHA-256 of those that were to be used.
        found: Hash,
    },
}

impl Permit {
    /// Runs `call` with the arguments that were checked, if the permit holds now.
    ///
    /// # Errors
    /// The deadline has passed, or `args` are others: then `call` was not run, and the permit is spent.
    pub fn run<'a, T>(self, args: impl Into<Args<'a>>, call: impl FnOnce() -> T) -> Result<T, PermitError> {
        self.admit(args.into())?;
        Ok(call())
    }

    /// [`Permit::run`] for a call that is a future. It is asked whether the permit holds when this one is
    /// first polled.
    ///
    /// # Errors
    /// As [`Permit::run`].
    pub async fn run_async<'a, T, F: Future<Output = T>>(
        self,
        args: impl Into<Args<'a>>,
        call: impl FnOnce() -> F,
    ) -> Result<T, PermitError> {
        self.admit(args.into())?;
        Ok(call().await)
    }

    /// Whether it would still be admitted.
    pub fn is_expired(&self) -> bool {
        self.deadline.has_passed(&*self.clock)
    }

    /// When it ends.
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The agent that may act.
    pub const fn agent(&self) -> &Name {
        &self.checked.request.agent
    }

    /// The agent's generation.
    pub const fn generation(&self) -> Option<GenerationRef> {
        self.authority.generation
    }

    /// What it may do.
    pub const fn action(&self) -> &Name {
        &self.checked.request.action
    }

    /// On what.
    pub const fn resource(&self) -> &Name {
        &self.checked.request.resource
    }

    /// SHA-256 of the arguments with which.
    pub const fn args_digest(&self) -> Hash {
        self.checked.request.args_digest
    }

    /// The nonce that it was proven fresh under; none if it is recent by the nodes' clocks.
    pub const fn nonce(&self) -> Option<Nonce> {
        self.checked.nonce
    }

    /// The fencing index: the block that it was decided from. A tool that has seen a later one refuses it.
    pub const fn block(&self) -> u64 {
        self.checked.verified.head.block
    }

    /// What it rests on.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The check, with its proof.
    pub const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// The tries that failed before the one that succeeded: a proof that failed is among them.
    pub fn failed_tries(&self) -> &[Try] {
        &self.failed_tries
    }

    /// What shows to others that the permit was given, and on what it rests.
    pub fn evidence(&self) -> Evidence {
        self.checked.evidence(None)
    }

    /// A permit from a check whose decision is `authority`; `sent` is what the clock that counts suspend
    /// said before the nonce was made, if there was one.
    pub(crate) fn new(
        checked: Checked,
        authority: Authority,
        sent: Option<Duration>,
        bounds: Bounds,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let staleness_ms = bounds.staleness_ms_max.min(authority.max_staleness_ms);
        let fresh_until_ms = checked.verified.freshness.clock_min_ms.saturating_add(staleness_ms);
        let wall_ms = fresh_until_ms.min(authority.not_after_ms).saturating_sub(bounds.clock_skew_ms);
        let since_boot = match sent {
            Some(sent) => sent.saturating_add(Duration::from_millis(staleness_ms)),
            None => {
                // So that a wall clock that is set back from here on prolongs nothing.
                let now = clock.since_boot();
                now.saturating_add(Duration::from_millis(wall_ms.saturating_sub(clock.wall_ms())))
            }
        };
        let deadline = Deadline { since_boot, wall_ms };
        Self { checked, authority, deadline, clock, failed_tries: Vec::new() }
    }

    pub(crate) fn after(self, failed_tries: Vec<Try>) -> Self {
        Self { failed_tries, ..self }
    }

    fn admit(&self, args: Args<'_>) -> Result<(), PermitError> {
        admit(self.args_digest(), args, self.deadline, &*self.clock)
    }
}

/// Whether a call with `args` may begin now.
pub(crate) fn admit(
    permitted: Hash,
    args: Args<'_>,
    deadline: Deadline,
    clock: &dyn Clock,
) -> Result<(), PermitError> {
    let found = args.digest();
    if permitted != found {
        return Err(PermitError::OtherArguments { permitted, found });
    }
    // Last, so that nothing comes between it and the call.
    if deadline.has_passed(clock) { Err(PermitError::Expired) } else { Ok(()) }
}

impl Deadline {
    pub(crate) fn has_passed(&self, clock: &dyn Clock) -> bool {
        clock.since_boot() >= self.since_boot || clock.wall_ms() >= self.wall_ms
    }
}

/// What bounds a permit besides its authority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The staleness that the caller accepts, in milliseconds.
    pub(crate) staleness_ms_max: u64,
    /// How far the client's own wall clock may be off, in milliseconds.
    pub(crate) clock_skew_ms: u64,
}
