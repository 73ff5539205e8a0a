//! Escaping of foreign text. (Stand-in until the real one is merged.)
use std::borrow::Cow;
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    Cow::Owned(text.escape_debug().to_string())
}
pub(crate) fn clip(text: &str, max: usize) -> Cow<'_, str> {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Borrowed(&text[..end])
}
