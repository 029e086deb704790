//! Java's property files, as far as a text can be one.
//!
//! A line is a key, then blanks with at most one `=` or `:` among them, then a value. Blank lines and those that begin
//! with `#` or `!` are none. A backslash takes away the next character's meaning, or joins the next line. Of lines with
//! the same key the last one counts.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::iter::Peekable;
use core::str::Chars;

/// A key, its value, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of the line it begins on, from 1.
    pub line: usize,
    pub key: String,
    pub value: String,
}

/// The entries of a text, in order of their lines. Blanks at the end of a value are dropped.
pub(super) fn entries(text: &str) -> Vec<Entry> {
    let mut by_key = BTreeMap::new();
    let mut scanner = Scanner { chars: text.chars().peekable(), line: 1 };
    while let Some(entry) = scanner.entry() {
        by_key.insert(entry.key.clone(), entry);
    }
    let mut entries: Vec<Entry> = by_key.into_values().collect();
    entries.sort_by_key(|entry| entry.line);
    entries
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

const fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// Reads a text character by character. A carriage return before a line feed belongs to it.
struct Scanner<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Scanner<'_> {
    fn entry(&mut self) -> Option<Entry> {
        loop {
            self.skip(is_blank);
            match *self.chars.peek()? {
                '\n' | '\r' => self.end_line(),
                '#' | '!' => {
                    self.skip(|c| !is_line_end(c));
                    self.end_line();
                }
                _ => break,
            }
        }
        let line = self.line;
        let key = self.word(|c| is_blank(c) || c == '=' || c == ':');
        self.skip(is_blank);
        if self.chars.next_if(|&c| c == '=' || c == ':').is_some() {
            self.skip(is_blank);
        }
        let mut value = self.word(|_| false);
        value.truncate(value.trim_end().len());
        self.end_line();
        Some(Entry { line, key, value })
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        while self.chars.next_if(|&c| what(c)).is_some() {}
    }

    fn end_line(&mut self) {
        let Some(end) = self.chars.next_if(|&c| is_line_end(c)) else { return };
        if end == '\r' {
            self.chars.next_if_eq(&'\n');
        }
        self.line += 1;
    }

    /// Everything up to the line's end or what ends it, without backslashes.
    fn word(&mut self, ends: impl Fn(char) -> bool) -> String {
        let mut word = String::new();
        while let Some(c) = self.chars.next_if(|&c| !is_line_end(c) && !ends(c)) {
            if c != '\\' {
                word.push(c);
                continue;
            }
            match self.chars.peek() {
                None => {}
                Some(&c) if is_line_end(c) => {
                    self.end_line();
                    self.skip(is_blank);
                }
                Some(_) => word.extend(self.escaped()),
            }
        }
        word
    }

    fn escaped(&mut self) -> Option<char> {
        match self.chars.next()? {
            't' => Some('\t'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            'f' => Some('\x0c'),
            'u' => {
                let mut code = 0;
                for _ in 0..4 {
                    let digit = self.chars.next_if(char::is_ascii_hexdigit)?.to_digit(16)?;
                    code = code * 16 + digit;
                }
                Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String)> {
        entries(text).into_iter().map(|Entry { line, key, value }| (line, key, value)).collect()
    }

    #[test]
    fn as_java_reads_them() {
        type Found = &'static [(usize, &'static str, &'static str)];
        let table: &[(&str, Found)] = &[
            ("", &[]),
            ("\n \t\r\n# a=1\n!b=2\n", &[]),
            ("a=1", &[(1, "a", "1")]),
            ("a = 1\r\n  b : 2 \rc 3\nd", &[(1, "a", "1"), (2, "b", "2"), (3, "c", "3"), (4, "d", "")]),
            ("a==1\nb:=2", &[(1, "a", "=1"), (2, "b", "=2")]),
            ("a=1\na=2\nb=3", &[(2, "a", "2"), (3, "b", "3")]),
            ("a\\=b=1\\:2\\\\3", &[(1, "a=b", "1:2\\3")]),
            ("a=1\\\n   2\\\r\n3\nb=4", &[(1, "a", "123"), (4, "b", "4")]),
            ("# no \\\na=1\\", &[(2, "a", "1")]),
            ("a=\\u0041\\tb", &[(1, "a", "A\tb")]),
            ("=1", &[(1, "", "1")]),
        ];
        for (text, expected) in table {
            let found = read(text);
            let found: Vec<_> = found.iter().map(|(line, key, value)| (*line, &**key, &**value)).collect();
            assert_eq!(&found[..], *expected, "{text:?}");
        }
    }
}
