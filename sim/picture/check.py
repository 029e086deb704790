#!/usr/bin/env python3
"""Opens pictures of runs in a browser, and does with them what a person would do.

check.py SIM [FOLDER]: SIM is the program; screenshots go into FOLDER, if there is one.
"""

import os
import subprocess
import sys
import tempfile

from browser import Browser

SIM = os.path.abspath(sys.argv[1])
SHOTS = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None


def draw(path, suits, *arguments):
    """A picture of the first seed whose report and page suit: what a seed stands for changes with the code."""
    for seed in range(1, 100):
        command = [SIM, "--cluster", "watch", str(seed), "--picture", path, *arguments]
        report = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
        with open(path, encoding="utf-8") as page:
            if suits(report, page.read()):
                print(f"     seed {seed}, {os.path.getsize(path) >> 10} KiB")
                return
    raise RuntimeError(f"no seed suits: {arguments}")


def servers(page):
    return page.count('"what":"server"')


def data(browser, name):
    return browser.evaluate(f"document.getElementById('diagram').dataset.{name}")


def count(browser):
    return int(browser.evaluate("document.getElementById('count').dataset.count"))


def span(browser):
    return float(data(browser, "to")) - float(data(browser, "from"))


def middle(browser):
    return browser.middle("#diagram")


def shot(browser, name):
    if SHOTS is not None:
        os.makedirs(SHOTS, exist_ok=True)
        browser.screenshot(os.path.join(SHOTS, f"{name}.png"))


# The diagram, copied to where its pixels may be read.
PIXELS = """
    const copy = new OffscreenCanvas(diagram.canvas.width, diagram.canvas.height);
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(diagram.canvas, 0, 0);
"""


def kinds_drawn(browser):
    kinds = "[...new Set(diagram.drawn.messages.map(({ index }) => run.kinds[run.messages.kind[index]]))]"
    return sorted(browser.evaluate(kinds))


def it_loads(browser, page):
    """The page opens without a complaint, asks for nothing else, and draws a lane for everybody."""
    browser.open(page)
    assert browser.evaluate("document.documentElement.dataset.ready") == "yes"
    lanes = browser.evaluate("run.lanes.length")
    assert int(data(browser, "lanes")) == lanes, (data(browser, "lanes"), lanes)
    assert lanes >= 4, lanes
    for what in ("messages", "boxes", "signs"):
        assert int(data(browser, what)) > 20, (what, data(browser, what))
    # Every lane has the colour of some state somewhere, and paper beside it.
    for lane in browser.evaluate("run.lanes.flatMap(({ what }, lane) => what === 'client' ? [] : [lane])"):
        seen = browser.evaluate(
            f"""(() => {{
                const ratio = devicePixelRatio;
                const y = Math.round(diagram.rows[{lane}].middle * ratio);
                {PIXELS}
                const row = context.getImageData(LABELS * ratio, y, (diagram.width - LABELS) * ratio, 1).data;
                const colors = new Set();
                for (let at = 0; at < row.length; at += 4) colors.add(row.slice(at, at + 3).join());
                return colors.size;
            }})()"""
        )
        assert seen >= 3, f"lane {lane} is empty"
    others = [url for url in browser.requests if not url.startswith(("file://" + page, "about:", "data:"))]
    assert others == [], others


def kinds_are_filtered(browser, page):
    """A kind that is switched off is not drawn, nor listed; a double click leaves one alone."""
    browser.open(page)
    drawn, listed = int(data(browser, "messages")), count(browser)
    assert "ping" in kinds_drawn(browser)
    browser.press(".chip[data-name=ping]")
    assert "ping" not in kinds_drawn(browser)
    assert int(data(browser, "messages")) < drawn
    assert count(browser) < listed
    browser.press(".chip[data-name=ping]")
    assert (int(data(browser, "messages")), count(browser)) == (drawn, listed)
    browser.press(".chip[data-name=election]", count=2)
    assert kinds_drawn(browser) == ["election"], kinds_drawn(browser)
    browser.press(".chip[data-name=election]", count=2)
    assert count(browser) == listed


def lanes_are_filtered(browser, page):
    """A lane that is switched off is gone, and so are its messages."""
    browser.open(page)
    lanes = int(data(browser, "lanes"))
    browser.press(".chip.lane[data-name=n1]")
    assert int(data(browser, "lanes")) == lanes - 1
    with_it = "diagram.drawn.messages.filter(({ index }) => [run.messages.from[index], run.messages.to[index]].includes(1)).length"
    assert browser.evaluate(with_it) == 0
    browser.press(".chip.lane[data-name=n1]")
    assert browser.evaluate(with_it) > 0


def words_are_searched(browser, page):
    """Only what contains the words is listed."""
    browser.open(page)
    listed = count(browser)
    browser.type("#search", "LEADERINFO")
    assert 0 < count(browser) < listed
    rows = browser.evaluate("[...document.querySelectorAll('#rows li')].map((row) => row.textContent)")
    assert rows != [] and all("LEADERINFO" in row for row in rows), rows
    browser.type("#search", " and nothing else")
    assert count(browser) == 0


def time_is_zoomed_and_moved(browser, page):
    """Wheel, buttons, keys, drags and fields all say which part of the time is looked at."""
    browser.open(page)
    x, y = middle(browser)
    whole = span(browser)
    under = "timeOf(diagram.canvas.clientWidth / 2)"
    before = browser.evaluate(under)
    browser.wheel(x, y, -200)
    assert span(browser) < whole * 0.8
    assert abs(browser.evaluate(under) - before) < whole * 1e6 / 200, "what is under the pointer stays there"
    narrow, begin = span(browser), float(data(browser, "from"))
    browser.drag((x, y), (x - 200, y))
    assert float(data(browser, "from")) > begin and abs(span(browser) - narrow) < 1e-3
    browser.press("#in")
    assert span(browser) < narrow
    browser.press("#out")
    assert abs(span(browser) - narrow) < 1e-3
    browser.key("0")
    assert abs(span(browser) - browser.evaluate("run.end * 1.03 / 1e6")) < 0.01, span(browser)
    browser.open(page, "#from=1&to=2.5&without=ping,client&hidden=n0")
    assert (float(data(browser, "from")), float(data(browser, "to"))) == (1.0, 2.5)
    assert not {"ping", "client"} & set(kinds_drawn(browser))
    in_sight = "[list.times[list.first] >= view.from, list.times[list.after - 1] <= view.to + 1]"
    assert browser.evaluate(in_sight) == [True, True]


def events_are_told(browser, page):
    """What the pointer is on says what it is; a click keeps it, and the list goes on from there."""
    browser.open(page, "#from=1&to=1.4")
    place = """(() => {
        const box = diagram.canvas.getBoundingClientRect();
        const { x, y, toX, toY } = diagram.drawn.messages.find(({ x, lost }) => !lost && x > LABELS + 50);
        return [box.x + x * 0.5 + toX * 0.5, box.y + y * 0.5 + toY * 0.5];
    })()"""
    x, y = browser.evaluate(place)
    browser.mouse("mouseMoved", x, y)
    browser.settle()
    tip = browser.evaluate("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    assert "arrived" in tip and "→" in tip, tip
    browser.click(x, y)
    detail = browser.evaluate("document.getElementById('detail').textContent")
    assert detail == tip, (detail, tip)
    browser.key("n")
    assert browser.evaluate("document.getElementById('detail').textContent") != detail
    assert browser.evaluate("document.querySelectorAll('#rows li.kept').length") == 1


def the_violation_is_seen(browser, page, words):
    """It is said above, drawn as a line where it happened, and one key leads there."""
    browser.open(page)
    assert words in browser.evaluate("document.getElementById('violation').textContent")
    assert browser.evaluate("document.getElementById('verdict').textContent") == "FAILED"
    shot(browser, "failed-whole")
    for key in (None, "v"):
        if key is not None:
            browser.key(key)
        red = browser.evaluate(
            """(() => {
                const [ratio, x] = [devicePixelRatio, Number(diagram.canvas.dataset.violation)];"""
            + PIXELS
            + """
                const paint = document.createElement("canvas").getContext("2d");
                paint.fillStyle = color("--bad");
                paint.fillRect(0, 0, 1, 1);
                const bad = paint.getImageData(0, 0, 1, 1).data.join();
                const at = (dx, y) => context.getImageData((x + dx) * ratio, y * ratio, 1, 1).data.join();
                const isRed = (y) => [-1, 0, 1].some((dx) => at(dx, y) === bad);
                return [...Array(20).keys()].filter((part) => isRed(AXIS + ((diagram.bottom - AXIS) * part) / 20)).length;
            })()"""
        )
        assert red >= 17, f"{red} of 20 places on the line are red"
    assert span(browser) < browser.evaluate("run.end / 1e6")
    shot(browser, "failed-close")


def it_is_dark_at_night(browser, page):
    browser.open(page)
    light = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.settle()
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") != light
    shot(browser, "dark")
    browser.call("Emulation.setEmulatedMedia", features=[])


def a_long_run_is_drawn(browser, page):
    """Sixty seconds of five servers: everything is there, and drawing is bounded by the screen."""
    browser.open(page)
    total = browser.evaluate("run.messages.at.length")
    drawn = int(data(browser, "messages"))
    time = browser.evaluate("(() => { const begin = performance.now(); drawDiagram(); return performance.now() - begin; })()")
    print(f"     {total} messages, {drawn} lines drawn in {time:.0f} ms")
    assert total > 5_000, total
    width = browser.evaluate("diagram.width")
    lanes = browser.evaluate("run.lanes.length")
    assert 1000 < drawn < width * lanes * lanes
    shot(browser, "long")
    for view in ("#from=10&to=14", "#from=10&to=10.4", "#from=10&to=10.05"):
        browser.open(page, view)
        shot(browser, "long" + view.replace("#from=10&to=", "-to-"))


def main():
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder, Browser() as browser:
        page, failed, long = (os.path.join(folder, name) for name in ("page.html", "failed.html", "long.html"))
        draw(page, lambda report, page: "passed" in report and servers(page) >= 3 and "clients: 1," not in page)
        draw(failed, lambda report, page: "FAILED" in report and servers(page) >= 3, "--stop-at", STOP_AT)
        draw(long, lambda _, page: servers(page) >= 5 and "duration: 60s" in page and len(page) > 1 << 20)
        tests = [
            (it_loads, page),
            (kinds_are_filtered, page),
            (lanes_are_filtered, page),
            (words_are_searched, page),
            (time_is_zoomed_and_moved, page),
            (events_are_told, page),
            (the_violation_is_seen, failed, STOP_AT),
            (it_is_dark_at_night, failed),
            (a_long_run_is_drawn, long),
        ]
        for test, *arguments in tests:
            test(browser, *arguments)
            assert browser.complaints == [], browser.complaints
            print(f"ok   {test.__name__}")
    print(f"{len(tests)} passed, 0 failed")


# Words of a record that comes when something has gone wrong already.
STOP_AT = "is Leading in epoch 3"

if __name__ == "__main__":
    main()
