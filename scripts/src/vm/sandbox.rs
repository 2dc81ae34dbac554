//! One VM: loaded with the prelude, then closed. Each job gets globals of its own in it; what is shared is read-only.

use super::{Watch, host, prelude::Prelude};
use crate::{
    Limits,
    job::{Answer, Job},
    value::{Marks, Nulls, from_json},
};
use mlua::{
    Function, Lua, LuaOptions, StdLib, Table, Thread, Value,
    chunk::ChunkMode,
    chunk::Compiler,
    state::{GcIncParams, GcMode},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the standard libraries offer and scripts must not have.
const REMOVED: &[&str] = &[
    "require",
    "loadstring",
    "load",
    "dofile",
    "loadfile",
    "getfenv",
    "setfenv",
    "newproxy",
    "collectgarbage",
    "gcinfo",
    "debug",
    "io",
    "package",
    "task",
];

/// A job's place in its VM: empty while the VM has none.
pub(crate) type Seat = Arc<Mutex<Option<Job>>>;

/// A VM with the prelude in it.
pub(crate) struct Vm {
    pub lua: Lua,
    pub watch: Arc<Watch>,
    pub marks: Arc<Marks>,
    seat: Seat,
    globals: Table,
    drive: Function,
    used_up: Function,
    main: Function,
    environment: Function,
    create: Function,
    base_bytes: usize,
}

/// The name under which Luau knows a script, and which stands before the line in messages.
pub(crate) fn chunk_name(script: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let shown = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = script.chars().take(SHOWN_CHARS).map(shown).collect();
    format!("={}", if name.is_empty() { "script" } else { &name })
}

/// Compiles a source.
pub(crate) fn compile(source: &str) -> mlua::Result<Vec<u8>> {
    Compiler::new()
        .set_optimization_level(1)
        .set_debug_level(1)
        .set_mutable_globals(["args", "budget", "require", "_G"])
        .compile(source)
}

impl Vm {
    /// A VM without a job.
    pub fn new() -> mlua::Result<Self> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new())?;
        let marks =
            Arc::new(Marks { null: lua.create_table()?, array: lua.create_table()?, error: lua.create_table()? });
        let null_name = lua.create_table()?;
        null_name.raw_set("__tostring", lua.create_function(|_, ()| Ok("null"))?)?;
        null_name.set_readonly(true);
        marks.null.set_metatable(Some(null_name))?;
        marks.null.set_readonly(true);

        let seat: Seat = Arc::new(Mutex::new(None));
        let watch = Arc::new(Watch::default());
        let host = host::table(&lua, &seat, &watch, &marks)?;
        let globals = lua.globals();
        let Prelude { offered, drive, used_up, main, environment, create } = Prelude::load(&lua, host, &globals)?;
        for name in REMOVED {
            globals.raw_set(*name, Value::Nil)?;
        }
        offered.for_each(|name: Value, value: Value| globals.raw_set(name, value))?;
        lua.sandbox(true)?;
        globals.set_readonly(true);
        Watch::install(&watch, &lua)?;
        // Luau collects a fixed amount per allocation, however large that is. In steps of a kilobyte large strings
        // would run into the limit long before their garbage is found. It is found where four times as much is in use as was
        // left last time: most jobs are over before that, and the next one begins in the same VM. Where memory is short the
        // watch collects, and so does the VM between two jobs.
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().goal(400).step_size(512).step_multiplier(400)));
        lua.gc_collect()?;
        let base_bytes = lua.used_memory();
        Ok(Self { lua, watch, marks, seat, globals, drive, used_up, main, environment, create, base_bytes })
    }

    /// The job that has the VM.
    pub fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the VM to a job, whose `args` come into it. Bounded as the job is where they are large; small ones come in
    /// before the bound is there, since each string and table in a bounded VM is made in a protected call of its own.
    pub fn seat(&self, job: Job, limits: &Limits) -> mlua::Result<Value> {
        const SMALL_BYTES: usize = 4 << 10;
        let args = job.spec.args.clone();
        self.watch.reset(Arc::clone(&job.stop), limits.memory_bytes);
        *self.job() = Some(job);
        let bound = || self.lua.set_memory_limit(limits.memory_bytes);
        let read = || from_json(&self.lua, args.as_str(), &self.marks, Nulls::Nil);
        if args.as_str().len() > SMALL_BYTES {
            bound()?;
            return read();
        }
        let args = read();
        bound()?;
        args
    }

    /// The globals of a job.
    pub fn globals(&self, args: Value, budget_total: Option<u64>) -> mlua::Result<Table> {
        let total = budget_total.map_or(f64::INFINITY, |total| total as f64);
        let requires = self.job().as_ref().and_then(|job| job.chunks.as_ref()).is_some_and(|chunks| chunks.requires);
        let env: Table = self.environment.call((args, total, requires))?;
        env.set_safeenv(true);
        Ok(env)
    }

    /// A script as a function, with `env` for its globals.
    pub fn load(&self, name: &str, compiled: &[u8], env: Table) -> mlua::Result<Function> {
        self.lua
            .load(compiled)
            .set_name(chunk_name(name))
            .set_mode(ChunkMode::Binary)
            .set_environment(env)
            .into_function()
    }

    /// The thread of the main branch, still to be resumed with the chunk and its arguments.
    pub fn main_thread(&self) -> mlua::Result<Thread> {
        self.create.call(self.main.clone())
    }

    /// A thread that will run `function`.
    pub fn thread(&self, function: Function) -> mlua::Result<Thread> {
        self.create.call(function)
    }

    /// Runs a branch until it waits (0), returned (1) or threw (2).
    pub fn drive(&self, thread: Thread, resume: Answer) -> mlua::Result<(u8, Value, Option<String>)> {
        let (mode, a, b, c) = resume;
        self.watch.enter();
        match self.drive.call((thread.clone(), mode, a, b, c)) {
            Err(mlua::Error::MemoryError(_)) => self.used_up(thread),
            driven => driven,
        }
    }

    /// The memory is used up, and there was not enough left to say where: says it with some to spare.
    fn used_up(&self, thread: Thread) -> mlua::Result<(u8, Value, Option<String>)> {
        let limit = self.job().as_ref().map_or(0, |job| job.limits.memory_bytes);
        self.lua.set_memory_limit(limit + host::SPARE_MEMORY_BYTES)?;
        // It ends the job, and therefore fails.
        let _ = self.used_up.call::<()>(thread);
        Ok((2, Value::Nil, None))
    }

    /// Takes the job off the VM. Whether the VM is as good as new: nothing that a job leaves in it can be reached by the
    /// next, as all that is shared is read-only; only memory can be left over.
    pub fn clear(&self) -> bool {
        const LEFT_OVER_BYTES: usize = 1 << 20;
        *self.job() = None;
        self.watch.reset(Arc::default(), usize::MAX);
        if self.lua.set_memory_limit(0).is_err() {
            return false;
        }
        if self.lua.used_memory() > self.base_bytes + LEFT_OVER_BYTES {
            let collected = self.lua.gc_collect().is_ok();
            return collected && self.lua.used_memory() < self.base_bytes + LEFT_OVER_BYTES / 2;
        }
        true
    }

    /// Every name that scripts can reach: globals, and the fields of those that are tables.
    pub fn offered(&self) -> mlua::Result<Vec<String>> {
        let mut names = Vec::new();
        self.globals.for_each(|name: String, value: Value| {
            if let Value::Table(table) = &value
                && name != "_G"
            {
                table.for_each(|field: String, _: Value| {
                    names.push(format!("{name}.{field}"));
                    Ok(())
                })?;
            } else {
                names.push(name);
            }
            Ok(())
        })?;
        names.sort();
        Ok(names)
    }
}
