//! A script as a guest: it runs on a thread that others wait for, as long as it is quick. When it has computed for a
//! while, its host is told, and can find another thread for the others.

use super::clock::thread_cpu_ns;
use std::{cell::RefCell, time::Duration};

struct Guest {
    patience_ns: u64,
    /// The thread's CPU time at which the host is told next. 0: counting begins at the next look.
    until_ns: u64,
    tell: Box<dyn FnMut()>,
}

thread_local! {
    static GUEST: RefCell<Option<Guest>> = const { RefCell::new(None) };
}

/// Does `work`, in which a script runs on this thread. When it has computed for about `patience`, `tell` is called from
/// within it; and again when it goes on, after twice the time.
pub fn as_guest<R>(patience: Duration, tell: impl FnMut() + 'static, work: impl FnOnce() -> R) -> R {
    /// Also where `work` panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            GUEST.set(None);
        }
    }
    let patience_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
    GUEST.set(Some(Guest { patience_ns, until_ns: 0, tell: Box::new(tell) }));
    let _leave = Leave;
    work()
}

/// Looks at the time, `now_ns` of this thread's CPU time.
pub(super) fn look(now_ns: u64) {
    GUEST.with_borrow_mut(|guest| {
        let Some(guest) = guest else { return };
        if guest.until_ns == 0 {
            guest.until_ns = now_ns.saturating_add(guest.patience_ns);
        } else if now_ns >= guest.until_ns {
            (guest.tell)();
            guest.patience_ns = guest.patience_ns.saturating_mul(2);
            guest.until_ns = thread_cpu_ns().saturating_add(guest.patience_ns);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc};

    #[test]
    fn the_host_is_told_while_work_goes_on_and_not_behind_it() {
        let told = Rc::new(Cell::new(0));
        let count = told.clone();
        let times = as_guest(
            Duration::from_nanos(10),
            move || count.set(count.get() + 1),
            || {
                look(100);
                look(105);
                let before = told.get();
                look(110);
                (before, told.get())
            },
        );
        assert_eq!(times, (0, 1));
        look(u64::MAX);
        assert_eq!(told.get(), 1);
    }
}
