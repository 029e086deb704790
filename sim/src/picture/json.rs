//! Just enough JSON to put a run into a page: objects, arrays, numbers and strings.

use std::fmt::Write;

/// JSON in the making.
#[derive(Debug, Default)]
pub struct Json {
    text: String,
    /// Something stands before the next value that a comma has to separate.
    more: bool,
}

impl Json {
    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }

    /// An object, with what `inside` writes in it.
    pub fn object(&mut self, inside: impl FnOnce(&mut Self)) {
        self.nest('{', '}', inside);
    }

    /// An array, with what `inside` writes in it.
    pub fn array(&mut self, inside: impl FnOnce(&mut Self)) {
        self.nest('[', ']', inside);
    }

    /// The name of the value that is written next.
    pub fn key(&mut self, name: &str) {
        self.string(name);
        self.text.push(':');
        self.more = false;
    }

    /// An array of numbers under a name.
    pub fn numbers(&mut self, name: &str, numbers: impl Iterator<Item = i64>) {
        self.key(name);
        self.array(|json| numbers.for_each(|number| json.number(number)));
    }

    /// An array of strings under a name.
    pub fn strings<'a>(&mut self, name: &str, strings: impl Iterator<Item = &'a str>) {
        self.key(name);
        self.array(|json| strings.for_each(|string| json.string(string)));
    }

    /// A number.
    pub fn number(&mut self, number: i64) {
        self.separate();
        write!(self.text, "{number}").expect("a String takes everything");
    }

    /// Nothing.
    pub fn null(&mut self) {
        self.separate();
        self.text.push_str("null");
    }

    /// A string. `<` is escaped, so that nothing in it can end the script that it stands in.
    pub fn string(&mut self, string: &str) {
        self.separate();
        self.text.push('"');
        for char in string.chars() {
            match char {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '<' | '\u{2028}' | '\u{2029}' => self.escape(char),
                char if char < ' ' => self.escape(char),
                char => self.text.push(char),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, char: char) {
        write!(self.text, "\\u{:04x}", u32::from(char)).expect("a String takes everything");
    }

    fn nest(&mut self, open: char, close: char, inside: impl FnOnce(&mut Self)) {
        self.separate();
        self.text.push(open);
        self.more = false;
        inside(self);
        self.text.push(close);
        self.more = true;
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.more, true) {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_separated_and_strings_escaped() {
        let mut json = Json::default();
        json.object(|json| {
            json.numbers("n", [1, -2].into_iter());
            json.strings("s", ["a\"b\\c\n", "</script>\u{1}"].into_iter());
            json.key("o");
            json.object(|_| {});
            json.key("z");
            json.null();
        });
        let expected = r#"{"n":[1,-2],"s":["a\"b\\c\n","\u003c/script>\u0001"],"o":{},"z":null}"#;
        assert_eq!(json.finish(), expected);
    }
}
