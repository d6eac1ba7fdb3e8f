"""The site that `make docs` builds: every page in its menu, no dead link, and nothing that a browser fetches elsewhere.

TAGMASK_SITE names the folder (`make test-docs`); without it only what the pages themselves say is tested.
"""

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.blocks import ROOT, all_blocks

LOADS = {
    "script": ("src",), "img": ("src", "srcset"), "source": ("src", "srcset"), "iframe": ("src",), "embed": ("src",),
    "object": ("data",), "video": ("src", "poster"), "audio": ("src",), "track": ("src",), "input": ("src",), "image": ("href", "xlink:href"), "use": ("href", "xlink:href"),
}  # fmt: skip
QUIET_LINKS = {
    "next",
    "prev",
    "index",
    "search",
    "canonical",
    "author",
    "copyright",
    "top",
}  # a browser fetches no such
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
FETCHES = re.compile(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)|@import\s+[\"']((?:https?:)?//[^\"']+)")


class Page(HTMLParser):
    """What a page loads by itself, where its links lead, and which places in it have a name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)
        self.loads += [found for pair in FETCHES.findall(text) for found in pair if found]

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.names |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and not set(values.get("rel", "").split()) <= QUIET_LINKS:
            self.loads.append(values.get("href", ""))
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self.loads.append(values.get("content", "").partition("url=")[2])
        self.loads += [
            part.split()[0] for name in LOADS.get(tag, ()) for part in values.get(name, "").split(",") if part.strip()
        ]


@pytest.fixture(scope="module")
def site() -> Path:
    if "TAGMASK_SITE" not in os.environ:
        pytest.skip("needs the site: make test-docs")
    return Path(os.environ["TAGMASK_SITE"])


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Page]:
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8")) for path in paths}


def foreign(loads):
    return sorted({load for load in loads if ELSEWHERE.match(load)})


def dead(pages, site):
    """Links and loads of all pages that lead to no file, or to no place in it."""
    found = []
    for name, page in pages.items():
        for link in {*page.links, *page.loads}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            target = ((site / name).parent / unquote(parts.path)).resolve() if parts.path else site / name
            if not target.is_file():
                found.append(f"{name}: {link}")
                continue
            inside = target.relative_to(site.resolve() if parts.path else site).as_posix()
            if parts.fragment and inside in pages and unquote(parts.fragment) not in pages[inside].names:
                found.append(f"{name}: {link}")
    return sorted(found)


def test_every_page_stands_in_the_site_and_in_its_menu(site, pages):
    wanted = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in (ROOT / "docs").glob("*.md")}
    wanted |= {"README.html", "CONTRIBUTING.html", "CHANGELOG.html", "benchmarks/README.html", "data/README.html"}
    assert wanted <= set(pages)
    menu = re.search(
        r'<div class="sidebar-tree">(.*?)</aside>', (site / "README.html").read_text(encoding="utf-8"), re.DOTALL
    )
    listed = {unquote(link.partition("#")[0]) for link in Page(menu[1]).links}
    assert wanted - listed == {"README.html", "docs/README.html"}  # the page itself; the menu in words


def test_no_link_of_the_site_is_dead(site, pages):
    assert sum(len(page.links) for page in pages.values()) > 1000
    assert dead(pages, site) == []


def test_a_browser_fetches_nothing_from_elsewhere(site, pages):
    assert foreign(load for page in pages.values() for load in page.loads) == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    assert foreign(found for text in styles for pair in FETCHES.findall(text) for found in pair if found) == []
    for path in site.rglob("*.js"):
        called = re.findall(
            r"(?:fetch|import|importScripts|open|sendBeacon)\([^)]*[\"'](?:https?:)?//[^\"']+",
            path.read_text(encoding="utf-8"),
        )
        assert called == [], path


def test_diagrams_are_pictures_and_not_code(site, pages):
    drawn = sum((site / name).read_text(encoding="utf-8").count('<div class="diagram"') for name in pages)
    assert drawn == len(all_blocks("mermaid"))


def test_a_site_that_is_wrong_is_found(tmp_path):
    text = (
        '<link rel="stylesheet" href="https://fonts.example/a.css"><script src="//cdn.example/b.js"></script>'
        "<style>@font-face{src:url(https://c.example/d.woff)}</style><a href='e.html'></a><a href='#f'></a><a id='g' href='#g'></a>"
    )
    (tmp_path / "a.html").write_text(text)
    page = Page(text)
    assert foreign(page.loads) == ["//cdn.example/b.js", "https://c.example/d.woff", "https://fonts.example/a.css"]
    assert dead({"a.html": page}, tmp_path) == ["a.html: #f", "a.html: e.html"]
