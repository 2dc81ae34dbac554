//! What the prelude calls in the host for `flow`.

use super::host::Desk;
use crate::{
    job::{FlowTask, Halt},
    thrown::to_error,
};
use mlua::{Table, Value};
use moonlog_core::flow::{Batch, FlowDefinition, FlowEnd, FlowStepDefinition, Join, SwitchDefinition, Trigger};

impl Desk<'_> {
    pub(super) fn flows(&self, host: &Table) -> mlua::Result<()> {
        host.raw_set(
            "flow_open",
            self.answering(|_, job, definition: Table| {
                let mut definition = read_definition(&definition)?;
                definition.max_running = definition.max_running.min(job.free_branches());
                job.flow_open(&definition)
            })?,
        )?;
        host.raw_set(
            "flow_next",
            self.plain(|_, job, ()| {
                Ok(match job.flow_next()? {
                    FlowTask::Start(step) => ("start", step + 1),
                    FlowTask::Cancel(step) => ("cancel", step + 1),
                    FlowTask::Over(step) => ("over", step + 1),
                    FlowTask::Wait => ("wait", 0),
                    FlowTask::Complete => ("complete", 0),
                })
            })?,
        )?;
        host.raw_set("flow_status", self.plain(|_, job, step: usize| job.flow_status(step - 1))?)?;
        host.raw_set("flow_cancel", self.plain(|lua, job, step: usize| job.flow_cancel(lua, step - 1))?)?;
        host.raw_set(
            "flow_ended",
            self.plain(|_, job, (step, how, what): (usize, String, Value)| {
                let end = match how.as_str() {
                    "completed" => FlowEnd::Completed,
                    // The case's number; none where no case fits.
                    "chose" => FlowEnd::Chose(what.as_usize().and_then(|case| case.checked_sub(1))),
                    "when_false" => FlowEnd::WhenFalse,
                    _ => FlowEnd::Failed,
                };
                job.flow_ended(step - 1, end, |job| to_error(&what, None, &job.marks))
            })?,
        )
    }
}

/// A definition as the prelude has checked it.
fn read_definition(table: &Table) -> Result<FlowDefinition, Halt> {
    let mut definition = FlowDefinition { max_running: table.raw_get("limit")?, ..FlowDefinition::default() };
    for step in table.raw_get::<Table>("steps")?.sequence_values::<Table>() {
        let step = step?;
        let cases: Option<Table> = step.raw_get("cases")?;
        definition.steps.push(FlowStepDefinition {
            id: step.raw_get("id")?,
            deps: step.raw_get("deps")?,
            trigger: match step.raw_get::<String>("trigger")?.as_str() {
                "one_success" => Trigger::OneSuccess,
                "all_done" => Trigger::AllDone,
                _ => Trigger::AllSuccess,
            },
            batch: step.raw_get("batch")?,
            switch: match cases {
                Some(cases) => Some(SwitchDefinition { cases: cases.sequence_values().collect::<mlua::Result<_>>()? }),
                None => None,
            },
        });
    }
    for batch in table.raw_get::<Table>("batches")?.sequence_values::<Table>() {
        let batch = batch?;
        definition.batches.push(Batch {
            name: batch.raw_get("name")?,
            max_concurrent: batch.raw_get::<f64>("max_concurrent")? as usize,
            join: if batch.raw_get::<String>("join")? == "all_success" { Join::AllSuccess } else { Join::AllDone },
        });
    }
    Ok(definition)
}
