//! What the prelude calls in the host. Each function is a plain call that answers at once: a status, and values (see
//! `job::status`).

use super::{
    Watch,
    sandbox::{Seat, chunk_name},
    text,
};
use crate::{
    job::{Answer, Call, CodeStep, Fatal, Halt, Job, answer, returns, status},
    library::module_names,
    thrown::script_frames,
    value::{Marks, Nulls, to_json, tree_to_lua},
};
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, LuaString, MaybeSend, Table, Thread, Value, chunk::ChunkMode};
use moonlog_core::event::RetryPolicy;
use rand_pcg::{Pcg32, rand_core::Rng};
use std::sync::{Arc, PoisonError};

/// What a run whose memory is used up gets on top of its limit, to tell where that was.
pub(super) const SPARE_MEMORY_BYTES: usize = 1 << 20;

/// Builds functions over one VM's job.
pub(super) struct Desk<'a> {
    pub(super) lua: &'a Lua,
    seat: &'a Seat,
    watch: &'a Arc<Watch>,
    marks: &'a Arc<Marks>,
}

/// The table that the prelude calls `host`.
pub(super) fn table(lua: &Lua, seat: &Seat, watch: &Arc<Watch>, marks: &Arc<Marks>) -> mlua::Result<Table> {
    let desk = Desk { lua, seat, watch, marks };
    let host = lua.create_table()?;
    host.raw_set("null", marks.null.clone())?;
    host.raw_set("array_mt", marks.array.clone())?;
    host.raw_set("err_mt", marks.error.clone())?;
    desk.operations(&host)?;
    desk.steps(&host)?;
    desk.branches(&host)?;
    desk.flows(&host)?;
    desk.notes(&host)?;
    desk.readings(&host)?;
    desk.values(&host)?;
    Ok(host)
}

impl Desk<'_> {
    /// A function that answers with a status. What it refuses is thrown by the prelude.
    pub(super) fn answering<A, F>(&self, function: F) -> mlua::Result<Function>
    where
        A: FromLuaMulti,
        F: Fn(&Lua, &mut Job, A) -> Result<Answer, Halt> + MaybeSend + 'static,
    {
        self.guarded(function, |lua, job, error| job.throws(lua, &error))
    }

    /// A function that answers with plain values. What it refuses ends the branch.
    pub(super) fn plain<A, R, F>(&self, function: F) -> mlua::Result<Function>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
        F: Fn(&Lua, &mut Job, A) -> Result<R, Halt> + MaybeSend + 'static,
    {
        self.guarded(function, |_, _, error| Err(mlua::Error::runtime(error.message)))
    }

    fn guarded<A, R, F, E>(&self, function: F, refuse: E) -> mlua::Result<Function>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
        F: Fn(&Lua, &mut Job, A) -> Result<R, Halt> + MaybeSend + 'static,
        E: Fn(&Lua, &mut Job, moonlog_core::error_info::ErrorInfo) -> mlua::Result<R> + MaybeSend + 'static,
    {
        let seat = Arc::clone(self.seat);
        self.lua.create_function(move |lua, args: A| {
            let mut seat = seat.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(job) = seat.as_mut() else {
                return Err(mlua::Error::runtime("no job is running"));
            };
            match function(lua, job, args) {
                Ok(value) => Ok(value),
                Err(Halt::Error(error)) => refuse(lua, job, error),
                Err(Halt::Fatal(fatal)) => {
                    let error = job.set_fatal(lua, fatal);
                    refuse(lua, job, error)
                }
                Err(Halt::Lua(error)) => {
                    if matches!(error, mlua::Error::MemoryError(_)) {
                        job.set_fatal(lua, out_of_memory(job, None));
                    }
                    Err(error)
                }
            }
        })
    }

    fn operations(&self, host: &Table) -> mlua::Result<()> {
        let watch = Arc::clone(self.watch);
        type Perform = (String, Option<String>, Value, Option<bool>, Option<f64>);
        let begin = move |lua: &Lua, job: &mut Job, args: Perform| {
            watch.restart();
            let (kind, label, input, check, cache_ms) = args;
            let (check, cache_ms) = (check.unwrap_or_default(), cache_ms.map(|ms| ms as u64));
            job.begin(lua, Call { kind: &kind, label: label.as_deref(), input: &input, check, cache_ms })
        };
        host.raw_set("begin", self.answering(begin)?)?;
        host.raw_set(
            "check_agents",
            self.answering(|_, job, ()| {
                job.check_agents()?;
                Ok(returns(Value::Nil))
            })?,
        )?;
        host.raw_set(
            "check_nesting",
            self.answering(|_, job, ()| {
                job.check_nesting()?;
                Ok(returns(Value::Nil))
            })?,
        )?;
        host.raw_set("continue_as", self.answering(|_, job, args: Value| job.continue_as(&args))?)?;
        host.raw_set(
            "flush",
            self.plain(|_, job, ()| {
                job.park_for_flush(answer(status::WAIT))?;
                Ok(())
            })?,
        )?;
        host.raw_set(
            "out_of_memory",
            self.plain(|_, job, traceback: Option<LuaString>| -> Result<(), Halt> {
                Err(Halt::Fatal(out_of_memory(job, traceback.map(|text| script_frames(&text.to_string_lossy())))))
            })?,
        )?;
        // The run is over: what is still to be said about it needs some.
        host.raw_set(
            "spare_memory",
            self.plain(|lua, job, ()| {
                lua.set_memory_limit(job.limits.memory_bytes + SPARE_MEMORY_BYTES)?;
                Ok(())
            })?,
        )
    }

    fn steps(&self, host: &Table) -> mlua::Result<()> {
        let watch = Arc::clone(self.watch);
        // The last argument is the kind of a flow's step, which stands at its branch's own path.
        type Begin = (String, Value, Option<Table>, Option<f64>, Option<f64>, Option<String>);
        let begin = move |lua: &Lua, job: &mut Job, args: Begin| {
            watch.restart();
            let (name, input, retry, timeout_ms, cache_ms, kind) = args;
            let retry = retry.map(|retry| retry_policy(&retry)).transpose()?;
            let path = if kind.is_some() { Some(Arc::clone(&job.scope()?.prefix)) } else { None };
            let (timeout_ms, cache_ms) = (timeout_ms.map(|ms| ms as u64), cache_ms.map(|ms| ms as u64));
            job.step_begin(lua, CodeStep { name, path, kind, input, retry, timeout_ms, cache_ms })
        };
        host.raw_set("step_begin", self.answering(begin)?)?;
        host.raw_set("step_body", self.answering(|_, job, thread: Thread| job.step_body(thread))?)?;
        host.raw_set("step_holds", self.plain(|_, job, ()| job.step_holds())?)?;
        let watch = Arc::clone(self.watch);
        host.raw_set(
            "step_ok",
            self.answering(move |lua, job, value: Value| {
                watch.restart();
                job.step_ok(lua, value)
            })?,
        )?;
        host.raw_set(
            "step_failed",
            self.answering(|lua, job, (thrown, traceback): (Value, Option<LuaString>)| {
                job.step_failed(lua, &thrown, traceback.map(|text| text.to_string_lossy()))
            })?,
        )
    }

    fn branches(&self, host: &Table) -> mlua::Result<()> {
        host.raw_set(
            "open_branches",
            self.answering(|_, job, (keys, limit): (Table, f64)| {
                let mut names = Vec::with_capacity(keys.raw_len());
                for key in keys.sequence_values::<Value>() {
                    names.push(match key? {
                        Value::String(name) => name.to_str()?.to_string(),
                        Value::Integer(index) => index.to_string(),
                        Value::Number(index) => index.to_string(),
                        _ => return Err(Halt::fault("a branch without a name")),
                    });
                }
                job.open_branches(&names, if limit.is_finite() { limit as usize } else { usize::MAX })
            })?,
        )?;
        host.raw_set(
            "fork",
            self.answering(|_, job, args: (Thread, u32, Option<bool>)| {
                let (thread, index, is_pipeline) = args;
                job.fork(thread, index, is_pipeline.unwrap_or_default())
            })?,
        )?;
        host.raw_set("enter_stage", self.plain(|_, job, (item, stage): (u32, u32)| job.enter_stage(item, stage))?)?;
        host.raw_set("check_items", self.answering(|_, job, items: f64| job.check_items(items))?)?;
        host.raw_set("free_branches", self.plain(|_, job, ()| Ok(job.free_branches()))?)?;
        host.raw_set(
            "next_child",
            self.plain(|_, job, ()| {
                Ok(match job.next_child()? {
                    None => (false, 0, false, Value::Nil, Value::Nil),
                    Some(child) => match child.result {
                        Ok(value) => (true, child.index, true, value, Value::Nil),
                        Err((error, traceback)) => (true, child.index, false, error, traceback),
                    },
                })
            })?,
        )?;
        host.raw_set("cancel_children", self.plain(|lua, job, ()| job.cancel_children(lua))?)?;
        host.raw_set("close_branches", self.plain(|_, job, ()| job.close_branches())?)?;
        host.raw_set("spawn", self.answering(|_, job, thread: Thread| job.spawn(thread))?)?;
        host.raw_set("spawn_status", self.plain(|_, job, id: u32| Ok(job.spawn_status(id)))?)?;
        host.raw_set(
            "spawn_wait",
            self.answering(|lua, job, (id, ms): (u32, Option<f64>)| job.spawn_wait(lua, id, ms.map(|ms| ms as u64)))?,
        )
    }

    fn notes(&self, host: &Table) -> mlua::Result<()> {
        let full = |full| returns(Value::Boolean(full));
        host.raw_set(
            "phase",
            self.answering(move |_, job, title: LuaString| {
                let title = utf8(&title, "phase: title")?;
                job.phase(title).map(full)
            })?,
        )?;
        host.raw_set(
            "log",
            self.answering(move |_, job, (level, message): (String, LuaString)| {
                job.log(level, message.to_string_lossy()).map(full)
            })?,
        )?;
        host.raw_set(
            "emit",
            self.answering(move |_, job, (name, value): (LuaString, Value)| {
                let name = utf8(&name, "emit: name")?;
                let value = to_json(&value, "emit: value", &job.marks, job.limits.value_bytes)?;
                job.emit(name, value).map(full)
            })?,
        )
    }

    fn readings(&self, host: &Table) -> mlua::Result<()> {
        host.raw_set("now", self.plain(|_, job, ()| Ok(job.now.as_secs_f64()))?)?;
        host.raw_set("clock", self.plain(|_, job, ()| Ok(job.now.as_secs_f64() - job.spec.started_at.as_secs_f64()))?)?;
        host.raw_set("spent", self.plain(|_, job, ()| Ok(job.spent as f64))?)?;
        host.raw_set(
            "remaining",
            self.plain(|_, job, ()| {
                Ok(job.spec.budget_total.map_or(f64::INFINITY, |total| total.saturating_sub(job.spent) as f64))
            })?,
        )?;
        host.raw_set(
            "random",
            self.plain(|_, job, ()| {
                let rng = generator(job)?;
                let bits = (u64::from(rng.next_u32()) << 21) ^ u64::from(rng.next_u32() >> 11);
                Ok(bits as f64 / (1_u64 << 53) as f64)
            })?,
        )?;
        host.raw_set(
            "random_seed",
            self.plain(|_, job, seed: f64| {
                let prefix = Arc::clone(&job.scope()?.prefix);
                job.rngs.insert(prefix, Pcg32::new(seed.to_bits(), 1));
                Ok(())
            })?,
        )?;
        host.raw_set(
            "uuid",
            self.plain(|_, job, ()| {
                let mut bytes = [0; 16];
                generator(job)?.fill_bytes(&mut bytes);
                Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
            })?,
        )
    }

    /// These need no job: they also work while a workflow is listed, and they never fail the run.
    fn values(&self, host: &Table) -> mlua::Result<()> {
        host.raw_set(
            "encode",
            self.answering(|lua, job, value: Value| {
                let json = to_json(&value, "json.encode: value", &job.marks, job.limits.memory_bytes / 4)?;
                Ok(returns(Value::String(lua.create_string(json.as_str())?)))
            })?,
        )?;
        let marks = Arc::clone(self.marks);
        host.raw_set(
            "decode",
            self.answering(move |lua, job, text: LuaString| {
                let text = utf8(&text, "json.decode: text")?;
                if text.len() > job.limits.memory_bytes / 4 {
                    return Err(Halt::error("limit_value", "json.decode: the text is too large"));
                }
                match serde_json::from_str::<serde_json::Value>(&text) {
                    Ok(tree) => Ok(returns(tree_to_lua(lua, &tree, &marks, Nulls::Marked)?)),
                    Err(error) => Err(Halt::error("invalid_json", format!("json.decode: {error}"))),
                }
            })?,
        )?;
        host.raw_set(
            "module",
            self.plain(|lua, job, (name, env): (String, Table)| {
                let Some(chunks) = job.chunks.clone() else { return Err(Halt::fault("a script without its modules")) };
                let Some(module) = chunks.modules.get(&name) else {
                    return Ok((None, Some(module_names().join(", "))));
                };
                let chunk = lua.load(module.as_slice()).set_name(chunk_name(&name)).set_mode(ChunkMode::Binary);
                Ok((Some(chunk.set_environment(env).into_function()?), None))
            })?,
        )?;
        host.raw_set("find", self.lua.create_function(text::find)?)?;
        host.raw_set("split", self.lua.create_function(text::split)?)
    }
}

fn out_of_memory(job: &Job, traceback: Option<String>) -> Fatal {
    let bytes = job.limits.memory_bytes;
    let message = format!("the script needs more than {bytes} bytes of memory");
    let error = moonlog_core::error_info::ErrorInfo::new("limit_memory", message);
    Fatal::Failed(moonlog_core::error_info::ErrorInfo { traceback: traceback.filter(|text| !text.is_empty()), ..error })
}

fn utf8(text: &LuaString, what: &str) -> Result<String, Halt> {
    match text.to_str() {
        Ok(text) => Ok(text.to_string()),
        Err(_) => Err(Halt::error("invalid_value", format!("{what} is not valid UTF-8"))),
    }
}

/// The generator of the scope that the script is in. One per scope, so that what a skipped step would have drawn, and
/// the order in which branches run, changes nothing elsewhere.
fn generator(job: &mut Job) -> Result<&mut Pcg32, Halt> {
    let seed = job.spec.seed;
    let prefix = Arc::clone(&job.scope()?.prefix);
    Ok(job.rngs.entry(prefix).or_insert_with_key(|prefix| {
        let hash = blake3::hash(prefix.as_bytes());
        let mut stream = [0; 8];
        stream.copy_from_slice(&hash.as_bytes()[..8]);
        Pcg32::new(seed, u64::from_le_bytes(stream))
    }))
}

fn retry_policy(table: &Table) -> Result<RetryPolicy, Halt> {
    Ok(RetryPolicy {
        max: table.raw_get("max")?,
        backoff_ms: table.raw_get::<f64>("backoff_ms")? as u64,
        factor: table.raw_get("factor")?,
        max_backoff_ms: table.raw_get::<f64>("max_backoff_ms")? as u64,
    })
}
