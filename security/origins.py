"""Pages of other sites, in a real browser: they neither read nor write, by any way that a browser has.

The page is served by another host of this machine, so its requests are those of another site. The browser does what any
page can ask of it: fetch with each mode and simple content type, forms, images, scripts, frames, and a name of its own
that means 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import html
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reliability.figure import Figure
from security.watch import Goal, Watch, watched

__all__ = ["run"]

#: The name of the other site; the browser is told that it means this machine.
EVIL = "evil.example"
PATIENCE = 60.0
MODEL = {"inputs": 2, "classes": 2, "hidden": [2]}
#: The browser computes on the same cores.
BESIDE = Goal(p99=0.25)
GOALS = {"ways tried in a browser": 18}

#: What the page tries: each way has a name and is a promise of what it could read.
SCRIPT = """
const BASE = "%(base)s", OWN = "%(own)s", MODEL = %(model)s;
const post = (name, mode, type) => fetch(`${BASE}/models`, {method: "POST", mode,
    headers: type ? {"Content-Type": type} : {}, body: JSON.stringify({name, ...MODEL})});
const text = async (answer) => `${answer.type} ${answer.status} ${await (await answer).text()}`;
const loaded = (tag, attribute, value) => new Promise((done) => {
    const element = document.createElement(tag);
    element.rel = "stylesheet";
    element.onload = () => done(`loaded ${tag}`);
    element.onerror = () => done("");
    element[attribute] = value;
    document.body.append(element);
});
const form = (name, type) => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = name;
    document.body.append(frame);
    const made = document.createElement("form");
    Object.assign(made, {action: `${BASE}/models`, method: "POST", enctype: type, target: name});
    const field = document.createElement("input");
    // As text/plain, name and value are joined by "=" to valid JSON.
    field.name = `{"name":"${name}","inputs":2,"classes":2,"hidden":[2],"metadata":{"a":"`;
    field.value = `"}}`;
    made.append(field);
    document.body.append(made);
    frame.onload = () => { try { done(frame.contentDocument ? frame.contentDocument.body.innerText : ""); }
                           catch (error) { done(""); } };
    made.submit();
    setTimeout(() => done(""), 3000);
});
const ways = {
    "fetch, read a list": () => fetch(`${BASE}/models`).then(text),
    "fetch without CORS, read a list": () => fetch(`${BASE}/models`, {mode: "no-cors"}).then(text),
    "fetch with credentials": () => fetch(`${BASE}/models`, {credentials: "include"}).then(text),
    "fetch JSON": () => post("by-json", "cors", "application/json").then(text),
    "fetch text": () => post("by-text", "cors", "text/plain").then(text),
    "fetch text without CORS": () => post("by-no-cors", "no-cors", "text/plain").then(text),
    "fetch a form without CORS": () => post("by-form-type", "no-cors", "application/x-www-form-urlencoded").then(text),
    "fetch DELETE": () => fetch(`${BASE}/models/victim?force=true`, {method: "DELETE"}).then(text),
    "beacon": async () => { navigator.sendBeacon(`${BASE}/models`, JSON.stringify({name: "by-beacon", ...MODEL}));
                            return ""; },
    "form as text": () => form("by-text-form", "text/plain"),
    "form of fields": () => form("by-form", "application/x-www-form-urlencoded"),
    "image": () => loaded("img", "src", `${BASE}/models`),
    "script": () => loaded("script", "src", `${BASE}/models/victim`),
    "style": () => loaded("link", "href", `${BASE}/models`),
    "rebound name, read": () => fetch(`${OWN}/models`).then(text),
    "rebound name, write": () => fetch(`${OWN}/models`, {method: "POST",
        body: JSON.stringify({name: "by-rebinding", ...MODEL})}).then(text),
    "rebound name, delete": () => fetch(`${OWN}/models/victim?force=true`, {method: "DELETE"}).then(text),
};
(async () => {
    const found = {};
    for (const [name, way] of Object.entries(ways)) {
        try { found[name] = await way(); } catch (error) { found[name] = `refused: ${error}`; }
    }
    const place = document.createElement("pre");
    place.id = "found";
    place.textContent = JSON.stringify(found);
    document.body.append(place);
    document.title = "done";
})();
"""


def run(scale: float) -> Figure:
    """Open the page in a browser beside a service, and look what it has read and done."""
    figure = Figure(goals=dict(GOALS))
    if shutil.which("chromium") is None:
        figure.skipped = "Chromium is not installed"
        return figure
    with watched(figure, scale) as watch, watch.attack("a page of another site in Chromium", BESIDE):
        client = watch.client
        assert client.post("/models", {"name": "victim", **MODEL}).status == 201
        before = client.get("/models").json
        found = _opened(watch)
        for way, what in found.items():
            figure.count("ways tried in a browser")
            if "victim" in what or "loaded" in what or " 20" in what:
                figure.broken.append(f"{way}: the page read {what[:300]}")
        # After rebinding, the page's own origin is the service's address, so nothing but the name differs.
        rebound = _shown(f"http://{EVIL}:{watch.port}/models")
        figure.count("ways tried in a browser")
        if "unknown_host" not in rebound or "victim" in rebound:
            figure.broken.append(f"a name that means this machine must be refused. Received: {rebound[:500]}")
        after = client.get("/models").json
        if after != before:
            figure.broken.append(f"the page changed something. Received: {after}")
    return figure


def _opened(watch: Watch) -> dict[str, str]:
    """What each way of the page has read, by Chromium."""
    values = {
        "base": f"http://127.0.0.1:{watch.port}",
        "own": f"http://{EVIL}:{watch.port}",
        "model": json.dumps(MODEL),
    }
    with _page(SCRIPT % values) as port:
        content = _shown(f"http://{EVIL}:{port}/")
    shown = re.search(r'<pre id="found">(.*?)</pre>', content, re.DOTALL)
    if shown is None:
        watch.broke(f"the page must say what it found. Received: {content[-1000:]}")
        return {}
    found: dict[str, str] = json.loads(html.unescape(shown[1]))
    return found


def _shown(address: str) -> str:
    """The document of a page after its scripts have run, in a new Chromium."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={profile}",
            f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
            *("--virtual-time-budget=30000", "--dump-dom", address),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.stdout or done.stderr


@contextmanager
def _page(script: str) -> Iterator[int]:
    """A site of one page with this script; its port."""
    content = f"<!doctype html><title>page</title><body><script>{script}</script>".encode()

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
