//! Who calls: the Ed25519 key of a client's certificate, and what the ledger says that key may ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chancery_ledger::authority::{PrincipalRecord, active_principal};
use chancery_ledger::command::{Name, PublicKey, Role};
use chancery_ledger::state::{Recording, Root};
use rustls_pki_types::CertificateDer;
use tonic::{Request, Status};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::blocking::Line;
use crate::listener::Caller;
use crate::store::applied::AppliedStore;

/// id-Ed25519, RFC 8410.
const ED25519_OID: &str = "1.3.101.112";

/// The key of a verified certificate, which its holder proved to hold in the TLS handshake.
pub(super) fn key_in(certificate: &CertificateDer<'_>) -> Result<PublicKey, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| "the certificate is malformed")?;
    let key = parsed.public_key();
    if key.algorithm.algorithm.to_id_string() != ED25519_OID {
        return Err("the certificate's key is not Ed25519".into());
    }
    let key = key.subject_public_key.data.as_ref().try_into();
    Ok(PublicKey(key.map_err(|_| "the certificate's key has the wrong length")?))
}

/// The caller's key.
pub(super) fn key_of<T>(request: &Request<T>) -> Result<PublicKey, Status> {
    // INVARIANT: the listener makes only connections that have it.
    let caller = request.extensions().get::<Caller<PublicKey>>();
    caller.map(|caller| caller.id).ok_or_else(|| Status::unauthenticated("no client certificate"))
}

/// Callers whose records are remembered.
const REMEMBERED_MAX: usize = 1024;

/// Principals, each with the state that it was found in.
type Remembered = HashMap<PublicKey, (Root, Arc<PrincipalRecord>)>;

/// Looks callers up in the applied state. Whoever is not an active principal learns nothing from it.
#[derive(Clone)]
pub(super) struct Callers {
    store: AppliedStore,
    /// Those who were found lately, with the state that they were found in: while there is no newer one, they are
    /// who they were.
    remembered: Arc<Mutex<Remembered>>,
    finding: Line,
}

impl Callers {
    pub(super) fn of(store: AppliedStore) -> Self {
        Self { store, remembered: Arc::default(), finding: Line::default() }
    }

    /// The active principal with the caller's key.
    pub(super) async fn principal(&self, key: PublicKey) -> Result<Arc<PrincipalRecord>, Status> {
        let view = self.store.view();
        let root = view.read_state(|state| state.summary().root);
        if let Some((found_in, principal)) = self.remembered().get(&key)
            && *found_in == root
        {
            return Ok(Arc::clone(principal));
        }
        let found = self.finding.run(move || active_principal(&Recording::new(&view, root), key));
        match found.await {
            Ok(Ok(Some(principal))) => {
                let principal = Arc::new(principal);
                let mut remembered = self.remembered();
                if remembered.len() >= REMEMBERED_MAX {
                    remembered.clear();
                }
                remembered.insert(key, (root, Arc::clone(&principal)));
                Ok(principal)
            }
            Ok(Ok(None)) => Err(Status::permission_denied("the certificate's key is no active principal")),
            Ok(Err(error)) => Err(Status::internal(error.to_string())),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        // INVARIANT: nothing panics while it is held.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller, if it is an operator.
    pub(super) async fn operator(&self, key: PublicKey) -> Result<(), Status> {
        if self.principal(key).await?.roles.contains(&Role::Operator) {
            Ok(())
        } else {
            Err(Status::permission_denied("only operators may ask that"))
        }
    }

    /// The caller, if it may ask about `agent`.
    pub(super) async fn may_check(&self, key: PublicKey, agent: &Name) -> Result<(), Status> {
        if self.principal(key).await?.may_check(agent) {
            Ok(())
        } else {
            Err(Status::permission_denied("the agent is outside the caller's scope"))
        }
    }
}
