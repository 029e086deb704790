"""What Zabra promises beside the other two, and the table that says whether it holds."""

from .measure import CELLS, cell_name

# measure, against which server, "min" or "max", the bar. Ratios are Zabra over the other; None is Zabra's own value.
BARS = [
    ("read 64×16", "java", "min", 8),
    ("read 64×16", "null", "min", 0.5),
    ("write 64×16", "java", "min", 4),
    ("write 64×16", "null", "min", 0.6),
    ("read 1×1 read p50", "null", "max", 1.5),
    ("write 1×1 write p50", "null", "max", 1.5),
    ("sessions at once", None, "max", 3),
    ("memory of the tree", None, "max", 300),
    ("restart after a kill", "java", "max", 0.2),
    ("snapshot moves write p99", None, "max", 2),
    # The harder one of two ways: everything Zabra holds beside what Java could not collect.
    ("live memory of watches", "java", "max", 0.2),
]

ROWS = (
    [cell_name(*cell) for cell in CELLS]
    + ["read 1×1 read p50", "write 1×1 write p50", "create 16×32", "sessions at once", "sessions up in time"]
    + ["memory of the tree", "live memory of the tree", "restart after a kill", "snapshot moves write p99"]
    + ["memory of idle sessions", "live memory of idle sessions"]
    + ["memory of watches", "live memory of watches", "setting the watches"]
)


def number(value):
    """Three digits that matter, with thousands told apart."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio(values, other):
    """Zabra over another server, if both were measured."""
    ours, theirs = values.get("zabra"), values.get(other)
    return ours / theirs if ours is not None and theirs else None


def verdicts(bars, measure, values):
    """Each bar of a measure as text, and whether it holds: None if it could not be judged."""
    for name, other, kind, bar in bars:
        if name != measure:
            continue
        found = values.get("zabra") if other is None else ratio(values, other)
        sign = "≥" if kind == "min" else "≤"
        text = f"{sign} {bar:g}" + (f" × {other}" if other else "")
        holds = None if found is None else (found >= bar if kind == "min" else found <= bar)
        yield text, holds


def table(measurements, rows=ROWS, bars=BARS, others=("java", "null")):
    """The table as Markdown, and whether every bar that could be judged holds. `others` are what Zabra stands beside."""
    names = {"java": "Java", "zabra": "Zabra", "null": "null"}
    columns = [others[0], "zabra", *others[1:]]
    head = [names[server] for server in columns] + [f"Zabra / {names[server]}" for server in others]
    lines = [
        f"| measure | unit | {' | '.join(head)} | bar | |",
        f"|---|---|{'--:|' * len(head)}---|---|",
    ]
    units = {sample["measure"]: sample["unit"] for sample in measurements.samples}
    all_hold = True
    for measure in rows:
        values = measurements.medians(measure)
        if not values:
            continue
        judged = list(verdicts(bars, measure, values))
        all_hold &= all(holds is not False for _, holds in judged)
        promised = ", ".join(text for text, _ in judged)
        words = {True: "pass", False: "**FAIL**", None: "not measured"}
        verdict = ", ".join(words[holds] for _, holds in judged)
        cells = [measure, units[measure]]
        cells += [number(values.get(server)) for server in columns]
        cells += [number(ratio(values, server)) for server in others]
        cells += [promised, verdict]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines), all_hold
