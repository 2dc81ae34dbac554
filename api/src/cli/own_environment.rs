//! The server's own environment as others see it. Whatever runs as the same user can read `/proc/PID/environ`, which is what
//! the process began with: the values that are the server's alone are taken out of there once they have been read.

#![expect(unsafe_code, reason = "the bytes that the process began with can be reached through pointers alone")]

use std::ffi::CString;

/// Takes the values of these variables out of the environment that the process began with. They are empty from then on,
/// also for this process.
pub fn forget<'a>(variables: impl IntoIterator<Item = &'a str>) {
    for variable in variables {
        let Ok(name) = CString::new(variable) else { continue };
        // SAFETY: `getenv` gives nothing or the beginning of a text that ends with a zero byte and lives as long as the
        // process, in memory that the process may write. Its bytes are made zero and its place stays, so that who reads the
        // variable meanwhile sees a shorter text. Nothing in this program sets variables, which could move them.
        unsafe {
            let value = libc::getenv(name.as_ptr());
            if !value.is_null() {
                value.write_bytes(0, libc::strlen(value));
            }
        }
    }
}
