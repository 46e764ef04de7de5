//! Taking up what was running when the process stopped.

use super::*;

/// How long, at most, timers that came due while nobody ran are held back for tasks that
/// are asked for again.
const LONGEST_GRACE: SignedDuration = SignedDuration::from_secs(300);

impl Inner {
    /// Replays everything that runs, then goes on with it.
    pub(in crate::runner) async fn recover(self: &Arc<Self>) -> Result<(), RunnerError> {
        let mut after = None;
        let mut recovered = Vec::new();
        loop {
            let page = log::list(&self.store, Status::Running, 1000, after.as_ref())?;
            for name in page.items {
                match self.load(&name) {
                    Ok((machine, header, execution)) => {
                        recovered.push(self.admit(name.into(), machine, header, execution));
                    }
                    // One that cannot be replayed must not keep the others from running.
                    Err(error) => {
                        tracing::error!(run = %name, %error, "an execution cannot go on");
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !recovered.is_empty() {
            tracing::info!(executions = recovered.len(), "going on where it stopped");
        }
        // The oldest first, as before.
        for run in recovered.iter().rev() {
            let mut live = run.live.lock().await;
            if let Some(ended) = live.ended(run) {
                // Begun and over in one step, and stopped before the end was written.
                log::append(&self.store, &run.name, &[], Some(ended)).await?;
            }
            let not_before = self.alarm.now().saturating_add(grace(&live.execution));
            let not_before = not_before.unwrap_or(Timestamp::MAX);
            let mut commands = live.execution.pending();
            for command in &mut commands {
                if let Command::SetTimer { at, .. } = command {
                    *at = (*at).max(not_before);
                }
            }
            self.carry_out(run, &mut live, commands);
        }
        Ok(())
    }

    pub(super) fn load(
        &self,
        name: &str,
    ) -> Result<(Arc<asl::Machine>, Header, Execution), RunnerError> {
        let missing = || RunnerError::Unavailable(format!("execution {name} has no header"));
        let header = log::header(&self.store, name)?.ok_or_else(missing)?;
        let machine = self.machine_of(&header.definition)?;
        let execution = Execution::replay(&machine, log::records(&self.store, name)?)?;
        Ok((machine, header, execution))
    }

    fn machine_of(&self, digest: &str) -> Result<Arc<asl::Machine>, RunnerError> {
        if let Some(machine) = self.machines.lock().get(digest) {
            return Ok(machine);
        }
        let missing = || RunnerError::Definition(vec![format!("definition {digest} is not kept")]);
        let text = log::definition(&self.store, digest)?.ok_or_else(missing)?;
        let machine = Arc::new(definition::parse(&text)?);
        self.machines.lock().add(machine.clone());
        Ok(machine)
    }
}

/// For how long timers of an execution are held back after a start. Its open tasks are
/// asked for again and deserve the time they would have had, instead of a timeout for the
/// time in which nobody ran.
fn grace(execution: &Execution) -> SignedDuration {
    let limits = execution
        .tasks()
        .flat_map(|task| [task.timeout, task.heartbeat]);
    let longest = limits.flatten().max().unwrap_or(0);
    let longest = i64::try_from(longest).unwrap_or(i64::MAX);
    SignedDuration::from_secs(longest).min(LONGEST_GRACE)
}
