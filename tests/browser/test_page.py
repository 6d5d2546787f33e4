"""The page in a real browser, without a network: Chromium opens it from a file, and a script of ours uses it."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hashrepro.reporting.report import write_report

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reporting"))

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH: apt-get install chromium")

# No profile, no first-run pages, no services; every host name leads nowhere.
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]
OPTIONS += [
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]

# Before the page's own script: what goes wrong. Behind it: what a reader does. The findings go into the document.
WATCH = """<script>
const seen = { errors: [], refused: [] };
addEventListener("error", (event) => seen.errors.push(event.message || `${event.target.tagName} did not load`), true);
addEventListener("unhandledrejection", (event) => seen.errors.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => seen.refused.push(event.blockedURI));
console.error = console.warn = (...words) => seen.errors.push(words.join(" "));
</script>"""
USE = """<script>
addEventListener("load", () => {
  const table = document.querySelector("#cost table.sortable");
  const column = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent === "training");
  const values = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[column].dataset.v));
  const head = table.tHead.rows[0].cells[column];
  seen.before = values();
  head.querySelector("button").click();
  seen.up = [head.getAttribute("aria-sort"), values()];
  head.querySelector("button").focus();
  seen.focused = document.activeElement.parentElement === head;
  document.activeElement.click();
  seen.down = [head.getAttribute("aria-sort"), values()];
  const shown = () => [...document.querySelectorAll("#gallery .panel")]
    .filter((panel) => panel.getBoundingClientRect().height > 0).map((panel) => panel.dataset.panel);
  seen.gallery = [shown()];
  document.querySelector('#gallery input[value="semicon"]').click();
  document.querySelector('#gallery input[value="48"]').click();
  seen.gallery.push(shown());
  const part = document.querySelector("#beside details.aside");
  seen.closed = part.open;
  part.querySelector("table").id = "inside";
  location.hash = "#inside";
  addEventListener("hashchange", () => { seen.opened = part.open; finish(); });
  const finish = () => {
    seen.loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
    seen.broken = [...document.images].filter((image) => !image.naturalWidth).length;
    seen.wide = document.documentElement.scrollWidth > innerWidth;
    const box = document.createElement("script");
    box.type = "application/json";
    box.id = "seen";
    box.textContent = JSON.stringify(seen);
    document.body.append(box);
  };
});
</script>"""
# The browser itself refuses whatever is not in the page, and tells our script.
POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data:">"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from synthetic_published import figures
    from synthetic_runs import GRID, synthetic_run

    grid = replace(GRID, methods=("adsh", "semicon"))
    there = {"dataset": "fashion", "method": "ADSH", "ours": "adsh"}
    published = figures(there | {"map": 0.42}, there | {"difference": "other class sets"})
    folder = tmp_path_factory.mktemp("browser")
    suite = [synthetic_run(method, bits) for method in grid.methods for bits in grid.bits]
    for number, record in enumerate(suite):
        record.about["seconds"]["train"] = [70.0, 8000.0, 640.0][number % 3] + number
    write_report(suite, grid, folder, published)
    return folder


@pytest.fixture(scope="module")
def seen(folder, tmp_path_factory):
    """What our script saw in the browser."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    html = html.replace("<head>", f"<head>{POLICY}{WATCH}", 1).replace("</body>", f"{USE}</body>", 1)
    page = folder / "used.html"
    page.write_text(html, encoding="utf-8")
    profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
    command = [BROWSER, *OPTIONS, profile, "--virtual-time-budget=10000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    found = re.search(r'<script type="application/json" id="seen">(.*?)</script>', done.stdout, re.DOTALL)
    assert found, f"the script did not come to its end:\n{done.stderr[-2000:]}"
    return json.loads(found[1])


def test_nothing_goes_wrong_and_nothing_is_asked_for(seen):
    assert seen["errors"] == []
    assert seen["refused"] == []
    assert [name for name in seen["loaded"] if not name.startswith("data:")] == []
    assert seen["broken"] == 0


def test_nothing_in_the_page_names_an_address_to_load_from(folder):
    html = (folder / "index.html").read_text(encoding="utf-8")
    loads = re.findall(
        r"<(?:script|img|link|iframe|source|use|image)\b[^>]*?\s(?:src|href|xlink:href)=\"([^\"]*)", html
    )
    assert loads
    assert all(load.startswith(("data:", "#")) for load in loads)
    assert not re.findall(r"(?:fetch|import|XMLHttpRequest|WebSocket)\(", html)


def test_a_heading_sorts_its_table_by_size_and_back(seen):
    before = seen["before"]
    assert sorted(before) != before
    assert seen["up"] == ["ascending", sorted(before)]
    assert seen["focused"]
    assert seen["down"] == ["descending", sorted(before, reverse=True)]


def test_a_choice_switches_the_gallery(seen):
    assert seen["gallery"] == [["adsh|12"], ["semicon|48"]]


def test_a_link_into_a_closed_part_opens_it(seen):
    assert (seen["closed"], seen["opened"]) == (False, True)


def test_the_page_is_not_wider_than_its_window(seen):
    assert not seen["wide"]
