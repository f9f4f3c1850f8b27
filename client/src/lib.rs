//! The Chancery SDK: connect, check with a proof, submit.
//!
//! ```no_run
//! # async fn tour() -> Result<(), Box<dyn std::error::Error>> {
//! use chancery_client::{AuthorizeError, CheckError, Contexts, Ended, Ledger};
//!
//! let ledger = Ledger::connect(Contexts::from_env()?.load(None)?).await?;
//! let args = br#"{"amount": 100}"#;
//! match ledger.check("bots/payer", "pay", "accounts/7", args).await {
//!     Ok(permit) => permit.run(args, || println!("paying"))?,
//!     Err(CheckError::Denied(denied)) => println!("{denied}"),
//!     Err(error) => return Err(error.into()),
//! }
//! // The same on record: decided in the log before the call, and what became of it after.
//! match ledger.authorize("bots/payer", "pay", "accounts/7", args).await {
//!     Ok(permit) => {
//!         let ran = permit.run(args, || async { Ended::executed((), b"receipt 9") }).await?;
//!         println!("recorded at index {}", ran.outcome?.index);
//!     }
//!     Err(AuthorizeError::Denied(denied)) => println!("{denied}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! No node's word is taken for anything: an answer to a check carries the state that it was decided from, and
//! [`Ledger::check`] decides again over it; an acknowledged command comes with its place in a log that a
//! quorum signed. Whatever is not proven in time is no [`Permit`]: everything fails closed, and every failure
//! is *denied*, *not done* or *unknown*, never mixed.

mod args;
mod authorize;
mod check;
mod clock;
mod commands;
mod context;
mod contexts;
mod convictions;
mod endpoints;
mod files;
mod granted;
mod ledger;
mod members;
mod newest;
mod past;
mod permit;
mod proven;
mod read;
mod receipt;
mod rosters;
mod session;
mod signing;
mod submit;
mod watch;
mod whole_log;

pub use args::{Args, JsonArgs};
pub use authorize::{AuthorizeError, Authorized, Ended, Ran, RecordedDenial, Running};
pub use chancery_ledger::follow::{Change, GrantEnd, ProvenHead, ResumeToken};
pub use check::{Bounded, CheckError, CheckOptions, Checked, Denied, ProofError};
pub use clock::{Clock, SystemClock};
pub use context::{CLOCK_SKEW_MS_DEFAULT, Context, ContextError, ENDPOINTS_MAX};
pub use contexts::Contexts;
pub use convictions::Convicted;
pub use endpoints::{ConnectError, Failure, Try};
pub use ledger::{Ledger, Options};
pub use members::{LearnerLag, LearnerProgress, MembersError};
pub use past::{Past, PastError};
pub use permit::{Deadline, Permit, PermitError};
pub use read::{LearnerStatus, LogStatus, NodeStatus, PeerStatus, ReadError, WitnessStatus};
pub use receipt::{Dead, Receipt, ReceiptError};
pub use rosters::RostersError;
pub use submit::SubmitError;
pub use watch::{Event, Watch, WatchError};
pub use whole_log::WholeLogError;

pub use chancery_ledger;
pub use chancery_ledger::trust::Newest;
pub use ed25519_dalek::SigningKey;
pub use tonic::Code;
