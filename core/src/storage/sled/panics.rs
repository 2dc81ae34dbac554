//! Panics of sled's: they become errors, so each is told as one, and not with a trace of its calls.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
    thread,
};

/// What sled's own threads are called.
const THREADS: &str = "sled-";

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// From now on, panics of sled's are a line in the server's own log. Those of others are told as before.
pub(super) fn tell_in_a_line() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let of_sled = thread::current().name().is_some_and(|name| name.starts_with(THREADS));
            if CAUGHT.get() || of_sled {
                tracing::error!(what = text(info.payload()), "the store gave up");
            } else {
                before(info);
            }
        }));
    });
}

/// What `act` gives, or what it says as it panics.
pub(super) fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(act));
    CAUGHT.set(before);
    done.map_err(|panic| text(&*panic).to_owned())
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the store panicked")
}
