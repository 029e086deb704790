//! What values a key takes, and how one that it does not take is refused.

use std::fmt;

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A whole number in decimal digits, as Java's `Integer.parseInt` reads it.
    Int(Range),
    /// Likewise, or in hexadecimal behind `0x` or `#`, or in octal behind `0`, as `Integer.getInteger` reads it.
    Num(Range),
    /// A number with a fraction.
    Float,
    /// `true` or `false`.
    Flag,
    /// `yes` or `no`, in small letters: ZooKeeper takes any other spelling for the default, so that what looks like one
    /// answer would be the other.
    YesNo,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Anything.
    Text,
}

/// The numbers that are taken, and what they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: i64,
    pub(crate) max: i64,
    /// Such as ` of milliseconds`; may be empty.
    pub(crate) unit: &'static str,
}

/// From `min` up to what a Java `int` holds.
pub(crate) const fn from(min: i64, unit: &'static str) -> Range {
    Range { min, max: i32::MAX as i64, unit }
}

/// Anything that a Java `int` holds.
pub(crate) const fn any(unit: &'static str) -> Range {
    Range { min: i32::MIN as i64, max: i32::MAX as i64, unit }
}

/// Anything that a Java `long` holds.
pub(crate) const fn any_long(unit: &'static str) -> Range {
    Range { min: i64::MIN, max: i64::MAX, unit }
}

/// A port number; 0 is any free port.
pub(crate) const PORT: Range = Range { min: 0, max: 65_535, unit: "" };

/// A value, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Int(i64),
    Flag(bool),
    Text(&'a str),
}

impl Kind {
    /// Reads a value; `None` if the key does not take it.
    pub(crate) fn read(self, text: &str) -> Option<Value<'_>> {
        match self {
            Self::Int(range) => within(range, text.parse().ok()?),
            Self::Num(range) => within(range, decode(text)?),
            Self::Float => text.parse::<f64>().ok().map(|_| Value::Text(text)),
            Self::Flag => {
                let is_true = text.eq_ignore_ascii_case("true");
                (is_true || text.eq_ignore_ascii_case("false")).then_some(Value::Flag(is_true))
            }
            Self::YesNo => matches!(text, "yes" | "no").then_some(Value::Flag(text == "yes")),
            Self::OneOf(words) => {
                words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|word| Value::Text(word))
            }
            Self::Text => Some(Value::Text(text)),
        }
    }
}

fn within(range: Range, number: i64) -> Option<Value<'static>> {
    (range.min..=range.max).contains(&number).then_some(Value::Int(number))
}

/// As Java's `Long.decode`.
fn decode(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = if let Some(hex) = lower.strip_prefix("0x").or_else(|| lower.strip_prefix('#')) {
        (hex, 16)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// What is expected, to be read behind "expected".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(range) | Self::Num(range) => range.fmt(f),
            Self::Float => f.write_str("a number"),
            Self::Flag => f.write_str("true or false"),
            Self::YesNo => f.write_str("yes or no, in small letters"),
            Self::OneOf(words) => {
                let words: Vec<_> =
                    words.iter().map(|word| if word.is_empty() { "nothing" } else { word }).collect();
                f.write_str(&words.join(" or "))
            }
            Self::Text => f.write_str("text"),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max, unit } = *self;
        let open_below = min == i64::from(i32::MIN) || min == i64::MIN;
        let open_above = max == i64::from(i32::MAX) || max == i64::MAX;
        write!(f, "a whole number{unit}")?;
        match (open_below, open_above) {
            (false, true) if max == i64::from(i32::MAX) => write!(f, " from {min} to {max}"),
            (false, true) => write!(f, ", at least {min}"),
            (false, false) => write!(f, " from {min} to {max}"),
            (true, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_java_reads_them() {
        assert_eq!(Kind::Int(any("")).read("010"), Some(Value::Int(10)));
        assert_eq!(Kind::Int(any("")).read("+5"), Some(Value::Int(5)));
        assert_eq!(Kind::Int(any("")).read("0x10"), None);
        assert_eq!(Kind::Int(any("")).read("2147483648"), None);
        assert_eq!(Kind::Num(any("")).read("0xfffff"), Some(Value::Int(0xfffff)));
        assert_eq!(Kind::Num(any("")).read("#ff"), Some(Value::Int(255)));
        assert_eq!(Kind::Num(any("")).read("-0x1"), Some(Value::Int(-1)));
        assert_eq!(Kind::Num(any("")).read("010"), Some(Value::Int(8)));
        assert_eq!(Kind::Num(any("")).read("0"), Some(Value::Int(0)));
        for wrong in ["", "-", "0x", "1_000", "1.5", "--1", "0x-1", "5 "] {
            assert_eq!(Kind::Num(any("")).read(wrong), None, "{wrong:?}");
            assert_eq!(Kind::Int(any("")).read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn words_are_read_in_any_case() {
        assert_eq!(Kind::Flag.read("TRUE"), Some(Value::Flag(true)));
        assert_eq!(Kind::Flag.read("yes"), None);
        assert_eq!(Kind::OneOf(&["a", "b"]).read("B"), Some(Value::Text("b")));
    }

    /// `skipACL=YES` keeps ACLs in force with ZooKeeper, and `forceSync=NO` the syncs.
    #[test]
    fn yes_and_no_are_in_small_letters() {
        assert_eq!(Kind::YesNo.read("yes"), Some(Value::Flag(true)));
        assert_eq!(Kind::YesNo.read("no"), Some(Value::Flag(false)));
        for wrong in ["YES", "No", "true", "", "n"] {
            assert_eq!(Kind::YesNo.read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn expectations_are_sentences() {
        assert_eq!(Kind::Int(PORT).to_string(), "a whole number from 0 to 65535");
        let text = Kind::Int(from(1, " of milliseconds")).to_string();
        assert_eq!(text, "a whole number of milliseconds from 1 to 2147483647");
        assert_eq!(Kind::Num(any("")).to_string(), "a whole number");
    }
}
