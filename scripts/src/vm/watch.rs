//! The watch on a script that computes: Luau calls an interrupt at every loop, call and pattern step; every so many of
//! them the time, the stop flag and the memory are looked at. Once it says stop it says so at every interrupt, so no
//! `pcall` gets around it.

use super::{clock::thread_cpu_ns, guest};
use mlua::{Lua, VmState, ffi};
use moonlog_core::error_info::ErrorInfo;
use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// Interrupts between two looks.
const INTERVAL: u32 = 500;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(INTERVAL) };
    /// Above so many KiB the memory is looked at without waiting for the interval: strings of megabytes come quickly.
    static SOFT_KIB: Cell<i32> = const { Cell::new(i32::MAX) };
}

type Interrupt = unsafe extern "C-unwind" fn(*mut ffi::lua_State, std::ffi::c_int);

/// mlua's own interrupt, which calls the callback that was set.
static CALLBACK: OnceLock<Interrupt> = OnceLock::new();

/// What bounds the script that a VM runs.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    stop: Mutex<Arc<AtomicBool>>,
    budget_ns: AtomicU64,
    /// 0: counting begins at the next look.
    deadline_ns: AtomicU64,
    memory_bytes: AtomicUsize,
    collected_bytes: AtomicUsize,
    expired: Mutex<Option<ErrorInfo>>,
}

impl Watch {
    /// For the next job.
    pub fn reset(&self, stop: Arc<AtomicBool>, memory_bytes: usize) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop;
        *self.expired.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        self.collected_bytes.store(0, Ordering::Relaxed);
        self.restart();
    }

    /// An operation was done: computing is counted anew.
    pub fn restart(&self) {
        self.deadline_ns.store(0, Ordering::Relaxed);
    }

    /// How much may be computed without an operation. What was counted against another budget does not count: a look
    /// while the virtual machine was made ready went by none, or by that of the job before.
    pub fn set_budget_ms(&self, ms: u64) {
        let budget_ns = ms.saturating_mul(1_000_000);
        if self.budget_ns.swap(budget_ns, Ordering::Relaxed) != budget_ns {
            self.restart();
        }
    }

    /// The VM is going to run on this thread.
    pub fn enter(&self) {
        SOFT_KIB.set(i32::try_from(self.soft_bytes() >> 10).unwrap_or(i32::MAX));
    }

    /// The use at which garbage is collected: three quarters of the limit, and some growth since it was last done.
    fn soft_bytes(&self) -> usize {
        let limit = self.memory_bytes.load(Ordering::Relaxed);
        let collected = self.collected_bytes.load(Ordering::Relaxed);
        (limit / 4 * 3).max(collected.saturating_add(limit / 16))
    }

    /// The limit that the watch has found to be passed.
    pub fn expired(&self) -> Option<ErrorInfo> {
        self.expired.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&self, lua: &Lua) -> mlua::Result<VmState> {
        let stop = Arc::clone(&self.stop.lock().unwrap_or_else(PoisonError::into_inner));
        if stop.load(Ordering::Relaxed) {
            LEFT.set(0);
            return Err(mlua::Error::runtime("the job was stopped"));
        }
        let now = thread_cpu_ns();
        guest::look(now);
        match self.deadline_ns.load(Ordering::Relaxed) {
            // A virtual machine that has no job yet.
            _ if self.budget_ns.load(Ordering::Relaxed) == 0 => {}
            0 => self.deadline_ns.store(now + self.budget_ns.load(Ordering::Relaxed), Ordering::Relaxed),
            // The slice may have moved to another thread, with another clock; each slice starts anew.
            deadline if now > deadline => {
                let ms = self.budget_ns.load(Ordering::Relaxed) / 1_000_000;
                let message = format!("the script computed for {ms} ms without an operation");
                let mut error = ErrorInfo::new("limit_cpu", &message);
                error.traceback = lua
                    .traceback(None, 0)
                    .ok()
                    .map(|text| crate::thrown::script_frames(&text.to_string_lossy()))
                    .filter(|frames| !frames.is_empty());
                *self.expired.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                stop.store(true, Ordering::Relaxed);
                LEFT.set(0);
                return Err(mlua::Error::runtime(message));
            }
            _ => {}
        }
        self.look_at_memory(lua)?;
        Ok(VmState::Continue)
    }

    /// Luau does not collect garbage because memory is short, so it is done here, before the limit is met.
    fn look_at_memory(&self, lua: &Lua) -> mlua::Result<()> {
        if lua.used_memory() < self.soft_bytes() {
            return Ok(());
        }
        lua.gc_collect()?;
        self.collected_bytes.store(lua.used_memory(), Ordering::Relaxed);
        self.enter();
        Ok(())
    }

    /// Sets the interrupt of a VM.
    #[expect(
        unsafe_code,
        reason = "mlua calls back at every interrupt, which costs ten times as much as looking at every 500th"
    )]
    pub fn install(watch: &Arc<Self>, lua: &Lua) -> mlua::Result<()> {
        let watch = Arc::clone(watch);
        lua.set_interrupt(move |lua| watch.look(lua));
        // SAFETY: runs on the VM's own thread; the callbacks of a living state are valid, and mlua has just set one.
        unsafe {
            lua.exec_raw::<()>((), |state| {
                let callbacks = ffi::lua_callbacks(state);
                if let Some(interrupt) = (*callbacks).interrupt {
                    let _ = CALLBACK.set(interrupt);
                    (*callbacks).interrupt = Some(sampled);
                }
            })
        }
    }
}

#[expect(unsafe_code, reason = "the signature that Luau calls")]
unsafe extern "C-unwind" fn sampled(state: *mut ffi::lua_State, gc: std::ffi::c_int) {
    if gc >= 0 {
        return;
    }
    let left = LEFT.get();
    // SAFETY: counting does not collect, and is allowed wherever an interrupt is.
    let used_kib = unsafe { ffi::lua_gc(state, ffi::LUA_GCCOUNT, 0) };
    if left > 0 && used_kib < SOFT_KIB.get() {
        LEFT.set(left - 1);
        return;
    }
    LEFT.set(INTERVAL);
    if let Some(callback) = CALLBACK.get() {
        // SAFETY: called with what Luau gave; nothing here needs to be dropped if it throws.
        unsafe { callback(state, gc) }
    }
}
