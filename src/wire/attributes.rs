//! Connection attributes: names and values by which a client tells what it is.

use super::read::Cursor;
use super::write;

/// The value of an attribute in a block as sent, without its length. `None` too where the block is no such block.
pub fn attribute<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = Cursor::new(block);
    while !rest.is_empty() {
        let (key, value) = (rest.lenenc_bytes().ok()?, rest.lenenc_bytes().ok()?);
        if key == name {
            return Some(value);
        }
    }
    None
}

pub fn push_attribute(block: &mut Vec<u8>, name: &str, value: &str) {
    write::lenenc_bytes(block, name.as_bytes());
    write::lenenc_bytes(block, value.as_bytes());
}

#[test]
fn attributes_are_found() {
    let mut block = Vec::new();
    push_attribute(&mut block, "_pid", "42");
    push_attribute(&mut block, "program_name", "billing");
    push_attribute(&mut block, "empty", "");
    assert_eq!(attribute(&block, b"program_name"), Some(&b"billing"[..]));
    assert_eq!(attribute(&block, b"empty"), Some(&b""[..]));
    assert_eq!(attribute(&block, b"_os"), None);
    assert_eq!(attribute(&block[..block.len() - 10], b"_os"), None);
    assert_eq!(attribute(b"\xff\x01", b"_os"), None);
}
