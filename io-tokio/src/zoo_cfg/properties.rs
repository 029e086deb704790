//! Java's `.properties` syntax: comments, continuation lines, escapes, and the three ways to end a key.
//!
//! As Java does when ZooKeeper loads `zoo.cfg`, bytes are ISO-8859-1: anything else is written as `\uXXXX`.

use std::ops::Range;

/// One `key=value`, with the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Its bytes: whole lines, their ends included.
    pub(crate) span: Range<usize>,
    /// Trimmed, as ZooKeeper does.
    pub(crate) key: String,
    /// Trimmed, as ZooKeeper does.
    pub(crate) value: String,
}

/// A `\u` that is not followed by four hexadecimal digits, which Java refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Where, counted from 1.
    pub(crate) line: usize,
}

/// Reads every entry, in order. A key that is given twice comes twice.
///
/// # Errors
/// The first malformed escape.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let mut entries = Vec::new();
    for Logical { line, span, text } in logical_lines(bytes).0 {
        let (key, value) = split(&text);
        let malformed = Malformed { line };
        entries.push(Entry {
            line,
            span,
            key: unescape(key).ok_or(malformed)?.trim().to_owned(),
            value: unescape(value).ok_or(malformed)?.trim().to_owned(),
        });
    }
    Ok(entries)
}

/// Whether a line that is put behind these, which end with a line's end, continues the last one of them.
pub(crate) fn is_open(bytes: &[u8]) -> bool {
    logical_lines(bytes).1
}

/// Java's white space within a line.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// A line as Java's reader has it: several where the first ones end in a backslash.
#[derive(Debug)]
struct Logical {
    line: usize,
    span: Range<usize>,
    text: String,
}

/// Lines without comments and blank ones, joined where they end in an odd number of backslashes, and whether the last
/// one would go on.
fn logical_lines(bytes: &[u8]) -> (Vec<Logical>, bool) {
    let mut lines = Vec::new();
    let mut pending: Option<Logical> = None;
    let mut open = false;
    for (index, Natural { content, end }) in natural_lines(bytes).enumerate() {
        open = pending.is_some();
        let start = content.start;
        let content: String = bytes[content].iter().copied().map(char::from).collect();
        let content = content.trim_start_matches(is_blank);
        if pending.is_none() && (content.is_empty() || content.starts_with(['#', '!'])) {
            continue;
        }
        let begun = Logical { line: index + 1, span: start..end, text: String::new() };
        let mut logical = pending.take().unwrap_or(begun);
        logical.span.end = end;
        let backslashes = content.len() - content.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            logical.text.push_str(&content[..content.len() - 1]);
            pending = Some(logical);
        } else {
            logical.text.push_str(content);
            lines.push(logical);
        }
    }
    // A continuation at the end of the file continues with nothing.
    lines.extend(pending);
    // One that has nothing but its backslashes is as good as blank.
    lines.retain(|logical| !logical.text.is_empty());
    (lines, open)
}

/// A line as an editor shows it.
#[derive(Debug)]
struct Natural {
    content: Range<usize>,
    /// Behind the line's end.
    end: usize,
}

/// Lines that end with `\r\n`, `\n` or a lone `\r`; behind the last end there is one more, which may be empty.
fn natural_lines(bytes: &[u8]) -> impl Iterator<Item = Natural> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let length = bytes[start..].iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let stop = length.map_or(bytes.len(), |length| start + length);
        let end_length = match &bytes[stop..] {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        next = length.map(|_| stop + end_length);
        Some(Natural { content: start..stop, end: stop + end_length })
    })
}

/// Cuts a line behind its key: at the first `=`, `:` or blank that is not escaped, with blanks around it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && (is_blank(c) || matches!(c, '=' | ':'));
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(index, _)| index);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_blank))
}

/// Resolves escapes; `None` if a `\u` is malformed.
fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let mut buffer = [0; 2];
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut buffer));
            continue;
        }
        match chars.next() {
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let valid = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                units.push(valid.then(|| u16::from_str_radix(&digits, 16).ok())??);
            }
            Some('t') => units.push(u16::from(b'\t')),
            Some('n') => units.push(u16::from(b'\n')),
            Some('r') => units.push(u16::from(b'\r')),
            Some('f') => units.push(0xc),
            Some(other) => units.extend_from_slice(other.encode_utf16(&mut buffer)),
            None => {}
        }
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().map(|e| (e.line, e.key, e.value)).collect()
    }

    fn pair(line: usize, key: &str, value: &str) -> (usize, String, String) {
        (line, key.to_owned(), value.to_owned())
    }

    #[test]
    fn keys_end_at_an_equals_sign_a_colon_or_a_blank() {
        let text = "a=1\nb:2\nc 3\nd = 4\ne : 5\nf\t6\ng==7\nh";
        let expected = [
            pair(1, "a", "1"),
            pair(2, "b", "2"),
            pair(3, "c", "3"),
            pair(4, "d", "4"),
            pair(5, "e", "5"),
            pair(6, "f", "6"),
            pair(7, "g", "=7"),
            pair(8, "h", ""),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        assert_eq!(
            pairs("# no\n  ! nor this\n\n   \na=b # a comment only at the start\n"),
            [pair(5, "a", "b # a comment only at the start")]
        );
    }

    #[test]
    fn lines_continue_behind_an_odd_number_of_backslashes() {
        assert_eq!(
            pairs("a=1,\\\n   2,\\\n#3\nb=x\\\\\nc=1\\"),
            [pair(1, "a", "1,2,#3"), pair(4, "b", "x\\"), pair(5, "c", "1")]
        );
    }

    #[test]
    fn an_entry_knows_its_bytes() {
        let text = b"# c\r\na=1\\\r  2\n\nb=3\\\n";
        let spans: Vec<_> = parse(text).unwrap().into_iter().map(|entry| &text[entry.span]).collect();
        assert_eq!(spans, [&b"a=1\\\r  2\n"[..], b"b=3\\\n"]);
        for (text, open) in
            [("a=1\\\n", true), ("a=1\n", false), ("#\\\n", false), ("a\\\nb\n", false), ("\\\n", true)]
        {
            assert_eq!(is_open(text.as_bytes()), open, "{text:?}");
        }
        assert_eq!(pairs("\\\n\\\n\nc"), [pair(4, "c", "")], "nothing but backslashes is nothing");
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(pairs("a\\=b=c\\:\\ d\\te\\u0041\\q"), [pair(1, "a=b", "c: d\teAq")]);
        assert_eq!(pairs("dataDir=C\\:\\\\zk"), [pair(1, "dataDir", "C:\\zk")]);
        assert_eq!(parse(b"ok=1\nbad=\\u12g4"), Err(Malformed { line: 2 }));
        assert_eq!(parse(b"bad=\\u12"), Err(Malformed { line: 1 }));
    }

    #[test]
    fn all_line_ends_count_once_and_bytes_are_latin_1() {
        assert_eq!(pairs("a=1\r\nb=2\rc=3"), [pair(1, "a", "1"), pair(2, "b", "2"), pair(3, "c", "3")]);
        assert_eq!(parse(b"a=\xe9").unwrap()[0].value, "\u{e9}");
    }
}
