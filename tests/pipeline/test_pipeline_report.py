"""`snakemake --report` of the toy run: categories, captions, labels, files; it loads nothing from elsewhere."""

import base64
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.pipeline.conftest import ROOT, snakemake

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OFFLINE = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr", "--virtual-time-budget=8000",
]  # fmt: skip
LOADS = re.compile(
    r"""<(?:script|img|link|iframe|source|video|audio|object|embed)\b[^>]*?\b(?:src|href|data)\s*=\s*["']?([^"'\s>]+)""",
    re.I,
)
STYLES = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*["']?([^"')\s]+)""", re.I)


@pytest.fixture(scope="module")
def report(project: Path) -> Path:
    """The report of everything that the toy run has made, as one file."""
    for arguments in (["-c2", "report"], ["report", "--report", "report.html"]):
        done = snakemake(project, *arguments, "--configfile", "toy.yaml", source=project)
        assert done.returncode == 0, done.stdout + done.stderr
    return project / "report.html"


@pytest.fixture(scope="module")
def held(report) -> dict[str, dict]:
    """What the page holds, by the names of its scripts' variables."""
    text, found = report.read_text(encoding="utf-8"), {}
    for script, name in (("results", "results"), ("categories", "categories"), ("workflow-desc", "workflow_desc")):
        start = re.search(rf'<script id="{script}">\s*var {name} = ', text)
        found[name] = json.JSONDecoder().raw_decode(text, start.end())[0]
    return found


def test_categories_follow_the_graph_and_hold_what_the_run_has(held):
    names = list(held["categories"])
    assert sorted(names) == [
        "1 Comparison of runs", "2 Proposals", "3 Classifiers and cues", "4 Semantic maps", "5 Pseudo labels",
        "6 Trainings", "7 Metrics", "8 Galleries", "9 Settings",
    ]  # fmt: skip
    paths = {name: [path for paths in held["categories"][name].values() for path in paths] for name in names}
    assert sorted(paths["8 Galleries"]) == [
        f"results/toy/{run}/gallery/sample/index.html" for run in ("bestie", "cim", "prm")
    ]
    assert sorted(paths["9 Settings"]) == [f"results/toy/{run}/settings.yaml" for run in ("bestie", "cim", "prm")]
    assert "results/toy/cim/val/precision_recall.png" in paths["7 Metrics"]
    assert "results/toy/classifier/cam/curves.png" in paths["6 Trainings"]
    assert paths["1 Comparison of runs"] == ["results/toy/comparison.html"]


def test_every_file_has_a_caption_and_labels_of_run_and_split(held):
    for path, entry in held["results"].items():
        assert len(entry["caption"]) > 60, path
        assert "{" not in entry["caption"] and "System Message" not in entry["caption"], entry["caption"]
        assert "shows" in entry["labels"], path
    assert held["results"]["results/toy/cim/val/metrics.json"]["labels"] == {
        "run": "cim", "split": "val", "shows": "all metrics",
    }  # fmt: skip
    assert held["results"]["results/toy/semantics/cam/curves.png"]["labels"] == {"shows": "maps cam"}
    assert "<strong>cim</strong>" in held["results"]["results/toy/cim/network/curves.png"]["caption"]
    assert "results/toy" in held["workflow_desc"]


def test_the_files_themselves_are_in_the_page(held, report):
    for path, entry in held["results"].items():
        head, _, body = entry["data_uri"].partition(",")
        content = base64.b64decode(body) if head.endswith("base64") else unquote(body).encode()
        assert content == (report.parent / path).read_bytes(), path


def test_pages_in_the_report_hold_all_that_they_show(held, report):
    """In a report of one file nothing lies beside a page."""
    pages = [path for path in held["results"] if path.endswith(".html")]
    assert len(pages) == 4
    for path in pages:
        # Scripts of the page itself, which tests in a browser watch.
        text = re.sub(r"<script>.*?</script>", "", (report.parent / path).read_text(encoding="utf-8"), flags=re.DOTALL)
        strange = [url for url in [*LOADS.findall(text), *STYLES.findall(text)] if not url.startswith(("data:", "#"))]
        assert strange == [], path


def test_the_report_names_nothing_that_a_browser_would_fetch(report):
    text = re.sub(r"<script.*?</script>", "", report.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [url for url in [*LOADS.findall(text), *STYLES.findall(text)] if not url.startswith("data:")] == []
    assert not re.search(r"<script[^>]+src=", report.read_text(encoding="utf-8"))


def test_as_a_zip_it_is_the_same_with_files_beside(project, report):
    done = snakemake(project, "report", "--report", "report.zip", "--configfile", "toy.yaml", source=project)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(project / "report.zip") as archive:
        names = archive.namelist()
    assert "report/report.html" in names
    assert sum(name.endswith("/index.html") for name in names) == 3


def test_every_caption_is_used_and_every_mark_has_one(project_root):
    captions = {path.stem for path in (project_root / "rules" / "report").glob("*.rst")}
    marks = "".join(path.read_text() for path in [*(project_root / "rules").glob("*.smk"), project_root / "Snakefile"])
    calls = re.findall(r"in_report\(\s*((?:f?\"[^\"]*\",?\s*)+)\)", marks)
    used = {re.findall(r'"([^"]*)"', call)[-1] for call in calls} | {"workflow", "settings"}
    assert used == captions


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the report is not opened in a browser")
def test_it_opens_in_a_browser_without_network_and_without_an_error(report, tmp_path):
    page = tmp_path / "report.html"
    clicks = (
        "for (const name of Object.keys(categories)) app.showCategory(name);"
        "app.showResultInfo('results/toy/cim/val/metrics.json');"
    )
    script = f"<script>setTimeout(() => {{ {clicks} }}, 500)</script>"
    page.write_text(report.read_text(encoding="utf-8") + script, encoding="utf-8")
    command = [CHROMIUM, *OFFLINE, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    # Snakemake brings Tailwind in the form that compiles in the browser, which says so, and loads nothing.
    assert [line for line in said if "cdn.tailwindcss.com should not be used in production" not in line] == []
    shown = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    assert "All metrics of run" in shown and "four definitions of" in shown


def test_the_page_names_the_commands_that_have_made_it(project_root):
    page = (project_root / "docs" / "terminal_and_report.md").read_text(encoding="utf-8")
    assert "snakemake -c4 report\nsnakemake -c1 report --report report.html\n" in page


def test_a_file_that_is_marked_but_missing_is_named(tmp_path):
    done = snakemake(tmp_path, "--report", "report.html", "--configfile", str(ROOT / "tests" / "pipeline" / "toy.yaml"))
    assert done.returncode != 0
    assert "marked for report but does not exist" in done.stdout + done.stderr
