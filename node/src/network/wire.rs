//! Raft's messages in protobuf, and back. Back is strict: what is missing, unknown, too long or
//! inconsistent is refused before Raft sees it.

use chancery_ledger::hash::Hash;
use chancery_proto::v1::peer;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::network::bounds::APPEND_BYTES_MAX;
use crate::network::snapshot::{Manifest, ManifestFile};
use crate::raft::entry_bytes::{self, next_index};
use crate::raft::payload_bytes;
use crate::raft::types::{Entry, LogId, Payload, SnapshotMeta, StoredMembership, TypeConfig, Vote, log_id};

/// A message is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {reason}")]
pub(super) struct Malformed {
    pub(super) what: &'static str,
    pub(super) reason: String,
}

pub(super) fn malformed(what: &'static str, reason: impl ToString) -> Malformed {
    Malformed { what, reason: reason.to_string() }
}

impl From<Malformed> for tonic::Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(malformed.to_string())
    }
}

pub(super) fn to_vote(vote: &Vote) -> peer::Vote {
    peer::Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(super) fn of_vote(vote: Option<peer::Vote>) -> Result<Vote, Malformed> {
    let vote = vote.ok_or_else(|| malformed("vote", "absent"))?;
    Ok(match vote.committed {
        true => Vote::new_committed(vote.term, vote.node),
        false => Vote::new(vote.term, vote.node),
    })
}

pub(super) fn to_log_id(log_id: LogId) -> peer::LogId {
    peer::LogId { term: log_id.leader_id.term, index: log_id.index }
}

pub(super) fn of_log_id(wire: peer::LogId) -> LogId {
    log_id(wire.term, wire.index)
}

// ---- append

/// What Raft asks to append, in requests of bounded size, each following the one before it.
pub(super) struct AppendParts {
    vote: Vote,
    leader_commit: Option<LogId>,
    prev: Option<LogId>,
    entries: std::iter::Peekable<std::vec::IntoIter<Entry>>,
    /// A request without entries goes out too, once.
    started: bool,
}

/// One of them.
pub(super) struct AppendPart {
    pub(super) request: peer::AppendRequest,
    /// What it follows.
    pub(super) prev: Option<LogId>,
    /// Where the log ends after it.
    pub(super) last: Option<LogId>,
}

impl AppendParts {
    pub(super) fn of(request: AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            vote: request.vote,
            leader_commit: request.leader_commit,
            prev: request.prev_log_id,
            entries: request.entries.into_iter().peekable(),
            started: false,
        }
    }

    /// The next part; `None` after the last one.
    pub(super) fn next_part(&mut self) -> Result<Option<AppendPart>, Malformed> {
        if self.started && self.entries.peek().is_none() {
            return Ok(None);
        }
        self.started = true;
        let prev = self.prev;
        let mut last = prev;
        let mut bytes = Vec::new();
        while let Some(entry) = self.entries.peek() {
            let payload_bytes = entry.payload.block().map_or(0, |block| block.bytes().len());
            if !bytes.is_empty() && bytes.len() + payload_bytes > APPEND_BYTES_MAX {
                break;
            }
            let next = next_index(last).map_err(|error| malformed("entries", error))?;
            if entry.log_id.index != next {
                return Err(malformed("entries", "not consecutive"));
            }
            entry_bytes::push(entry, &mut bytes).map_err(|error| malformed("entry", error))?;
            last = Some(entry.log_id);
            self.entries.next();
        }
        self.prev = last;
        let request = peer::AppendRequest {
            vote: Some(to_vote(&self.vote)),
            prev: prev.map(to_log_id),
            leader_commit: self.leader_commit.map(to_log_id),
            entries: bytes,
        };
        Ok(Some(AppendPart { request, prev, last }))
    }

    /// Whether this was all.
    pub(super) fn is_done(&mut self) -> bool {
        self.started && self.entries.peek().is_none()
    }
}

pub(super) fn of_append(request: peer::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let vote = of_vote(request.vote)?;
    if !vote.committed {
        return Err(malformed("append", "not a leader's vote"));
    }
    let prev_log_id = request.prev.map(of_log_id);
    let entries = entry_bytes::decode(&request.entries, prev_log_id, vote.leader_id.term)
        .map_err(|error| malformed("entries", error))?;
    let leader_commit = request.leader_commit.map(of_log_id);
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

/// Raft's answer to one request to append.
pub(super) type AppendResult = Result<Option<LogId>, StreamAppendError<TypeConfig>>;

pub(super) fn to_append_reply(result: &AppendResult) -> peer::AppendReply {
    use peer::append_reply::{Accepted, Result as Wire};
    let result = match result {
        Ok(matching) => Wire::Accepted(Accepted { matching: matching.map(to_log_id) }),
        Err(StreamAppendError::Conflict(at)) => Wire::Conflict(to_log_id(*at)),
        Err(StreamAppendError::HigherVote(vote)) => Wire::HigherVote(to_vote(vote)),
    };
    peer::AppendReply { result: Some(result) }
}

pub(super) fn of_append_reply(reply: peer::AppendReply) -> Result<AppendResult, Malformed> {
    use peer::append_reply::Result as Wire;
    Ok(match reply.result {
        None => return Err(malformed("append reply", "empty")),
        Some(Wire::Accepted(accepted)) => Ok(accepted.matching.map(of_log_id)),
        Some(Wire::Conflict(at)) => Err(StreamAppendError::Conflict(of_log_id(at))),
        Some(Wire::HigherVote(vote)) => Err(StreamAppendError::HigherVote(of_vote(Some(vote))?)),
    })
}

// ---- votes and transfer

pub(super) fn to_vote_request(request: &VoteRequest<TypeConfig>) -> peer::VoteRequest {
    peer::VoteRequest {
        vote: Some(to_vote(&request.vote)),
        last_log_id: request.last_log_id.map(to_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(super) fn of_vote_request(request: peer::VoteRequest) -> Result<VoteRequest<TypeConfig>, Malformed> {
    let vote = of_vote(request.vote)?;
    if vote.committed {
        return Err(malformed("vote request", "a leader's vote"));
    }
    let mut decoded = VoteRequest::new(vote, request.last_log_id.map(of_log_id));
    decoded.leadership_transfer = request.leadership_transfer;
    Ok(decoded)
}

pub(super) fn to_vote_reply(reply: &VoteResponse<TypeConfig>) -> peer::VoteReply {
    peer::VoteReply {
        vote: Some(to_vote(&reply.vote)),
        granted: reply.vote_granted,
        last_log_id: reply.last_log_id.map(to_log_id),
    }
}

pub(super) fn of_vote_reply(reply: peer::VoteReply) -> Result<VoteResponse<TypeConfig>, Malformed> {
    Ok(VoteResponse::new(of_vote(reply.vote)?, reply.last_log_id.map(of_log_id), reply.granted))
}

pub(super) fn to_transfer(request: &TransferLeaderRequest<TypeConfig>) -> peer::TransferLeaderRequest {
    peer::TransferLeaderRequest {
        from_leader: Some(to_vote(request.from_leader())),
        to_node: *request.to_node_id(),
        last_log_id: request.last_log_id().copied().map(to_log_id),
    }
}

pub(super) fn of_transfer(
    request: peer::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Malformed> {
    let from = of_vote(request.from_leader)?;
    if !from.committed {
        return Err(malformed("transfer", "not a leader's vote"));
    }
    Ok(TransferLeaderRequest::new(from, request.to_node, request.last_log_id.map(of_log_id)))
}

pub(super) fn to_transfer_reply(reply: &TransferLeaderResponse<TypeConfig>) -> peer::TransferLeaderReply {
    use peer::transfer_leader_reply::{Done, NotFlushed, Result as Wire};
    let result = match reply {
        Ok(()) => Wire::Done(Done {}),
        Err(TransferLeaderError::VoteChanged { actual, .. }) => Wire::VoteChanged(to_vote(actual)),
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            Wire::NotFlushed(NotFlushed { last_log_id: actual.map(to_log_id) })
        }
    };
    peer::TransferLeaderReply { result: Some(result) }
}

/// The answer to `request`.
pub(super) fn of_transfer_reply(
    request: &TransferLeaderRequest<TypeConfig>,
    reply: peer::TransferLeaderReply,
) -> Result<TransferLeaderResponse<TypeConfig>, Malformed> {
    use peer::transfer_leader_reply::Result as Wire;
    Ok(match reply.result {
        None => return Err(malformed("transfer reply", "empty")),
        Some(Wire::Done(_)) => Ok(()),
        Some(Wire::VoteChanged(vote)) => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: of_vote(Some(vote))?,
        }),
        Some(Wire::NotFlushed(at)) => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: at.last_log_id.map(of_log_id),
        }),
    })
}

// ---- snapshot

pub(super) fn to_snapshot_header(
    vote: &Vote,
    meta: &SnapshotMeta,
    manifest: &Manifest,
) -> Result<peer::SnapshotHeader, Malformed> {
    let mut membership = Vec::new();
    let payload = Payload::new(None, Some(meta.last_membership.membership().clone()));
    payload_bytes::encode(&payload, &mut membership).map_err(|error| malformed("membership", error))?;
    let files = manifest.files().iter().map(|file| peer::SnapshotFile {
        name: file.name.clone(),
        size_bytes: file.size_bytes,
        sha256: file.sha256.as_bytes().to_vec(),
    });
    Ok(peer::SnapshotHeader {
        vote: Some(to_vote(vote)),
        last_log_id: meta.last_log_id.map(to_log_id),
        membership_log_id: meta.last_membership.log_id().map(to_log_id),
        membership,
        files: files.collect(),
    })
}

/// The vote of the sender, what Raft is to know, and the files. A snapshot from beyond its leader's
/// term, or a membership from beyond the snapshot, is refused: Raft would panic on it.
pub(super) fn of_snapshot_header(
    header: peer::SnapshotHeader,
) -> Result<(Vote, SnapshotMeta, Manifest), Malformed> {
    let vote = of_vote(header.vote)?;
    let last_log_id = header.last_log_id.map(of_log_id);
    let membership_log_id = header.membership_log_id.map(of_log_id);
    if !vote.committed
        || last_log_id.is_some_and(|last| last.leader_id.term > vote.leader_id.term)
        || membership_log_id > last_log_id
    {
        return Err(malformed("snapshot", "vote, last log id and membership do not fit"));
    }
    let payload =
        payload_bytes::decode(&header.membership).map_err(|error| malformed("membership", error))?;
    let (None, Some(membership)) = (payload.block(), payload.membership()) else {
        return Err(malformed("membership", "another payload"));
    };
    let last_membership = StoredMembership::new(membership_log_id, membership.clone());
    let files = header.files.into_iter().map(|file| {
        let sha256 = Hash::from_slice(&file.sha256).ok_or_else(|| malformed("snapshot", "hash length"))?;
        Ok(ManifestFile { name: file.name, size_bytes: file.size_bytes, sha256 })
    });
    let manifest =
        Manifest::new(files.collect::<Result<_, _>>()?).map_err(|error| malformed("snapshot", error))?;
    Ok((vote, SnapshotMeta { last_log_id, last_membership }, manifest))
}
