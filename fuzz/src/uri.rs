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
    let again = Uri::parse(text.as_bytes()).expect("what is written parses");
    // A port may have been written with zeros before it.
    assert!(again == left_uri && again.equivalent(&left_uri), "{text} is read as it was");
}
