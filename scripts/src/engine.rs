//! The engine: warm VMs and compiled scripts, shared by all runs.

use crate::{
    Limits,
    vm::{Vm, compile},
};
use moonlog_core::{error_info::ErrorInfo, id::Hash};
use std::{
    collections::HashMap,
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

#[derive(Default)]
struct Compiled {
    chunks: HashMap<Hash, Arc<[u8]>>,
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
    pub(crate) fn compiled(&self, hash: &Hash, source: &str) -> Result<Arc<[u8]>, ErrorInfo> {
        if let Some(chunk) = lock(&self.shared.compiled).chunks.get(hash) {
            return Ok(Arc::clone(chunk));
        }
        let chunk: Arc<[u8]> = checked(source, &self.shared.limits)?.into();
        let mut compiled = lock(&self.shared.compiled);
        if compiled.bytes + chunk.len() > CACHE_BYTES {
            *compiled = Compiled::default();
        }
        compiled.bytes += chunk.len();
        compiled.chunks.insert(*hash, Arc::clone(&chunk));
        Ok(chunk)
    }
}

/// Compiles a source within the limits.
pub(crate) fn checked(source: &str, limits: &Limits) -> Result<Vec<u8>, ErrorInfo> {
    if source.len() > limits.source_bytes {
        let max = limits.source_bytes;
        let message = format!("the script is {} bytes long, more than {max} bytes", source.len());
        return Err(ErrorInfo::new("limit_source", message));
    }
    if let Some((before, _)) = source.split_once('\0') {
        let line = before.matches('\n').count() + 1;
        return Err(not_a_script(
            Some(line as u32),
            format!("line {line}: a NUL, behind which Luau would read nothing: remove it"),
        ));
    }
    compile(source).map_err(|error| {
        let (line, message) = syntax_error(&error);
        not_a_script(line, message)
    })
}

fn not_a_script(line: Option<u32>, message: String) -> ErrorInfo {
    let info = ErrorInfo::new("syntax_error", message);
    match line {
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
