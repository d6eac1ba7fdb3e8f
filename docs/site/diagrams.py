"""Diagrams of the pages as SVG, drawn by Mermaid itself in a small JavaScript engine: no browser, no network."""

import re

import mermaidx

THEME = "neutral"


def drawn(code: str, name: str) -> tuple[str, float]:
    """SVG of a diagram and its width in pixels; ids in it begin with `name`, as a page may hold several.

    It runs downwards whatever the code says: from left to right most are four times as wide as a page.
    Raises ValueError where Mermaid makes no picture of the code.
    """
    svg = mermaidx.render(re.sub(r"^flowchart LR", "flowchart TB", code), theme=THEME).svg()
    size = re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', svg)
    if size is None or "Syntax error" in svg:
        raise ValueError(f"no picture of this diagram:\n{code}")
    width = float(size[1])
    svg = re.sub(r' role="[^"]*"| aria-roledescription="[^"]*"', "", svg.replace("my-svg", name))
    return re.sub(r"max-width: [\d.]+px;", f"max-width: {width:.0f}px;", svg, count=1), width
