"""Takes the picture of the console that README shows: ``python examples/screenshot.py`` writes docs/console.png.

It needs the test tools (playwright, scikit-learn for the rows of iris), Debian's chromium, and Pillow, which nothing
else needs: ``pip install pillow``.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from demo_service import ROOT, Client, DemoError, service
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from sklearn.datasets import load_iris

PICTURE = ROOT / "docs" / "console.png"
#: With so many the picture takes less than 200 KB, and nobody sees a difference.
COLOURS = 200
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]


def train(client: Client) -> None:
    """Upload iris, and train a model of which several checkpoints are kept."""
    found = load_iris()
    names = [*(name.removesuffix(" (cm)").replace(" ", "_") for name in found.feature_names), "species"]
    rows = [[*row, str(found.target_names[label])] for row, label in zip(found.data, found.target, strict=True)]
    content = "\n".join(",".join(map(str, row)) for row in [names, *rows])
    client.call("POST", "/datasets?name=iris&label=species", content.encode(), "text/csv")
    request = {
        "data": "iris",
        "model": {"name": "iris", "hidden": [16], "features": {"sepal_length": "ignore", "sepal_width": "ignore"}},
        "validation": 0.3,
        "epochs": 300,
        "optimizer": {"type": "adam", "learning_rate": 0.01},
        "publish": "best",
        "checkpoint": {"every_epochs": 50, "keep": 8},
        "seed": 7,
    }
    client.follow(client.call("POST", "/train", request))


def photograph(page: Page, address: str) -> None:
    """Open the model's page, ask for a row near a border and for the rows of a wrong cell, and save a picture."""
    page.goto(f"{address}/console/models/iris")
    expect(page.get_by_role("heading", name="iris").first).to_be_visible()
    expect(page.get_by_text("curl", exact=True).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    with Image.open(io.BytesIO(page.screenshot())) as taken:
        taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


def main() -> int:
    """Take the picture; return 0, or 1 if something is missing or failed."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is missing: .ci/packages chromium", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory() as folder, service(Path(folder) / "data") as client:
            train(client)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                page = browser.new_page(viewport={"width": 1440, "height": 1000}, locale="en-US")
                photograph(page, client.address)
                browser.close()
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
