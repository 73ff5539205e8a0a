//! From the bytes of a file to text: the size, the byte order mark and the encoding.

use super::fault::{Fault, Path, Position};
use super::limits::MAX_BYTES;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn decode(bytes: &[u8]) -> Result<&str, Fault> {
    let refuse = |at, text| Err(Fault::new(at, &Path::Top, text));
    if bytes.len() > MAX_BYTES {
        return Err(too_long(bytes.len() as u64));
    }
    // The first character of a JSON object is one byte in UTF-8; the wide encodings pad it.
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] = bytes {
        let text = "expected UTF-8, found UTF-16 or UTF-32 (save the file as UTF-8)";
        return refuse(Position::START, text.to_owned());
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let (sound, foreign) = bytes.split_at(error.valid_up_to());
            let mut at = Position::START;
            String::from_utf8_lossy(sound)
                .chars()
                .for_each(|passed| at.advance(passed));
            let byte = foreign.first().copied().unwrap_or_default();
            refuse(
                at,
                format!("expected UTF-8, found byte {byte:#04x} (save the file as UTF-8)"),
            )
        }
    }
}

pub(super) fn too_long(length: u64) -> Fault {
    let text = format!("expected at most {MAX_BYTES} bytes, found {length}");
    Fault::new(Position::START, &Path::Top, text)
}
