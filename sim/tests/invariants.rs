//! The page `docs/invariants.md` is held to what is there: every id that checkers, scenarios and mutants use is defined,
//! every one that is defined is used or its row says why nothing raises it, and the page and the table of
//! [`sim::check::Checker`] name the same checkers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What ids begin with.
const LETTERS: &str = "PDCSWTL";
/// What the last cell of a row begins with that no checker is named in.
const NOTHING: &str = "nothing: ";
/// Where the table of checkers is.
const TABLE: &str = "sim/src/check/mod.rs";
/// This file, whose ids are made up.
const THIS: &str = "sim/tests/invariants.rs";

/// A text, and where it is from.
type Text<'a> = (&'a str, &'a str);

/// What holds the page to be true.
struct Evidence<'a> {
    /// The source of the table of checkers.
    table: &'a str,
    /// What may use ids.
    texts: &'a [Text<'a>],
    /// Whether there is a file or a folder.
    is_there: &'a dyn Fn(&str) -> bool,
}

/// The cells of a table's line, or `None` if it is none.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The parts of a cell that are set in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The id that a word is, without the letter of a part of it.
fn id(word: &str) -> Option<String> {
    let (letter, rest) = word.split_at_checked(1)?;
    let number = rest.strip_suffix(|part: char| part.is_ascii_lowercase()).unwrap_or(rest);
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    (LETTERS.contains(letter) && is_number).then(|| format!("{letter}{number}"))
}

/// The ids in a text: as words, and as the beginnings of the names of functions.
fn ids(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let names = text.split("fn ").skip(1).filter_map(|name| name.split_once('_'));
    let named = names.filter_map(|(begin, _)| {
        let (letter, rest) = begin.split_at_checked(1)?;
        id(&format!("{}{rest}", letter.to_uppercase()))
    });
    words.filter_map(id).chain(named).collect()
}

/// What mutants say of themselves: the head of a patch.
fn head(patch: &str) -> &str {
    patch.split("\n--- ").next().unwrap_or(patch)
}

/// The rows of the table of checkers.
fn rows_of_checkers(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = table.lines().filter_map(|line| cells(line.trim().strip_prefix("/// ")?));
    rows.filter(|cells| cells.len() == 4 && cells[0].starts_with('`'))
}

/// Which checkers raise each id, as the table of checkers has it; and all checkers.
fn raised(table: &str) -> (BTreeSet<(String, String)>, BTreeSet<String>) {
    let (mut raised, mut checkers) = (BTreeSet::new(), BTreeSet::new());
    for cells in rows_of_checkers(table) {
        let checker = cells[0].trim_matches('`').to_lowercase();
        raised.extend(ids(cells[3]).into_iter().map(|id| (id, checker.clone())));
        checkers.insert(checker);
    }
    (raised, checkers)
}

/// Everything that is wrong with the page.
fn problems(page: &str, evidence: &Evidence<'_>) -> Vec<String> {
    let mut used: BTreeMap<String, &str> = BTreeMap::new();
    for &(file, text) in evidence.texts {
        for id in ids(text) {
            used.entry(id).or_insert(file);
        }
    }
    let (raised, checkers) = raised(evidence.table);
    let (mut problems, mut defined, mut named) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, line) in page.lines().enumerate() {
        let Some(cells) = cells(line).filter(|cells| id(cells[0]).is_some()) else { continue };
        let mut wrong = |what: String| problems.push(format!("line {}: {}: {what}", index + 1, cells[0]));
        let [id, what, by] = cells[..] else {
            wrong(format!("{} cells instead of 3", cells.len()));
            continue;
        };
        if !defined.insert(id.to_owned()) {
            wrong("it is defined before".into());
        }
        if what.is_empty() {
            wrong("nothing is said of it".into());
        }
        if let Some(why) = by.strip_prefix(NOTHING) {
            let missing = quoted(why).filter(|path| path.contains('/') && !(evidence.is_there)(path));
            missing.for_each(|path| wrong(format!("there is no {path}")));
            continue;
        }
        if quoted(by).count() == 0 {
            wrong("no checker raises it, and it does not say why".into());
        }
        if !used.contains_key(id) {
            wrong("it is raised, and no checker, scenario or mutant speaks of it".into());
        }
        for checker in quoted(by) {
            if !checkers.contains(checker) {
                wrong(format!("there is no checker {checker}"));
            }
            named.insert((id.to_owned(), checker.to_owned()));
        }
    }
    let undefined = used.iter().filter(|(id, _)| !defined.contains(*id));
    problems.extend(undefined.map(|(id, file)| format!("{file}: {id} is not defined")));
    let differing = named.symmetric_difference(&raised);
    problems.extend(differing.map(|pair| {
        let (here, there) = if named.contains(pair) { ("page", "table") } else { ("table", "page") };
        format!("{} is raised by {}, says the {here}, and the {there} does not", pair.0, pair.1)
    }));
    problems
}

/// All files below a folder that end so, with their paths from the root of the repository.
fn files(folder: &str, end: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                let text = std::fs::read_to_string(&path).expect("it is text");
                let name = path.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
                found.push((name, text));
            }
        }
    }
    found
}

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Goal: who meets an id finds what it means, and who reads the page finds who sees to it. Method: look every id up.
#[test]
fn the_page_is_true() {
    let table = text(TABLE);
    let mut texts = Vec::new();
    for folder in ["sim/src", "sim/tests"] {
        texts.extend(files(folder, ".rs").into_iter().filter(|(file, _)| file != THIS && file != TABLE));
    }
    let patches = files("sim/mutants", ".patch");
    assert!(texts.len() > 80 && patches.len() > 80, "{} and {} files", texts.len(), patches.len());
    texts.extend(patches.into_iter().map(|(file, patch)| (file, head(&patch).to_owned())));
    texts.push(("sim/mutants/README.md".into(), text("sim/mutants/README.md")));
    let texts: Vec<Text<'_>> = texts.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let evidence = Evidence { table: &table, texts: &texts, is_there: &|path| root.join(path).exists() };
    let page = text("docs/invariants.md");
    let problems = problems(&page, &evidence);
    assert!(problems.is_empty(), "docs/invariants.md:\n{}", problems.join("\n"));
    let rows = page.lines().filter_map(cells).filter(|cells| id(cells[0]).is_some()).count();
    assert!(rows > 60, "{rows} rows were found: are the tables still read?");
    let (_, checkers) = raised(&table);
    for &checker in sim::check::Checker::ALL {
        assert!(checkers.contains(&checker.to_string()), "the table of checkers lacks {checker}");
    }
    assert_eq!(checkers.len(), sim::check::Checker::ALL.len());
    for file in rows_of_checkers(&table).flat_map(|cells| quoted(cells[1])) {
        assert!(root.join("sim/src").join(file).exists(), "the table of checkers names {file}");
    }
}

/// Every rule of the check finds the row that breaks it.
#[test]
fn the_check_finds_what_is_wrong() {
    let table = "/// | checker | in | what | invariants |\n/// | `Log` | `a.rs` | it | D1, P20 |\n/// | `Own` | `b.rs` | it | none |";
    let texts =
        [("a.rs", "//! Durable (D1).\nfn p20_a_test() {}"), ("b.rs", "T1000, D1x, XP3 and fn s3() are none")];
    let evidence = Evidence { table, texts: &texts, is_there: &|path| path == "core/tests" };
    let rest = "| P20 | So. | `log` |\n";
    let found = |rows: &str| problems(&format!("{rest}{rows}"), &evidence).join("\n");
    assert_eq!(found("| D1 | So. | `log` |\n| D2 | So. | nothing: `core/tests` does. |"), "");
    for (rows, problem) in [
        ("", "a.rs: D1 is not defined\nD1 is raised by log, says the table, and the page does not"),
        ("| D1 | So. | `log` |\n| D1 | So. | `log` |", "line 3: D1: it is defined before"),
        ("| D1 | | `log` |", "line 2: D1: nothing is said of it"),
        (
            "| D1 | `log` |",
            "line 2: D1: 2 cells instead of 3\na.rs: D1 is not defined\nD1 is raised by log, says the table, and the page does not",
        ),
        (
            "| D1 | So. | `log` |\n| D2 | So. | |",
            "line 3: D2: no checker raises it, and it does not say why\nline 3: D2: it is raised, and no checker, scenario or mutant speaks of it",
        ),
        (
            "| D1 | So. | `log` |\n| D2 | So. | nothing: `core/nowhere`. |",
            "line 3: D2: there is no core/nowhere",
        ),
        ("| D1 | So. | `log`, `own` |", "D1 is raised by own, says the page, and the table does not"),
        (
            "| D1 | So. | `log`, `hog` |",
            "line 2: D1: there is no checker hog\nD1 is raised by hog, says the page, and the table does not",
        ),
    ] {
        assert_eq!(found(rows), problem, "{rows}");
    }
}
