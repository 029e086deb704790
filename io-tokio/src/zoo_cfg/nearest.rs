//! The known name that a misspelt one was probably meant to be.

/// The closest of `names` to `wrong`, if any is close enough to be worth a hint.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong_lower = wrong.to_ascii_lowercase();
    // One slip in four letters, or differences in case alone.
    let tolerance = wrong.len() / 4;
    names
        .map(|name| (distance(&wrong_lower, &name.to_ascii_lowercase()), name))
        .filter(|&(distance, _)| distance <= tolerance)
        .min()
        .map(|(_, name)| name)
}

/// Letters to insert, delete or replace to get from one to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["tickTime", "dataDir", "dataLogDir", "clientPort"];
        let hint = |wrong| nearest(wrong, names.into_iter());
        assert_eq!(hint("tickTme"), Some("tickTime"));
        assert_eq!(hint("ticktime"), Some("tickTime"));
        assert_eq!(hint("clientport"), Some("clientPort"));
        assert_eq!(hint("datDir"), Some("dataDir"));
        assert_eq!(hint("heapSize"), None);
        assert_eq!(hint("x"), None);
    }
}
