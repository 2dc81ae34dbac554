//! What scripts may call, on the script's side of the border: Luau files, one for each concept, loaded in order into a VM
//! before the sandbox closes.
//!
//! Each file is called with three tables: the host's functions, what earlier files give to later ones, and what scripts
//! are offered. It takes what it needs of Luau's own library into locals, so that no script can change that.

use super::sandbox::compile;
use mlua::{Function, Lua, Table, chunk::ChunkMode};
use std::sync::OnceLock;

/// The files, in the order in which they are loaded: a file finds only what stands above it.
const FILES: &[&str] = &[
    include_str!("prelude/errors.luau"),
    include_str!("prelude/coroutines.luau"),
    include_str!("prelude/arguments.luau"),
    include_str!("prelude/operations.luau"),
    include_str!("prelude/processes.luau"),
    include_str!("prelude/waits.luau"),
    include_str!("prelude/workflow.luau"),
    include_str!("prelude/http.luau"),
    include_str!("prelude/tool.luau"),
    include_str!("prelude/step.luau"),
    include_str!("prelude/branches.luau"),
    include_str!("prelude/parallel.luau"),
    include_str!("prelude/pipeline.luau"),
    include_str!("prelude/agent.luau"),
    include_str!("prelude/spawn.luau"),
    include_str!("prelude/notes.luau"),
    include_str!("prelude/values.luau"),
    include_str!("prelude/flow.luau"),
    include_str!("prelude/chance.luau"),
    include_str!("prelude/require.luau"),
    include_str!("prelude/job.luau"),
    // Replaces functions that the files above use as they were.
    include_str!("prelude/library.luau"),
];

/// The name of all of it in tracebacks, where its frames are left out.
const NAME: &str = "=[moonlog]";

/// The prelude in one VM.
pub(super) struct Prelude {
    /// What scripts are offered.
    pub offered: Table,
    /// Runs a branch until it waits or ends.
    pub drive: Function,
    /// Says where a branch was when it had used up the memory.
    pub used_up: Function,
    /// The function of the main branch.
    pub main: Function,
    /// Makes a job's own globals.
    pub environment: Function,
    /// Makes the thread of a branch.
    pub create: Function,
}

impl Prelude {
    pub fn load(lua: &Lua, host: Table, globals: &Table) -> mlua::Result<Self> {
        let (shared, offered) = (lua.create_table()?, lua.create_table()?);
        for file in compiled()? {
            let chunk = lua.load(file.as_slice()).set_name(NAME).set_mode(ChunkMode::Binary).into_function()?;
            chunk.call::<()>((host.clone(), shared.clone(), offered.clone()))?;
        }
        shared.raw_get::<Function>("share")?.call::<()>(globals)?;
        Ok(Self {
            offered,
            drive: shared.raw_get("drive")?,
            used_up: shared.raw_get("used_up")?,
            main: shared.raw_get("main")?,
            environment: shared.raw_get("environment")?,
            create: shared.raw_get("new_branch")?,
        })
    }
}

fn compiled() -> mlua::Result<&'static [Vec<u8>]> {
    static COMPILED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    if let Some(compiled) = COMPILED.get() {
        return Ok(compiled);
    }
    let compiled = FILES.iter().map(|source| compile(source)).collect::<mlua::Result<_>>()?;
    Ok(COMPILED.get_or_init(|| compiled))
}
