//! The script of a submission: found or linked, looked at once for each source, and kept.

use super::Inner;
use crate::{
    inner::stopping,
    request::{ScriptSource, SubmitError},
};
use moonlog_core::{id::Hash, json::Json};
use moonlog_scripts::{Entry, WorkflowInfo, check, link, prepare_args};
use std::sync::{Arc, PoisonError};

/// How many scripts' own words are kept.
const CHECKED: usize = 1_024;

/// A script as it is submitted.
pub(super) struct Script {
    pub(super) workflow: String,
    pub(super) source: Arc<str>,
    pub(super) hash: Hash,
    pub(super) args_schema: Option<Json>,
}

impl Inner {
    /// The arguments of a workflow's job, with the defaults of its schema.
    ///
    /// # Errors
    /// Where there is no such workflow, or the arguments do not fit it.
    pub(crate) async fn checked_args(&self, workflow: &str, args: &Json) -> Result<Json, SubmitError> {
        check_size("args", args.as_str().len(), self.options.submit_max_bytes)?;
        let script = self.script(ScriptSource::Workflow(workflow.to_owned())).await?;
        prepare_args(script.args_schema.as_ref(), args).map_err(SubmitError::InvalidArgs)
    }

    pub(super) async fn script(&self, what: ScriptSource) -> Result<Script, SubmitError> {
        match what {
            ScriptSource::Workflow(name) => match self.library.get(&name) {
                Some(workflow) => Ok(Script {
                    workflow: workflow.name.clone(),
                    source: workflow.source.clone(),
                    hash: workflow.hash,
                    args_schema: workflow.args_schema.clone(),
                }),
                None => match self.library.broken(&name) {
                    Some(broken) => Err(SubmitError::DoesNotCompile(broken.problems)),
                    None => Err(SubmitError::NoSuchWorkflow { nearest: self.nearest(&name), name }),
                },
            },
            ScriptSource::Script { source, name } => {
                check_size("script", source.len(), self.options.limits.source_bytes)?;
                let name = name.unwrap_or_else(|| "script".into());
                // With the modules that it requires, as they are now.
                let source: Arc<str> = Arc::from(&*link(&source));
                let hash = Hash::of(source.as_bytes());
                let info = self.checked(hash, &name, &source).await?;
                Ok(Script {
                    workflow: info.name.clone().unwrap_or(name),
                    source,
                    hash,
                    args_schema: info.args_schema.clone(),
                })
            }
        }
    }

    /// The workflow whose name is most like `name`, where one is near.
    fn nearest(&self, name: &str) -> Option<String> {
        let names = self.library.list().into_iter().filter_map(|entry| match entry {
            Entry::Workflow(workflow) => Some(workflow.name.clone()),
            Entry::Broken(_) => None,
        });
        names
            .map(|known| (strsim::jaro_winkler(name, &known), known))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, known)| known)
    }

    /// What a script says of itself, looked at once for each source, on a thread where that may take a while.
    async fn checked(&self, hash: Hash, name: &str, source: &Arc<str>) -> Result<Arc<WorkflowInfo>, SubmitError> {
        if let Some(info) = self.admission.checked.lock().unwrap_or_else(PoisonError::into_inner).get(&hash) {
            return Ok(info.clone());
        }
        let (name, source) = (name.to_owned(), source.clone());
        let info = match self.options.threads.begin(move || check(&name, &source)).await {
            Ok(info) => Arc::new(info.map_err(SubmitError::DoesNotCompile)?),
            Err(_) => return Err(SubmitError::Unavailable(stopping())),
        };
        let mut checked = self.admission.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= CHECKED {
            checked.clear();
        }
        checked.insert(hash, info.clone());
        Ok(info)
    }

    /// Stores the source, unless that was done before.
    pub(super) fn keep_script(&self, hash: Hash, source: &Arc<str>) -> Result<(), SubmitError> {
        // Said first: where nothing names it any more, it is forgotten here before it leaves the log.
        self.log.hold_blob(hash);
        if !self.sources.has(&hash) {
            self.log.put_held_blob(source.as_bytes().to_vec())?;
            self.sources.keep(hash, source.clone());
        }
        Ok(())
    }
}

pub(super) fn check_size(what: &'static str, bytes: usize, limit_bytes: usize) -> Result<(), SubmitError> {
    if bytes > limit_bytes { Err(SubmitError::TooLarge { what, bytes, limit_bytes }) } else { Ok(()) }
}
