"""Sphinx makes a site of the pages of this repository as they stand: `make docs`.

The order of the pages is that of docs/README.md, so that there is one list of them. Diagrams become SVG here and not in
the reader's browser, and the site fetches nothing from elsewhere: fonts are the reader's own, the search is local.
"""

import html
import re
import sys
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from diagrams import drawn  # noqa: E402

project = "tagmask"
author = "the tagmask maintainers"
copyright = "the tagmask maintainers, Apache-2.0"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "benchmarks/*.md", "data/README.md"]
exclude_patterns = ["site", "results", ".*", "stages", "tests", "rules", "presets", "profiles"]
myst_heading_anchors = 4  # GitHub's names, by which pages link to each other
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "tagmask"
html_static_path = ["tagmask.css"]
html_css_files = ["tagmask.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": False}
pygments_style = "default"
pygments_dark_style = "monokai"

ENTRY = re.compile(r"^\* \[[^\]]+\]\(([\w./]+\.md)\)", re.MULTILINE)
INDEX = "docs/README"


def contents() -> list[tuple[str, list[str]]]:
    """Captions of docs/README.md, each with its pages as Sphinx names them: the path from the root, without `.md`."""
    index = (ROOT / f"{INDEX}.md").read_text(encoding="utf-8")
    found = []
    for part in re.split(r"^\*\*", index, flags=re.MULTILINE)[1:]:
        caption, _, rest = part.partition("**")
        paths = [(ROOT / INDEX).parent.joinpath(path).resolve().relative_to(ROOT) for path in ENTRY.findall(rest)]
        found.append((caption, [name for path in paths if (name := path.with_suffix("").as_posix()) != root_doc]))
    return found


def add_contents(app, name, source):
    """Put the list of pages, which a reader on GitHub has in docs/README.md, behind the text of the first page.

    The pages of benchmarks/ stand below their own first page in the same way.
    """
    trees = []
    if name == root_doc:
        trees = [([":hidden:", f":caption: {caption}"], pages) for caption, pages in contents()]
    if name == "benchmarks/README":
        pages = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.md") if path.stem != "README")
        trees = [([":hidden:"], [f"benchmarks/{page}" for page in pages])]
    if name == INDEX:
        source[0] = "---\norphan: true\n---\n\n" + source[0]
    for options, pages in trees:
        lines = ["```{toctree}", *options, "", *(f"/{page}" for page in pages), "```"]
        source[0] += "\n\n" + "\n".join(lines) + "\n"


def draw_diagrams(app, doctree):
    """Mermaid's code becomes a picture; a screen reader gets the code."""
    for number, block in enumerate(list(doctree.findall(nodes.literal_block))):
        if block.get("language") != "mermaid":
            continue
        svg, width = drawn(block.astext(), f"diagram-{number}")
        page = (
            f'<div class="diagram" tabindex="0" role="img" aria-label="{html.escape(spoken(block.astext()))}">'
            f'<div style="min-width: {round(0.7 * width)}px">{svg}</div></div>'
        )
        block.replace_self(nodes.raw("", page, format="html"))


def spoken(code: str) -> str:
    """A diagram in words: its arrows, without brackets and quotes."""
    words = re.sub(r"[\[\](){}\"|]+", " ", code.partition("\n")[2])
    return re.sub(r"\s+", " ", re.sub(r"[-.=]+>", " to ", words)).strip()


def finish(app, exception):
    """Write index.html, which leads to the first page, and remove what no page opens: the list for other projects."""
    if exception is None:
        out = Path(app.outdir)
        (out / "objects.inv").unlink(missing_ok=True)
        (out / "index.html").write_text(
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={root_doc}.html">'
            f'<title>tagmask</title><a href="{root_doc}.html">tagmask</a>\n',
            encoding="utf-8",
        )


def setup(app):
    """Connect the above."""
    app.connect("source-read", add_contents)
    app.connect("doctree-read", draw_diagrams)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
