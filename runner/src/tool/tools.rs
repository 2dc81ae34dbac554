//! All tools of a server, by name.

use super::{
    Decision, Tool, ToolAnswer, ToolContext, ToolDefinition, ToolOptions, ToolOutput,
    create_workspace::CreateWorkspace, delete_file::DeleteFile, edit_files::EditFiles, execute::Execute, files::Files,
    input, list_files::ListFiles, near::nearest, process_list::ProcessList, process_output::ProcessOutput,
    process_signal::ProcessSignal, read_file::ReadFile, search_files::SearchFiles, write_file::WriteFile,
};
use crate::{
    options::Ids,
    process::{ProcessTable, Processes},
    secret::Secrets,
    workspace::Workspaces,
};
use futures_util::FutureExt;
use jsonschema::Validator;
use moonlog_core::{error_info::ErrorInfo, json::Json};
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};
use tokio::time::Instant;

/// All tools of a server. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    inner: Arc<Inner>,
}

struct Inner {
    files: Arc<Files>,
    secrets: Arc<Secrets>,
    workspaces: Workspaces,
    by_name: RwLock<BTreeMap<String, Arc<Registered>>>,
}

/// A tool with what is needed at every call.
struct Registered {
    definition: ToolDefinition,
    /// Made when it is first needed: most servers start without a call of most tools.
    validator: OnceLock<Validator>,
    tool: Arc<dyn Tool>,
}

impl Registered {
    fn check(&self, name: &str, input: &Value) -> Result<(), ErrorInfo> {
        let schema = &self.definition.input_schema;
        let validator = match self.validator.get() {
            Some(validator) => validator,
            None => {
                let made = jsonschema::validator_for(schema);
                let made =
                    made.map_err(|error| ErrorInfo::new("internal", format!("the schema of `{name}`: {error}")))?;
                self.validator.get_or_init(|| made)
            }
        };
        input::check(name, schema, validator, input)
    }
}

impl Tools {
    /// The built-in tools.
    pub fn new(
        processes: &Processes,
        table: &ProcessTable,
        workspaces: &Workspaces,
        options: ToolOptions,
        ids: Ids,
    ) -> Self {
        let files = Arc::new(Files::new(options, processes.threads()));
        let secrets = processes.secrets().clone();
        let workspaces = workspaces.clone();
        let create_workspace = CreateWorkspace { workspaces: workspaces.clone(), files: files.clone() };
        let inner = Inner { files: files.clone(), secrets, workspaces, by_name: RwLock::default() };
        let tools = Self { inner: Arc::new(inner) };
        let built_in: [Arc<dyn Tool>; 11] = [
            Arc::new(create_workspace),
            Arc::new(Execute { processes: processes.clone(), files: files.clone(), ids }),
            Arc::new(ProcessOutput { table: table.clone(), limits: files.limits().clone() }),
            Arc::new(ProcessList(table.clone())),
            Arc::new(ProcessSignal(table.clone())),
            Arc::new(ReadFile(files.clone())),
            Arc::new(WriteFile(files.clone())),
            Arc::new(EditFiles(files.clone())),
            Arc::new(DeleteFile(files.clone())),
            Arc::new(ListFiles(files.clone())),
            Arc::new(SearchFiles(files)),
        ];
        for tool in built_in {
            tools.register_own(tool);
        }
        tools
    }

    /// Adds a tool, or replaces the one of its name. One whose schema is no JSON Schema is left out, and logged.
    pub fn register(&self, tool: Arc<dyn Tool>) {
        let definition = tool.definition();
        match jsonschema::validator_for(&definition.input_schema) {
            Ok(validator) => self.add(definition, OnceLock::from(validator), tool),
            Err(error) => {
                tracing::warn!(name = definition.name, %error, "a tool was left out: its input schema is invalid");
            }
        }
    }

    /// Adds one that comes with the runner, whose schema is known to be sound.
    pub(crate) fn register_own(&self, tool: Arc<dyn Tool>) {
        self.add(tool.definition(), OnceLock::new(), tool);
    }

    fn add(&self, definition: ToolDefinition, validator: OnceLock<Validator>, tool: Arc<dyn Tool>) {
        let name = definition.name.clone();
        let registered = Arc::new(Registered { definition, validator, tool });
        self.inner.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(name, registered);
    }

    /// Takes a tool away.
    pub fn unregister(&self, name: &str) {
        self.inner.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// All tools, by name.
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        let all = self.inner.by_name.read().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|registered| registered.definition.clone()).collect()
    }

    /// What a file holds that a model is shown. A relative path stays below `root` or, without one, below the configured roots.
    ///
    /// # Errors
    /// Where it may not be read, is no file, or has more than `max_bytes`.
    pub(crate) async fn content(
        &self,
        root: Option<PathBuf>,
        path: &str,
        max_bytes: usize,
    ) -> Result<Vec<u8>, ErrorInfo> {
        let path = path.to_owned();
        let read = move |files: &Files| {
            let mut roots = root.map_or_else(|| files.own_roots(), |root| vec![root]);
            // Scripts name what they like in full, as with `exec`; a relative path leads out of nowhere.
            if Path::new(&path).is_absolute() {
                roots.push("/".into());
            }
            files.content(&roots, &path, max_bytes)
        };
        self.inner.files.blocking(read).await
    }

    /// Whether a call may be performed, by the configuration's rules.
    pub fn decide(&self, context: &ToolContext, name: &str, input: &Json) -> Decision {
        let known = || self.inner.workspaces.known_path(context.owner.session.as_ref()?);
        let root = context.root.clone().or_else(known);
        self.inner.files.decide(&ToolContext { root, ..context.clone() }, name, &input.to_value())
    }

    /// Whether an input is one that the tool takes.
    ///
    /// # Errors
    /// Where there is no such tool, or its schema complains.
    pub fn check(&self, name: &str, input: &Json) -> Result<(), ErrorInfo> {
        self.find(name)?.check(name, &input.to_value())
    }

    /// Performs a call. Never panics; what goes wrong is told in the output, for a model. Calls may be performed at
    /// once: those that change the same file take turns.
    pub async fn perform(&self, context: &ToolContext, name: &str, input: &Json) -> ToolOutput {
        let started = Instant::now();
        let answered = AssertUnwindSafe(self.answer(context, name, input.to_value())).catch_unwind().await;
        let answered = answered.unwrap_or_else(|_| {
            Err(ErrorInfo::new("internal", format!("a fault of moonlog's: the tool `{name}` panicked")))
        });
        ToolOutput::new(answered, started.elapsed(), &self.inner.secrets)
    }

    async fn answer(&self, context: &ToolContext, name: &str, input: Value) -> Result<ToolAnswer, ErrorInfo> {
        let registered = self.find(name)?;
        registered.check(name, &input)?;
        let context = self.in_workspace(context).await?;
        if let Decision::Deny(reason) = self.inner.files.decide(&context, name, &input) {
            return Err(ErrorInfo::new("denied", reason));
        }
        registered.tool.call(&context, input).await
    }

    /// The call as one in its session's workspace, where the session has one. One that was deleted is made anew.
    async fn in_workspace<'a>(&self, context: &'a ToolContext) -> Result<Cow<'a, ToolContext>, ErrorInfo> {
        let (Some(session), None) = (&context.owner.session, &context.root) else { return Ok(Cow::Borrowed(context)) };
        match self.inner.workspaces.root(session).await {
            Ok(None) => Ok(Cow::Borrowed(context)),
            Ok(root) => Ok(Cow::Owned(ToolContext { root, ..context.clone() })),
            // Nobody but its jobs knows of it.
            Err(error) if error.code == "no_such_session" => Ok(Cow::Borrowed(context)),
            Err(error) => Err(error),
        }
    }

    fn find(&self, name: &str) -> Result<Arc<Registered>, ErrorInfo> {
        let all = self.inner.by_name.read().unwrap_or_else(PoisonError::into_inner);
        all.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            let meant = nearest(name, names.iter().copied()).map(|meant| format!("did you mean `{meant}`? "));
            let message =
                format!("there is no tool `{name}`: {}there are {}", meant.unwrap_or_default(), names.join(", "));
            ErrorInfo::new("unknown_tool", message)
        })
    }
}
