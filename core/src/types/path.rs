//! Znode paths: `/`-separated names, absolute, never ending in `/` but for the root.

use core::fmt;

/// The root.
pub const ROOT: &str = "/";
/// The node that holds the server's own znodes.
pub const ZOOKEEPER: &str = "/zookeeper";
/// Where quotas are kept.
pub const QUOTA: &str = "/zookeeper/quota";
/// The ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// A character that names must not contain: control characters, surrogates (so everything outside the basic
    /// plane), private use, specials.
    BadCharacter,
    /// A name is empty, as in `/a//b`.
    EmptyName,
    /// There is nothing.
    EmptyPath,
    /// It does not begin with `/`.
    NotAbsolute,
    /// A name is `.` or `..`.
    RelativeName,
    /// It ends with `/`.
    TrailingSlash,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadCharacter => "a path must not contain this character",
            Self::EmptyName => "a path must not contain an empty name",
            Self::EmptyPath => "a path must not be empty",
            Self::NotAbsolute => "a path must begin with /",
            Self::RelativeName => "a path must not contain . or ..",
            Self::TrailingSlash => "a path must not end with /",
        })
    }
}

/// Checks a path by ZooKeeper's rules (`PathUtils.validatePath`).
///
/// # Errors
/// The first rule that `path` breaks.
pub fn validate(path: &str) -> Result<(), PathError> {
    if is_plain(path) {
        return Ok(());
    }
    if path.is_empty() {
        return Err(PathError::EmptyPath);
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path == ROOT {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    for name in path[1..].split('/') {
        match name {
            "" => return Err(PathError::EmptyName),
            "." | ".." => return Err(PathError::RelativeName),
            _ => {}
        }
        if name.chars().any(is_forbidden) {
            return Err(PathError::BadCharacter);
        }
    }
    Ok(())
}

/// Whether the path is valid and of the usual kind, which one pass over the bytes settles: absolute, in printable
/// ASCII, without a name that is empty or begins with a dot.
fn is_plain(path: &str) -> bool {
    let Some((b'/', names)) = path.as_bytes().split_first() else { return false };
    let mut previous = b'/';
    for &byte in names {
        if !(0x20..0x7f).contains(&byte) || (previous == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        previous = byte;
    }
    previous != b'/'
}

/// ZooKeeper looks at UTF-16 units, so a character beyond U+FFFF is a pair of forbidden surrogates.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
        || c > '\u{ffff}'
}

/// The path of the parent, `/` for the children of the root. The root has none.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some(ROOT),
        slash => Some(&path[..slash]),
    }
}

/// The last name of the path; empty for the root.
pub fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |slash| &path[slash + 1..])
}

/// The first name of the path; the root has none.
pub fn namespace(path: &str) -> Option<&str> {
    path.split('/').nth(1).filter(|name| !name.is_empty())
}

/// Whether `path` is `ancestor` or lies below it.
pub fn is_within(path: &str, ancestor: &str) -> bool {
    ancestor == ROOT
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `path.valid`: each rule with a path that breaks it alone, and the neighbours that do not.
    #[test]
    fn path_valid() {
        for path in
            ["/", "/a", "/a/b.c", "/a/...", "/zażółć/日本", "/a b", "/\u{a0}", "/\u{d7ff}", "/\u{f900}"]
        {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
        for (path, why) in [
            ("", PathError::EmptyPath),
            ("a", PathError::NotAbsolute),
            ("/a/", PathError::TrailingSlash),
            ("/a//b", PathError::EmptyName),
            ("/a/./b", PathError::RelativeName),
            ("/a/..", PathError::RelativeName),
            ("/a\0", PathError::BadCharacter),
            ("/\u{1}", PathError::BadCharacter),
            ("/\u{1f}", PathError::BadCharacter),
            ("/\u{7f}", PathError::BadCharacter),
            ("/\u{9f}", PathError::BadCharacter),
            ("/\u{e000}", PathError::BadCharacter),
            ("/\u{f8ff}", PathError::BadCharacter),
            ("/\u{fff0}", PathError::BadCharacter),
            ("/🦓", PathError::BadCharacter),
        ] {
            assert_eq!(validate(path), Err(why), "{path:?}");
        }
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(parent("/"), None);
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(name("/a/b"), "b");
        assert_eq!(name("/"), "");
        assert_eq!((namespace("/a/b"), namespace("/a"), namespace("/")), (Some("a"), Some("a"), None));
        assert!(is_within("/a/b", "/a"));
        assert!(is_within("/a", "/a"));
        assert!(is_within("/a", "/"));
        assert!(!is_within("/ab", "/a"));
    }
}
