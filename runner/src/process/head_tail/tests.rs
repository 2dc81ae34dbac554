//! The cases of the buffer one by one, and all of them by chance.

use super::*;
use proptest::prelude::*;

/// `n` bytes in lines of 64.
fn lines(n: usize) -> Vec<u8> {
    (0..n).map(|at| if at % 64 == 63 { b'\n' } else { b'a' + (at / 64 % 26) as u8 }).collect()
}

fn of(bytes: &[u8], piece: usize) -> HeadTail {
    let mut head_tail = HeadTail::default();
    bytes.chunks(piece.max(1)).for_each(|chunk| head_tail.push(chunk));
    head_tail
}

#[test]
fn what_fits_is_shown_whole() {
    for n in [0, 1, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + TAIL_BYTES] {
        let bytes = lines(n);
        for piece in [1, 1000, n] {
            assert_eq!(of(&bytes, piece).show(), (String::from_utf8(bytes.clone()).unwrap(), None), "{n} by {piece}");
        }
    }
}

#[test]
fn the_middle_is_left_out_of_what_does_not_fit() {
    let bytes = lines(100_000);
    for piece in [1, 7, 16_384, 100_000] {
        let (output, truncated) = of(&bytes, piece).show();
        let (head, rest) = output.split_once("\n\n... [omitted 67232 bytes] ...\n\n").unwrap();
        assert_eq!(head.as_bytes(), &bytes[..HEAD_BYTES], "by {piece}");
        assert_eq!(rest.as_bytes(), &bytes[100_000 - TAIL_BYTES..], "by {piece}");
        let truncated = truncated.unwrap();
        assert_eq!((truncated.original_bytes, truncated.omitted_bytes), (100_000, 67_232));
        assert_eq!(truncated.retained_bytes, output.len() as u64);
    }
}

#[test]
fn long_lines_are_cut_in_head_and_tail() {
    let line = "é".repeat(2_000);
    let (output, truncated) = of(format!("{line}\nshort").as_bytes(), 999).show();
    let cut_line = output.lines().next().unwrap();
    assert!(cut_line.len() <= LINE_BYTES && cut_line.ends_with("é ... [truncated]"), "{cut_line}");
    assert!(output.ends_with("\nshort"));
    assert_eq!(truncated.unwrap().omitted_bytes, 4_000 - (cut_line.len() - LINE_MARKER.len()) as u64);
}

#[test]
fn long_lines_are_cut_behind_the_omission_too_and_counted() {
    let short = lines(HEAD_BYTES);
    let bytes = [&short[..], &b"x".repeat(5_000), b"\n", &b"y".repeat(TAIL_BYTES - 5), b"\nlast"].concat();
    let (output, truncated) = of(&bytes, 4_096).show();
    let gap = bytes.len() - HEAD_BYTES - TAIL_BYTES;
    let shown = LINE_BYTES - LINE_MARKER.len();
    let (_, tail) = output.split_once(&format!("\n\n... [omitted {gap} bytes] ...\n\n")).unwrap();
    assert_eq!(tail, format!("{}{LINE_MARKER}\nlast", "y".repeat(shown)));
    let truncated = truncated.unwrap();
    assert_eq!(truncated.omitted_bytes as usize, gap + TAIL_BYTES - 5 - shown);
    assert_eq!(truncated.original_bytes as usize, bytes.len());
}

#[test]
fn a_line_is_as_long_as_it_was_written() {
    // Each byte is shown in three.
    let (output, truncated) = of(&[0xff; LINE_BYTES], 100).show();
    assert_eq!((output.len(), truncated), (3 * LINE_BYTES, None));
    let (_, truncated) = of(&[0xff; LINE_BYTES + 1], 100).show();
    assert_eq!(truncated.unwrap().omitted_bytes as usize, 1 + LINE_MARKER.len());
}

#[test]
fn ten_writers_at_once_lose_nothing() {
    let shared = std::sync::Mutex::new(HeadTail::default());
    std::thread::scope(|scope| {
        for writer in 0..10 {
            let shared = &shared;
            scope.spawn(move || {
                for n in 0..1_000 {
                    shared.lock().unwrap().push(format!("writer {writer} line {n}\n").as_bytes());
                }
            });
        }
    });
    let written: usize = (0..1_000).map(|n| 10 * format!("writer 0 line {n}\n").len()).sum();
    let (output, truncated) = shared.lock().unwrap().show();
    let truncated = truncated.unwrap();
    assert_eq!(truncated.original_bytes as usize, written);
    assert_eq!(truncated.omitted_bytes as usize, written - HEAD_BYTES - TAIL_BYTES);
    let whole = output.lines().filter(|line| line.starts_with("writer ") && line.contains(" line ")).count();
    assert!(whole >= output.lines().count() - 5, "but for the cuts, lines are whole");
}

#[test]
fn where_the_beginning_ends_early_an_end_that_was_kept_apart_gives_the_same() {
    let bytes = lines(60_000);
    for recorded in [0, 100, 16_000, HEAD_BYTES, 20_000, 40_000] {
        for written in [recorded + 1, recorded + 5_000, 40_001, 60_000] {
            if written > bytes.len() || written <= recorded {
                continue;
            }
            let mut live = of(&bytes[..recorded], 777);
            let mut from_log = live.clone();
            for head_tail in [&mut live, &mut from_log] {
                head_tail.close_head();
            }
            bytes[recorded..written].chunks(777).for_each(|chunk| live.push(chunk));
            from_log.end_with(live.total(), live.last().as_bytes());
            assert_eq!(from_log.show(), live.show(), "{recorded} of {written}");
        }
    }
}

/// Texts of all kinds of lines, and bytes that are none.
fn outputs() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-z é€😀]{0,80}\n",
        (1_u8..255, 1_usize..5_000).prop_map(|(byte, n)| String::from_utf8_lossy(&[byte]).repeat(n)),
    ];
    let bytes = prop::collection::vec(any::<u8>(), 0..3_000);
    let piece = prop_oneof![4 => piece.prop_map(String::into_bytes), 1 => bytes];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn it_does_not_matter_in_which_pieces_it_comes(bytes in outputs(), cuts in prop::collection::vec(1_usize..9_000, 1..20)) {
        let whole = of(&bytes, bytes.len());
        let mut pieced = HeadTail::default();
        let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            pieced.push(piece);
            rest = after;
        }
        let (output, truncated) = pieced.show();
        prop_assert_eq!((output.clone(), truncated.clone()), whole.show());
        prop_assert_eq!(pieced.last(), whole.last());
        prop_assert!(pieced.last().len() <= TAIL_BYTES);
        match truncated {
            None => prop_assert_eq!(output.as_str(), String::from_utf8_lossy(&bytes)),
            Some(truncated) => {
                prop_assert_eq!(truncated.original_bytes, bytes.len() as u64);
                prop_assert_eq!(truncated.retained_bytes, output.len() as u64);
                prop_assert!(truncated.omitted_bytes > 0 && truncated.omitted_bytes <= truncated.original_bytes);
            }
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert!(text.contains('\u{fffd}') || !output.contains('\u{fffd}'), "a character was split");
        }
    }
}

#[test]
fn no_cut_splits_a_character() {
    let text = "€".repeat(20_000);
    for shift in 0..3 {
        let text = format!("{}{text}", "x".repeat(shift));
        let text = text.replace("€€€€€€€€€€", "€€€€€€€€€\n");
        let (output, _) = of(text.as_bytes(), 333).show();
        assert!(!output.contains('\u{fffd}'), "shifted by {shift}");
    }
}

#[test]
fn an_end_that_was_kept_apart_gives_the_same() {
    let bytes = lines(100_000);
    let whole = of(&bytes, 1000);
    let mut recorded = of(&bytes[..40_000], 1000);
    recorded.end_with(whole.total(), whole.last().as_bytes());
    assert_eq!(recorded.show(), whole.show());
}
