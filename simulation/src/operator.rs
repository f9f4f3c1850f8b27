//! An operator who changes the voters while everything else goes wrong: nodes are added as learners, catch up, and
//! take the place of voters or vote beside them; voters are removed.

use std::rc::Rc;

use chancery_ledger::command::Body;
use chancery_ledger::head::VoterSet;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::founding::{NODES, voter};
use crate::node::Call;
use crate::random::Random;
use crate::trace;
use crate::workload::Workload;

/// Changes in a run, at most.
const CHANGES_MAX: u64 = 3;

/// How often one is asked for: until the end of any run.
const TRIES_MAX: u32 = 10_000;

impl Workload {
    /// Changes the voters some times, one change after the other. None begins after the last fault.
    pub(crate) async fn change_voters(
        self: Rc<Self>,
        spares: &'static [u64],
        mut random: Random,
    ) -> turmoil::Result {
        let (mut voters, mut spares) = (NODES.to_vec(), spares.iter().copied());
        for _ in 0..1 + random.below(CHANGES_MAX) {
            sleep(random.ms(500, 5_000)).await;
            if self.healed.get() {
                return Ok(());
            }
            let leaves = random.pick(&voters).copied();
            let stays = |node: &u64| Some(*node) != leaves;
            let next: Vec<u64> = match (random.below(3), voters.len()) {
                // Never fewer than three.
                (0, 4..) => voters.iter().copied().filter(stays).collect(),
                (1, _) => voters.iter().copied().chain(spares.next()).collect(),
                _ => voters.iter().copied().filter(stays).chain(spares.next()).collect(),
            };
            if next.len() < NODES.len() || next == voters {
                return Ok(());
            }
            self.voters_change.set(true);
            let changed = self.change(&next, &mut random).await;
            self.voters_change.set(false);
            if changed.is_none() {
                return Ok(());
            }
            self.counts.borrow_mut().voter_changes += 1;
            trace::line(&format!("the voters are {next:?}"));
            voters = next;
        }
        Ok(())
    }

    async fn change(&self, next: &[u64], random: &mut Random) -> Option<()> {
        let newest = self.newest_roster();
        for node in next.iter().filter(|node| !NODES.contains(node)) {
            self.add_learner(*node, random).await?;
        }
        let voters = VoterSet::majority(next.iter().map(|node| voter(*node)).collect())?;
        let body = Body::SetRoster { voters, replaces: newest, operators: Vec::new() };
        let signed = self.sign("operator", body);
        self.send_times(&signed, TRIES_MAX, random).await
    }

    /// Has `node` replicate without a vote, unless it votes already. That it lags does not matter: a change of
    /// the voters is not done before it has caught up.
    async fn add_learner(&self, node: u64, random: &mut Random) -> Option<()> {
        for _ in 0..TRIES_MAX {
            let (reply, answer) = oneshot::channel();
            match self.ask(Call::AddLearner { node, reply }, answer, random).await {
                Some(Ok(())) => {
                    self.counts.borrow_mut().learners += 1;
                    return Some(());
                }
                Some(Err(chancery_node::membership::MembershipError::IsVoter(_))) => return Some(()),
                Some(Err(_)) | None => {}
            }
            if self.ends.get() {
                return None;
            }
            sleep(random.ms(20, 200)).await;
        }
        None
    }
}
