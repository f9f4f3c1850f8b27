//! What one answer and one receipt are made of: their floors have as many bytes and hashes.

use chancery_client::chancery_ledger::answer::Answer;
use prost::Message;

use super::chancery::Clients;
use crate::fault::{BenchError, Result};
use crate::floor::composed::{AnswerShape, WriteShape};

/// Bytes of what gRPC's messages are wrapped in: a few tags and lengths.
const WRAPPED_BYTES: usize = 16;

/// Looks at one of each.
pub(crate) async fn look(clients: &Clients) -> Result<(AnswerShape, WriteShape)> {
    let of = BenchError::of("chancery");
    let permit = clients.check(0).await.map_err(&of)?;
    let checked = permit.checked();
    let request = &checked.request;
    let asked = chancery_proto::v1::api::CheckRequest {
        agent: request.agent.to_string(),
        action: request.action.to_string(),
        resource: request.resource.to_string(),
        args_digest: request.args_digest.0.to_vec(),
        nonce: vec![0; 32],
        ..Default::default()
    };
    let answer = answer_shape(&checked.answer, asked.encoded_len());
    let receipt = clients.grant_now(0).await.map_err(&of)?;
    let statements: usize =
        receipt.head.statements.iter().map(|statement| statement.encode().len() + 3).sum();
    let shape = WriteShape {
        request_bytes: receipt.command.encode().len() + WRAPPED_BYTES / 4,
        reply_bytes: receipt.leaf.entry.len()
            + receipt.leaf.proof.len() * 34
            + statements
            + 164
            + 2 * WRAPPED_BYTES,
        inclusion_hashes: receipt.leaf.proof.len(),
        leaf_bytes: receipt.leaf.entry.len(),
    };
    Ok((answer, shape))
}

/// What the answer shows, from the encoding of its pruned tree (docs/formats.md).
pub(crate) fn answer_shape(answer: &Answer, request_bytes: usize) -> AnswerShape {
    let (mut inner_nodes, mut leaves, mut value_bytes) = (0, 0, 0);
    let encoded = answer.tree.encode();
    let mut rest = encoded.as_slice();
    while let Some((tag, after)) = rest.split_first() {
        let skipped = match tag {
            1 => {
                inner_nodes += 1;
                1
            }
            6 | 7 => {
                inner_nodes += 1;
                32
            }
            2 => {
                let length = after
                    .get(32..34)
                    .map_or(0, |bytes| bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)));
                leaves += 1;
                value_bytes += length;
                34 + length
            }
            3 => {
                leaves += 1;
                64
            }
            4 => 32,
            _ => 0,
        };
        rest = after.get(skipped..).unwrap_or_default();
    }
    let signatures = answer.statements.len() + answer.head_statements.len();
    let reply_bytes = answer.encode().len() + 4;
    let tree_bytes = encoded.len();
    AnswerShape { request_bytes, reply_bytes, tree_bytes, inner_nodes, leaves, value_bytes, signatures }
}
