//! The page `docs/compatibility.md` is held to what is there: its tests exist, its states are known, and it claims
//! neither more nor less of the configuration than the reference of keys does.

use std::collections::BTreeMap;
use std::path::Path;

const STATES: [&str; 3] = ["works", "differs", "not yet"];
const HEADER: [&str; 4] = ["id", "state", "note", "shown by"];

/// One line of one of the page's tables.
#[derive(Clone, Debug)]
struct Row {
    line: usize,
    ids: Vec<String>,
    state: String,
    note: String,
    tests: Vec<String>,
}

/// What the repository holds, as far as the page is concerned.
trait Repository {
    /// A file's text, if there is such a file.
    fn text(&self, path: &str) -> Option<String>;
}

struct OnDisk;

impl Repository for OnDisk {
    fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).ok()
    }
}

/// The cells of a table's line, or `None` if it is none.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The parts of a cell that are set in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(String::from).collect()
}

/// The page's rows, and what is wrong with its tables.
fn rows(page: &str) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (index, line) in page.lines().enumerate() {
        let line_number = index + 1;
        let Some(cells) = cells(line) else { continue };
        if cells == HEADER || cells.iter().all(|cell| *cell == "---") {
            continue;
        }
        let [ids, state, note, tests] = cells[..] else {
            problems.push(format!("line {line_number}: {} cells instead of {}", cells.len(), HEADER.len()));
            continue;
        };
        let row = Row {
            line: line_number,
            ids: quoted(ids),
            state: state.into(),
            note: note.into(),
            tests: quoted(tests),
        };
        rows.push(row);
    }
    (rows, problems)
}

/// Whether `text` has a test of this name: a function with an attribute `test` above it.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let declares = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    let is_attribute_or_comment = |line: &str| line.starts_with('#') || line.starts_with("//");
    let is_test = |line: &str| line == "#[test]" || line.starts_with("#[tokio::test");
    (0..lines.len()).any(|at| {
        let above = lines[..at].iter().rev().take_while(|line| is_attribute_or_comment(line));
        declares(lines[at]) && above.into_iter().any(|line| is_test(line))
    })
}

/// What is wrong with a reference to a test, if anything.
fn wrong_test(repository: &impl Repository, test: &str) -> Option<String> {
    let Some((file, name)) = test.split_once("::") else {
        // A suite: a folder with a program that runs it.
        let runs = repository.text(&format!("{test}/run.py")).is_some();
        return (!runs).then(|| format!("there is no suite {test}"));
    };
    let Some(text) = repository.text(file) else { return Some(format!("there is no file {file}")) };
    let name = name.rsplit("::").next().unwrap_or(name);
    (!has_test(&text, name)).then(|| format!("{file} has no test {name}"))
}

/// What `docs/configuration.md` says of each key in its column "here".
fn configuration(reference: &str) -> BTreeMap<String, String> {
    let keys = reference.lines().filter_map(cells).filter(|cells| cells.len() == 6);
    keys.filter_map(|cells| Some((quoted(cells[0]).pop()?, cells[4].to_owned()))).collect()
}

/// The keys that an id names, alone or as a family (`cfg.name.*`), and of which the reference says that they work.
fn keys_that_work<'a>(keys: &'a BTreeMap<String, String>, id: &'a str) -> impl Iterator<Item = &'a str> {
    let name = id.strip_prefix("cfg.");
    let family = name.and_then(|name| name.strip_suffix('*'));
    let is_meant = move |key: &str| name == Some(key) || family.is_some_and(|family| key.starts_with(family));
    let working = keys.iter().filter(|(_, here)| *here == "works").map(|(key, _)| key.as_str());
    working.filter(move |key| is_meant(key))
}

/// Everything that is wrong with the page.
fn problems(repository: &impl Repository, page: &str, reference: &str) -> Vec<String> {
    let (rows, mut problems) = rows(page);
    let keys = configuration(reference);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for Row { line, ids, state, note, tests } in rows {
        let name = ids.join(", ");
        let mut wrong = |what: String| problems.push(format!("line {line}: {name}: {what}"));
        if ids.is_empty() {
            wrong("a row without an id".into());
        }
        for id in &ids {
            if let Some(before) = seen.insert(id.clone(), line) {
                wrong(format!("{id} is on line {before} already"));
            }
            // A key may stand beside one that works; then the note says what becomes of it.
            let is_explained = *id != ids[0] && !note.is_empty();
            let here = id.strip_prefix("cfg.").and_then(|key| keys.get(key));
            if let Some(here) = here.filter(|here| *here != "works")
                && state == "works"
                && !is_explained
            {
                wrong(format!("works, but docs/configuration.md says of {id}: {here}"));
            }
            if state == "not yet" {
                for key in keys_that_work(&keys, id) {
                    wrong(format!("not yet, but docs/configuration.md says that {key} works"));
                }
            }
        }
        match state.as_str() {
            "works" | "differs" if tests.is_empty() => wrong(format!("{state}, but no test shows it")),
            "not yet" | "differs" if note.is_empty() => wrong(format!("{state}, but no note says how")),
            state if !STATES.contains(&state) => wrong(format!("{state:?} is none of {STATES:?}")),
            _ => {}
        }
        for test in &tests {
            if let Some(what) = wrong_test(repository, test) {
                wrong(what);
            }
        }
    }
    problems
}

/// Goal: the page says nothing that nobody checks. Method: read it as its readers do, and look everything up.
#[test]
fn the_page_is_true() {
    let text = |path: &str| OnDisk.text(path).unwrap_or_else(|| panic!("{path} is missing"));
    let page = text("docs/compatibility.md");
    let problems = problems(&OnDisk, &page, &text("docs/configuration.md"));
    assert!(problems.is_empty(), "docs/compatibility.md:\n{}", problems.join("\n"));
    let (rows, _) = rows(&page);
    for state in STATES {
        println!("{state}: {} rows", rows.iter().filter(|row| row.state == state).count());
    }
    assert!(rows.len() > 400, "{} rows were found: are the tables still read?", rows.len());
}

/// Every rule of the check finds the row that breaks it.
#[test]
fn the_check_finds_what_is_wrong() {
    struct Few;
    impl Repository for Few {
        fn text(&self, path: &str) -> Option<String> {
            let tests = "#[test]\nfn is_one() {}\n\n/// Not a test.\nfn is_none() {}\n\
                         #[tokio::test(start_paused = true)]\n// Why.\nasync fn is_another() {}\n";
            ["a/t.rs", "suite/run.py"].contains(&path).then(|| tests.into())
        }
    }
    let reference = "| `k` | p | v | d | no effect: so | a |\n| `good` | p | v | d | works | a |\n";
    let found = |row: &str| {
        let page = format!("| id | state | note | shown by |\n|---|---|---|---|\n{row}");
        problems(&Few, &page, reference).join("\n")
    };
    for good in [
        "| `a` | works | | `a/t.rs::is_one`, `a/t.rs::tests::is_another` |",
        "| `a`, `b` | differs | So. | `suite` |",
        "| `cfg.good` | works | | `suite` |",
        "| `cfg.good`, `cfg.k` | works | The second does nothing. | `suite` |",
        "| `a` | not yet | Missing. | |",
        "| `cfg.k` | not yet | Missing. | |",
        "| `cfg.k*`, `good` | not yet | Missing. | |",
    ] {
        assert_eq!(found(good), "", "{good}");
    }
    for (bad, problem) in [
        ("| `a` | works | | |", "line 3: a: works, but no test shows it"),
        ("| `a` | differs | | `suite` |", "line 3: a: differs, but no note says how"),
        ("| `a` | not yet | | |", "line 3: a: not yet, but no note says how"),
        ("| `a` | maybe | | |", "line 3: a: \"maybe\" is none of [\"works\", \"differs\", \"not yet\"]"),
        ("| a | works | | `suite` |", "line 3: : a row without an id"),
        ("| `a` | works | `suite` |", "line 3: 3 cells instead of 4"),
        ("| `a` | works | | `a/t.rs::is_none` |", "line 3: a: a/t.rs has no test is_none"),
        ("| `a` | works | | `a/t.rs::is` |", "line 3: a: a/t.rs has no test is"),
        ("| `a` | works | | `b/t.rs::is_one` |", "line 3: a: there is no file b/t.rs"),
        ("| `a` | works | | `suites` |", "line 3: a: there is no suite suites"),
        (
            "| `cfg.k` | works | | `suite` |",
            "line 3: cfg.k: works, but docs/configuration.md says of cfg.k: no effect: so",
        ),
        (
            "| `cfg.k` | works | So. | `suite` |",
            "line 3: cfg.k: works, but docs/configuration.md says of cfg.k: no effect: so",
        ),
        (
            "| `cfg.good` | not yet | So. | |",
            "line 3: cfg.good: not yet, but docs/configuration.md says that good works",
        ),
        (
            "| `a`, `cfg.go*` | not yet | So. | |",
            "line 3: a, cfg.go*: not yet, but docs/configuration.md says that good works",
        ),
        ("| `a` | works | | `suite` |\n| `a` | works | | `suite` |", "line 4: a: a is on line 3 already"),
    ] {
        assert_eq!(found(bad), problem, "{bad}");
    }
}
