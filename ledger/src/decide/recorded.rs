//! The question that a recorded decision asks: a request as any other.

use super::Request;
use crate::command::Authorize;

impl Authorize {
    /// `request`, on record; the execution may begin within so many milliseconds of the decision. It belongs to no
    /// trace, and no decision led to it.
    pub fn of(request: Request, execute_within_ms: u64) -> Self {
        let Request { agent, action, resource, args_digest, args, generation, knowledge, hint } = request;
        Self {
            agent,
            action,
            resource,
            args_digest,
            args,
            generation,
            knowledge,
            hint,
            parent: None,
            traceparent: None,
            execute_within_ms,
        }
    }

    /// What is asked.
    pub fn request(&self) -> Request {
        Request {
            agent: self.agent.clone(),
            action: self.action.clone(),
            resource: self.resource.clone(),
            args_digest: self.args_digest,
            args: self.args.clone(),
            generation: self.generation,
            knowledge: self.knowledge.clone(),
            hint: self.hint,
        }
    }
}
