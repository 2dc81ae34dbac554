//! A server at rest gives back what it was started with.

use crate::heap;
use moonlog_core::log::Log;
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

/// How often it is looked, within the time that has to pass, whether anything has happened.
const LOOKS: u32 = 4;

/// Gives back code that was in use and is not any more, and what is free of the heap, each time that nothing has been appended for
/// as long as `quiet`.
///
/// The code is half of what a fresh server holds: a start goes through code that nothing needs again, and the system maps 16
/// pages around each that is used.
pub(crate) async fn rest(log: Log, quiet: Duration, mut stop: watch::Receiver<bool>) {
    let mut head = log.watch_head();
    let resting = async {
        loop {
            // Looked at now and then, so that appends cost nothing.
            head.borrow_and_update();
            let mut unchanged = 0;
            while unchanged < LOOKS {
                sleep(quiet / LOOKS).await;
                match head.has_changed() {
                    Ok(true) => {
                        head.borrow_and_update();
                        unchanged = 0;
                    }
                    Ok(false) => unchanged += 1,
                    Err(_) => return,
                }
            }
            let given_back = tokio::task::spawn_blocking(|| {
                heap::give_back();
                give_code_back();
            });
            let _ = given_back.await;
            if head.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = resting => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Takes this program's code out of this process. What is called next is mapped again, from the system's cache of the file.
#[cfg(target_os = "linux")]
fn give_code_back() {
    let (Ok(maps), Ok(program)) = (std::fs::read_to_string("/proc/self/maps"), std::fs::read_link("/proc/self/exe"))
    else {
        return;
    };
    for (start, length) in code_of(&maps, &program.to_string_lossy()) {
        #[expect(
            unsafe_code,
            reason = "a call that takes a range of addresses which hold code of this program's file"
        )]
        // SAFETY: the range is a private mapping of a file that no one can write to while it runs, and was never written to
        // itself: position-independent code has no relocations. So what is read from it afterwards is what was there before.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED)
        };
    }
}

#[cfg(not(target_os = "linux"))]
fn give_code_back() {}

/// Where the maps of a process say that the code of `program` is: addresses and lengths. Only what cannot be written counts.
#[cfg(target_os = "linux")]
fn code_of<'a>(maps: &'a str, program: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    maps.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        if rights != "r-xp" || !line.ends_with(program) {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some((start, end.checked_sub(start)?))
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_this_program_counts() {
        let maps = "\
            5000-7000 r--p 00000000 fe:00 1  /bin/moonlog\n\
            7000-a000 r-xp 00002000 fe:00 1  /bin/moonlog\n\
            a000-b000 rwxp 00005000 fe:00 1  /bin/moonlog\n\
            f000-ff00 r-xp 00000000 fe:00 2  /lib/libc.so.6\n\
            fff0-ffff r-xp 00000000 00:00 0  [vdso]\n";
        assert_eq!(code_of(maps, "/bin/moonlog").collect::<Vec<_>>(), [(0x7000, 0x3000)]);
    }

    #[test]
    fn code_that_was_given_back_is_there_when_it_is_called() {
        let (maps, program) = (std::fs::read_to_string("/proc/self/maps"), std::fs::read_link("/proc/self/exe"));
        let (maps, program) = (maps.unwrap(), program.unwrap());
        assert_ne!(code_of(&maps, &program.to_string_lossy()).count(), 0, "{maps}");
        give_code_back();
        give_code_back();
    }
}
