"""The picture: what each server reaches of the bound that one thread without a tree sets, load by load.

Every row is scaled to its own bound, so one request at a time and a thousand at once can share a page. Plain SVG, light
background, labels at the bars, no legend to look up.
"""

from html import escape

from .measure import CELLS, cell_name

WIDTH = 880
LEFT = 96
BAR_WIDTH = 520
ROW = 46
TOP = 104
PANEL_GAP = 34
INK, QUIET, GRID = "#1f2933", "#66727f", "#d9dee3"
COLORS = {"java": "#c98a2b", "zabra": "#1f6fb5"}
NAMES = {"java": "Java ZooKeeper", "zabra": "Zabra"}
PANELS = {"read": "Reads", "write": "Writes, each on disk before its reply", "mix50": "Half reads, half writes"}


def short(value):
    """Operations a second, to be read at a glance."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


class Drawing:
    """Elements in the order they are drawn."""

    def __init__(self):
        self.parts = []

    def text(self, x, y, text, size=13, color=INK, anchor="start", weight="normal"):
        # The white rim keeps grid lines out of the letters.
        rim = "" if color == "#ffffff" else 'paint-order="stroke" stroke="#ffffff" stroke-width="4" '
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" {rim}'
            f'font-weight="{weight}">{escape(text)}</text>'
        )

    def bar(self, x, y, width, height, color):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" rx="2" fill="{color}"/>'
        )

    def line(self, x1, y1, x2, y2, color=GRID, width=1.0):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'
        )

    def svg(self, height):
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
            f'<rect width="100%" height="100%" fill="#ffffff"/>' + "\n".join(self.parts) + "</svg>\n"
        )


def draw(measurements):
    """The SVG, or None when the matrix was not measured with a bound."""
    rows = {cell: measurements.medians(cell_name(*cell)) for cell in CELLS}
    rows = {cell: values for cell, values in rows.items() if values.get("null")}
    if not rows:
        return None
    drawing = Drawing()
    with_zabra = any("zabra" in values for values in rows.values())
    title = "Zabra and Java ZooKeeper" if with_zabra else "Java ZooKeeper"
    drawing.text(24, 36, f"{title}, as a share of what one thread can serve", size=19, weight="600")
    drawing.text(
        24, 58, "Rows: connections × requests outstanding on each. 100 % is a server that keeps no tree, on the same", 13,
        QUIET,
    )
    drawing.text(24, 75, "machine with the same traffic. Medians of interleaved rounds; every row has its own scale.", 13, QUIET)
    y = TOP
    named = set()
    for load, title in PANELS.items():
        cells = [cell for cell in rows if cell[0] == load]
        if not cells:
            continue
        y += 18
        drawing.text(24, y, title, size=14, weight="600")
        y += 12
        bottom = y + ROW * len(cells)
        for percent in (0, 25, 50, 75, 100):
            x = LEFT + BAR_WIDTH * percent / 100
            drawing.line(x, y, x, bottom, INK if percent == 100 else GRID, 1.5 if percent == 100 else 1)
            drawing.text(x, bottom + 14, f"{percent} %", 11, QUIET, "middle")
        for cell in cells:
            row(drawing, y, cell, rows[cell], named)
            y += ROW
        y += PANEL_GAP
    return drawing.svg(y)


def row(drawing, y, cell, values, named):
    """One load in one shape: a bar a server, with what it reaches beside it."""
    bound = values["null"]
    drawing.text(LEFT - 12, y + ROW / 2 + 5, f"{cell[1][0]} × {cell[1][1]}", anchor="end")
    shown = [server for server in ("zabra", "java") if server in values]
    height = 15
    top = y + (ROW - height * len(shown) - 3 * (len(shown) - 1)) / 2
    for server in shown:
        share = values[server] / bound
        width = BAR_WIDTH * min(share, 1.08)
        drawing.bar(LEFT, top, width, height, COLORS[server])
        label = f"{share * 100:.0f} %" if share >= 0.095 else f"{share * 100:.1f} %"
        if server == "zabra" and values.get("java"):
            label += f", {values['zabra'] / values['java']:.1f} × Java"
        if server not in named:
            named.add(server)
            label = f"{NAMES[server]}: {label}"
        label_at(drawing, LEFT + width, top + 12, label, COLORS[server])
        top += height + 3
    drawing.text(WIDTH - 24, y + ROW / 2 + 5, f"100 % = {short(bound)}/s here", 11, QUIET, "end")


def label_at(drawing, x, y, label, color):
    """Behind the bar, or inside its end when there is no room before the right column."""
    if x + 6 + len(label) * 7 < LEFT + BAR_WIDTH + 90:
        drawing.text(x + 6, y, label, 12, color, weight="600")
    else:
        drawing.text(x - 6, y, label, 12, "#ffffff", "end", "600")
