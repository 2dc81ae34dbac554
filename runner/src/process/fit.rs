//! An output that is shown in at most 32 KiB.

use super::Truncation;

/// How long an output of `execute` is at most.
pub(crate) const OUTPUT_MAX_BYTES: usize = 32 << 10;

/// What is kept of each end of one that is longer: with the marker between them that is the limit.
const END_BYTES: usize = (OUTPUT_MAX_BYTES - 64) / 2;

const MARKER_BEGINS: &str = "\n\n... [omitted ";
const MARKER_ENDS: &str = " bytes] ...\n\n";

/// Cuts out of the middle what is too much. Where something was left out there already, that counts too.
pub(crate) fn fitted(output: String, truncated: Option<Truncation>) -> (String, Option<Truncation>) {
    if output.len() <= OUTPUT_MAX_BYTES {
        return (output, truncated);
    }
    let head = &output[..output.floor_char_boundary(END_BYTES)];
    let tail = &output[output.ceil_char_boundary(output.len() - END_BYTES)..];
    let middle = &output[head.len()..output.len() - tail.len()];
    let marker = truncated.as_ref().and_then(|_| {
        let (before, rest) = middle.split_once(MARKER_BEGINS)?;
        let (_, after) = rest.split_once(MARKER_ENDS)?;
        Some(middle.len() - before.len() - after.len())
    });
    let (original, omitted) =
        truncated.map_or((output.len() as u64, 0), |before| (before.original_bytes, before.omitted_bytes));
    let omitted_bytes = omitted + (middle.len() - marker.unwrap_or(0)) as u64;
    let shown = format!("{head}{MARKER_BEGINS}{omitted_bytes}{MARKER_ENDS}{tail}");
    let truncated = Truncation {
        original_bytes: original,
        omitted_bytes,
        retained_bytes: shown.len() as u64,
        strategy: "head_tail",
    };
    (shown, Some(truncated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::HeadTail;

    fn fitted_from(written: &[u8]) -> (String, Option<Truncation>) {
        let mut head_tail = HeadTail::default();
        head_tail.push(written);
        let (output, truncated) = head_tail.show();
        fitted(output, truncated)
    }

    #[test]
    fn an_output_is_never_longer_than_its_limit() {
        let lines = |n: usize| "0123456789abcde\n".repeat(n / 16).into_bytes();
        for written in [Vec::new(), lines(1_024), lines(OUTPUT_MAX_BYTES)] {
            let (output, truncated) = fitted_from(&written);
            assert_eq!((output.into_bytes(), truncated), (written, None));
        }
        for written in [
            lines(OUTPUT_MAX_BYTES + 16),
            lines(1 << 20),
            "☃\n".repeat(100_000).into_bytes(),
            // What is no UTF-8 takes three times as much room when it is shown.
            [b"\xff\xfe\n".as_slice(); 9_000].concat(),
            [b"\xff\xfe\n".as_slice(); 90_000].concat(),
        ] {
            let (output, truncated) = fitted_from(&written);
            let truncated = truncated.unwrap();
            assert!(output.len() <= OUTPUT_MAX_BYTES && output.len() > OUTPUT_MAX_BYTES - 100, "{}", output.len());
            assert_eq!(truncated.retained_bytes, output.len() as u64);
            // What was whole until here is counted as it is shown.
            let shown = String::from_utf8_lossy(&written).len() as u64;
            assert!([written.len() as u64, shown].contains(&truncated.original_bytes), "{truncated:?}");
            assert_eq!(output.matches(MARKER_BEGINS).count(), 1);
        }
    }

    #[test]
    fn what_is_left_out_adds_up() {
        let written = "0123456789abcde\n".repeat(1 << 12).into_bytes();
        let (output, truncated) = fitted_from(&written);
        let truncated = truncated.unwrap();
        let marker = format!("{MARKER_BEGINS}{}{MARKER_ENDS}", truncated.omitted_bytes);
        assert!(output.contains(&marker));
        assert_eq!(truncated.omitted_bytes as usize + output.len() - marker.len(), written.len());
    }
}
