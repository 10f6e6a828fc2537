//! URIs, and when two are the same.

use sip_core::uri::Uri;

/// A URI: what is parsed is written as it was, and equals itself.
pub fn uri(data: &[u8]) {
    let (left, right) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, data),
    };
    let (Ok(left_uri), Ok(right_uri)) = (Uri::parse(left), Uri::parse(right)) else { return };
    assert!(left_uri.equivalent(&left_uri) && right_uri.equivalent(&right_uri), "reflexive");
    assert_eq!(left_uri.equivalent(&right_uri), right_uri.equivalent(&left_uri), "symmetric");
    let text = left_uri.to_string();
    assert_eq!(text.to_ascii_lowercase().into_bytes(), left.to_ascii_lowercase(), "written as it was");
    assert!(Uri::parse(text.as_bytes()).is_ok_and(|again| again.equivalent(&left_uri)));
}
