//! The engine: warm VMs and compiled scripts, shared by all runs.

use crate::{
    Limits,
    library::{modules, requires},
    vm::{Vm, compile},
};
use moonlog_core::{error_info::ErrorInfo, id::Hash};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Compiled scripts are kept up to this many bytes; then all are forgotten.
const CACHE_BYTES: usize = 16 << 20;

/// How an engine is set up.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// What each job's script may use.
    pub limits: Limits,
    /// How many VMs without a job are kept.
    pub warm: usize,
}

/// Where scripts run. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Arc<Limits>,
    warm: usize,
    idle: Mutex<Vec<Vm>>,
    compiled: Mutex<Compiled>,
}

/// A script in Luau's own form, with the modules that it holds.
pub(crate) struct Chunks {
    pub main: Vec<u8>,
    pub modules: BTreeMap<String, Vec<u8>>,
    /// Whether it requires anything; one that does not has no `require`.
    pub requires: bool,
}

impl Chunks {
    fn bytes(&self) -> usize {
        self.main.len() + self.modules.values().map(Vec::len).sum::<usize>()
    }
}

#[derive(Default)]
struct Compiled {
    chunks: HashMap<Hash, Arc<Chunks>>,
    bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// An engine with no VM yet.
    pub fn new(options: EngineOptions) -> Self {
        let EngineOptions { limits, warm } = options;
        let shared = Shared { limits: Arc::new(limits), warm, idle: Mutex::default(), compiled: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The limits its scripts have.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn shared_limits(&self) -> Arc<Limits> {
        Arc::clone(&self.shared.limits)
    }

    /// A VM for one job.
    pub(crate) fn take(&self) -> Result<Vm, ErrorInfo> {
        if let Some(vm) = lock(&self.shared.idle).pop() {
            return Ok(vm);
        }
        Vm::new().map_err(|error| ErrorInfo::new("internal", format!("no Luau VM could be made: {error}")))
    }

    /// Takes a VM back whose job is over; it is kept if there is room and the job left nothing in it.
    pub(crate) fn give_back(&self, vm: Vm) {
        if vm.clear() {
            let mut idle = lock(&self.shared.idle);
            if idle.len() < self.shared.warm {
                idle.push(vm);
            }
        }
    }

    /// Whether a script need not be compiled any more before it is run.
    pub fn has_compiled(&self, hash: &Hash) -> bool {
        lock(&self.shared.compiled).chunks.contains_key(hash)
    }

    /// The compiled form of a source.
    pub(crate) fn compiled(&self, hash: &Hash, source: &str) -> Result<Arc<Chunks>, ErrorInfo> {
        if let Some(chunk) = lock(&self.shared.compiled).chunks.get(hash) {
            return Ok(Arc::clone(chunk));
        }
        let chunk = Arc::new(checked(source, &self.shared.limits)?);
        let mut compiled = lock(&self.shared.compiled);
        if compiled.bytes + chunk.bytes() > CACHE_BYTES {
            *compiled = Compiled::default();
        }
        compiled.bytes += chunk.bytes();
        compiled.chunks.insert(*hash, Arc::clone(&chunk));
        Ok(chunk)
    }
}

/// Compiles a source within the limits.
pub(crate) fn checked(source: &str, limits: &Limits) -> Result<Chunks, ErrorInfo> {
    if source.len() > limits.source_bytes {
        let max = limits.source_bytes;
        let message = format!("the script is {} bytes long, more than {max} bytes", source.len());
        return Err(ErrorInfo::new("limit_source", message));
    }
    if let Some((before, _)) = source.split_once('\0') {
        let line = before.matches('\n').count() + 1;
        let message = format!("line {line}: a NUL, behind which Luau would read nothing: remove it");
        let info = ErrorInfo::new("syntax_error", message);
        return Err(info.with_details(serde_json::json!({ "line": line }).into()));
    }
    let main = compile(source).map_err(|error| broken(&error, ""))?;
    let compiled = modules(source).into_iter().map(|(name, module)| {
        let chunk = compile(module).map_err(|error| broken(&error, &format!("module {name}: ")))?;
        Ok((name.to_owned(), chunk))
    });
    Ok(Chunks { main, modules: compiled.collect::<Result<_, ErrorInfo>>()?, requires: requires(source) })
}

/// Why a source does not compile. A line is told where it is one of the script itself.
fn broken(error: &mlua::Error, of: &str) -> ErrorInfo {
    let (line, message) = syntax_error(error);
    let info = ErrorInfo::new("syntax_error", format!("{of}{message}"));
    match line.filter(|_| of.is_empty()) {
        Some(line) => info.with_details(serde_json::json!({ "line": line }).into()),
        None => info,
    }
}

/// The line and the reason in a message of Luau's compiler, which reads `name:3: reason`.
fn syntax_error(error: &mlua::Error) -> (Option<u32>, String) {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    // `name:3: reason`, with or without the name.
    let mut parts = text.trim().splitn(3, ':');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if let (Ok(line), Some(reason)) = (first.trim().parse(), second) {
        let rest = third.map(|rest| format!(":{rest}")).unwrap_or_default();
        return (Some(line), format!("line {line}: {}{rest}", reason.trim_start()));
    }
    if let (Some(Ok(line)), Some(reason)) = (second.map(|line| line.trim().parse()), third) {
        return (Some(line), format!("line {line}: {}", reason.trim()));
    }
    (None, text.trim().to_owned())
}
