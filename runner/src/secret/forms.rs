//! The forms in which a secret's value shows up in outputs: as it is, encoded in base64 at any alignment, in URL
//! encoding, in hexadecimal, and as JSON writes it.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Shorter pieces are too likely to stand in an output by chance.
const PIECE_MIN_BYTES: usize = 8;

/// What URL encoding leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// All forms of `value`, with repetitions.
pub(super) fn forms_of(value: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    add_forms(value, &mut forms);
    let trimmed = value.trim();
    if trimmed.len() != value.len() && trimmed.len() >= PIECE_MIN_BYTES {
        add_forms(trimmed, &mut forms);
    }
    // A tool that prints a key line by line would otherwise break it up.
    if trimmed.contains('\n') {
        forms.extend(
            trimmed.lines().map(str::trim).filter(|line| line.len() >= PIECE_MIN_BYTES).map(|line| line.into()),
        );
    }
    forms
}

fn add_forms(value: &str, forms: &mut Vec<Vec<u8>>) {
    forms.push(value.into());
    forms.extend(base64_forms(value.as_bytes()));
    for set in [UNRESERVED, NON_ALPHANUMERIC] {
        let encoded = utf8_percent_encode(value, set).to_string();
        forms.push(encoded.replace("%20", "+").into_bytes());
        forms.push(lower_case_escapes(&encoded).into_bytes());
        forms.push(encoded.into_bytes());
    }
    let json = serde_json::to_string(value).unwrap_or_default();
    if json.len() > 2 {
        forms.push(json[1..json.len() - 1].into());
    }
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex.to_uppercase().into_bytes());
    forms.push(hex.into_bytes());
}

/// What base64 of any text that holds `value` must hold: the characters that depend on `value` alone, for each of the
/// three places where it can begin within a group.
fn base64_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for offset in 0..3 {
        let padded = [&[0; 2][..offset], value].concat();
        let begin = (offset * 8).div_ceil(6);
        let end = padded.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            if end >= begin + 4 {
                forms.push(encoded[begin..end].into());
                // The last character too, as it is where the text ends with the value.
                forms.push(encoded[begin..].into());
            }
        }
    }
    forms
}

fn lower_case_escapes(encoded: &str) -> String {
    let mut after_percent = 0;
    encoded
        .chars()
        .map(|c| match (c, after_percent) {
            ('%', _) => {
                after_percent = 2;
                c
            }
            (_, 1..) => {
                after_percent -= 1;
                c.to_ascii_lowercase()
            }
            _ => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_any_text_around_a_value_holds_one_of_its_forms() {
        let value = "s3cret+/value?&";
        let forms = forms_of(value);
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = format!("{before}{value}{after}");
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let found = forms.iter().any(|form| memchr_find(encoded.as_bytes(), form));
                    assert!(found, "{text} as {encoded}");
                }
            }
        }
    }

    #[test]
    fn a_key_is_found_line_by_line_and_url_encoded() {
        let forms = forms_of("-----BEGIN-----\nabc def/ghi\n-----END-----\n");
        for form in ["abc def/ghi", "%0A-----END", "abc+def%2Fghi%0A", "%2fghi", "\\nabc def/ghi\\n"] {
            assert!(forms.iter().any(|known| memchr_find(known, form.as_bytes())), "{form}");
        }
    }

    fn memchr_find(text: &[u8], piece: &[u8]) -> bool {
        text.windows(piece.len()).any(|window| window == piece)
    }
}
