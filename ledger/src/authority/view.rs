//! Reading records, from whatever holds them: the whole state, a state under change, or a pruned proof.

use super::records::{self, Body, Place, RecordError};
use crate::condition::Unreadable;
use crate::state::{Key, Value};

/// Something that answers what stands at a key, and says so when it cannot tell.
///
/// `Ok(None)` means that the key is absent. A view that does not know must return an error: an absence that
/// is only ignorance would be a permit that should be a denial, or the reverse.
pub trait View {
    /// Why it cannot tell.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The value at `key`, or `None` if there is none.
    fn read(&self, key: &Key) -> Result<Option<Value>, Self::Error>;
}

/// Why a record could not be had from a [`View`].
#[derive(Debug, thiserror::Error)]
pub enum ViewError<E> {
    /// The view cannot tell.
    #[error("the state cannot be read: {0}")]
    Read(#[source] E),
    /// The value is not the record that belongs there.
    #[error("{kind}: {source}")]
    Record {
        /// Which kind of record was looked for.
        kind: &'static str,
        /// What is wrong.
        source: RecordError,
    },
    /// A grant's condition cannot be evaluated here: no such grant is admitted.
    #[error(transparent)]
    Condition(#[from] Unreadable),
    /// One record refers to another that is not there.
    #[error("a {0} record is referred to, but absent")]
    Dangling(&'static str),
}

/// The record at `place`.
pub(crate) fn record<V: View, B: Body>(view: &V, place: &Place) -> Result<Option<B>, ViewError<V::Error>> {
    match view.read(&place.key()).map_err(ViewError::Read)? {
        Some(value) => records::decode(place, &value)
            .map(Some)
            .map_err(|source| ViewError::Record { kind: place.kind(), source }),
        None => Ok(None),
    }
}

/// The record at `place`, to which another record refers.
pub(crate) fn referred<V: View, B: Body>(view: &V, place: &Place) -> Result<B, ViewError<V::Error>> {
    record(view, place)?.ok_or(ViewError::Dangling(place.kind()))
}
