"""The console in Chromium: first paint, a file of 10 MB, 1,000 models, bytes, a chart of 10,001 points, 100 streams."""

from __future__ import annotations

import http.client
import json
import random
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.servers import call, gunicorn
from service.web.console.pages import STATIC

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROUNDS = 7
MODELS = 1000
#: Rows of a file of 10 MB.
ROWS = 92_000
#: How many watch one job, and the events of all.
WATCHING = (30, 100)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
#: What is reached when a figure is good, in the figure's unit.
GOALS = {"first_paint_ms": 200, "profile_ms": 1000, "models_ms": 100, "kilobytes": 150, "chart_ms": 10}

#: Resolves to the milliseconds from the last byte of the answer to `path` until `selector` matches `count` elements and
#: the frame with them is drawn.
_DRAWN = """([path, selector, count]) => new Promise((done) => {
  const look = () => {
    if (document.querySelectorAll(selector).length < count) return requestAnimationFrame(look);
    requestAnimationFrame(() => setTimeout(() => {
      const answers = performance.getEntriesByType("resource").filter(({ name }) => new URL(name).pathname === path);
      done(performance.now() - Math.max(...answers.map(({ responseEnd }) => responseEnd)));
    }));
  };
  look();
})"""
#: Milliseconds that one drawing of two series of 10,001 points takes: the median of 30.
_CHART = """async () => {
  const { LineChart } = await import("/console/static/chart.js");
  const chart = new LineChart(), x = Array.from({ length: 10001 }, (_, index) => index);
  document.querySelector("main").replaceChildren(chart);
  const series = (shift) => x.map((at) => 2 * Math.exp(-at / 2000) + 0.1 * Math.sin(at / 7 + shift) + 0.2);
  const shown = ["--c0", "--c1"].map((color, index) => ({ name: color, color, values: series(index) }));
  const times = [];
  for (let round = 0; round < 30; round += 1) {
    await new Promise(requestAnimationFrame);
    chart.show(x, shown);
    const begin = performance.now();
    chart.draw();
    times.push(performance.now() - begin);
  }
  return times.sort((one, other) => one - other)[15];
}"""


def main() -> dict[str, Any]:
    """Measure; without Playwright or Chromium, only what needs no browser."""
    figures: dict[str, Any] = {"kilobytes": _kilobytes()}
    with gunicorn("wsgi:app") as (port, _):
        figures.update(_streams(port))
        try:
            from playwright.sync_api import sync_playwright
        except ModuleNotFoundError:
            print("the rest is left out: playwright is missing (requirements-test.txt)")
            return figures
        path = shutil.which("chromium")
        if path is None:
            print("the rest is left out: chromium is missing (.ci/packages chromium)")
            return figures
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))

            @contextmanager
            def opened() -> Iterator[Page]:
                """A page in a new context, which has nothing in its cache."""
                context = browser.new_context(viewport={"width": 1440, "height": 1000})
                yield context.new_page()
                context.close()

            base = f"http://127.0.0.1:{port}/console/"
            figures.update(_first_paint(opened, base), **_chart(opened, base), **_profile(opened, base))
            figures.update(_models(opened, base, port))
            browser.close()
    for name, goal in GOALS.items():
        print(f"{name}: {figures[name]:.1f} (goal {goal})")
    return figures


def _kilobytes() -> float:
    """All files as a browser gets them, without the samples."""
    with gunicorn("wsgi:app") as (port, _):
        total = 0
        for path in STATIC.rglob("*"):
            if path.is_file() and path.parent.name != "samples":
                place = f"http://127.0.0.1:{port}/console/static/{path.relative_to(STATIC).as_posix()}"
                request = urllib.request.Request(place, headers={"Accept-Encoding": "gzip"})
                with urllib.request.urlopen(request) as response:
                    total += len(response.read())
    return total / 1000


def _first_paint(opened: Any, base: str) -> dict[str, Any]:
    times = []
    for _ in range(ROUNDS):
        with opened() as page:
            page.goto(base)
            page.get_by_role("heading", level=1).wait_for()
            entries = "() => performance.getEntriesByType('paint').map(({ name, startTime }) => [name, startTime])"
            times.append(dict(page.evaluate(entries))["first-contentful-paint"])
    return {"first_paint_ms": statistics.median(times), "first_paints_ms": times}


def _chart(opened: Any, base: str) -> dict[str, Any]:
    with opened() as page:
        page.goto(base)
        page.get_by_role("heading", level=1).wait_for()
        return {"chart_ms": page.evaluate(_CHART)}


def _profile(opened: Any, base: str) -> dict[str, Any]:
    """From the answer to the upload of a file of 10 MB until its last column is drawn."""
    chance, times = random.Random(1), []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.csv"
        lines = ["number,amount,share,height,town,kind,flag,day,text,count,size,label"]
        for row in range(ROWS):
            values = (row, chance.gauss(100, 15), chance.random(), chance.gauss(170, 10))
            words = (chance.choice("ABCDEFGH"), chance.choice(("red", "green", "blue")), chance.choice(("yes", "no")))
            more = (
                f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
                f"customer {row}",
                chance.randint(0, 9),
            )
            fields = [f"{values[0]}", *(f"{value:.9f}" for value in values[1:]), *words, *map(str, more)]
            lines.append(",".join([*fields, f"{chance.random():.6f}", "good" if values[1] > 105 else "bad"]))
        file.write_text("\n".join(lines))
        size = file.stat().st_size
        for _ in range(3):
            with opened() as page:
                page.goto(base)
                page.locator("#file").set_input_files(file)
                page.wait_for_url("**/console/data/**")
                times.append(page.evaluate(_DRAWN, ["/datasets", "table.columns tbody tr", 12]))
    return {"profile_ms": statistics.median(times), "profiles_ms": times, "profiled_megabytes": size / 1e6}


def _models(opened: Any, base: str, port: int) -> dict[str, Any]:
    """A list of 1,000 models: from the key that asks for it, and from the last answer, until all are drawn."""
    for number in range(MODELS):
        call(port, "POST", "/models", {"name": f"model-{number:04}", "inputs": 2, "classes": 2, "hidden": []})
    whole, drawn = [], []
    for _ in range(ROUNDS):
        with opened() as page:
            page.goto(f"{base}jobs")
            page.get_by_role("heading", level=1).wait_for()
            begin = page.evaluate("() => performance.now()")
            page.get_by_role("link", name="Models").click()
            drawn.append(page.evaluate(_DRAWN, ["/models", "table.models tbody tr", MODELS]))
            whole.append(page.evaluate("() => performance.now()") - begin)
    return {"models_ms": statistics.median(drawn), "models_drawn_ms": drawn, "models_whole_ms": whole}


def _streams(port: int) -> dict[str, Any]:
    """What one request takes beside many who watch a job and the events of all: a stream holds no thread."""
    model = {"name": "watched", "inputs": 2, "classes": 2, "hidden": [64]}
    data = {"inputs": [[0.0, 1.0], [1.0, 0.0]] * 500, "labels": [0, 1] * 500}
    job = call(port, "POST", "/train", {"model": model, "data": data, "epochs": 100_000})["id"]
    times: dict[str, float] = {"beside_0_streams_ms": _answer_ms(port)}
    with ExitStack() as streams:
        for count in WATCHING:
            for number in range(count):
                connection = http.client.HTTPConnection("127.0.0.1", port)
                streams.callback(connection.close)
                path = "/events" if number % 2 else f"/jobs/{job}/events"
                connection.request("GET", path, headers={"Accept": "text/event-stream"})
                answer = connection.getresponse()
                assert answer.status == 200, json.loads(answer.read())
            times[f"beside_{count}_streams_ms"] = _answer_ms(port)
            print(f"a request beside {count} more streams: {times[f'beside_{count}_streams_ms']:.1f} ms")
    call(port, "POST", f"/jobs/{job}/cancel")
    return times


def _answer_ms(port: int) -> float:
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        call(port, "GET", "/version")
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
