"""The files of a gallery: a page, and for each image its layers and its picture in the folder `data` beside it.

A page that is opened from a disk may load scripts, but read no files. So the data of an image are a script of one call,
`tagmask.put(number, "...")`, whose text is deflated JSON in base64: no name or text of a user stands in code.
"""

import base64
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stages.core.artifacts.files import write_text
from stages.core.workflow.pages import render_page

FOLDER = Path(__file__).parent
TEMPLATE = FOLDER / "page.html.jinja"
SCRIPTS = ("unpack.js", "draw.js", "find.js", "marks.js", "rows.js", "viewer.js", "main.js")
IMAGES_PER_FOLDER = 1000


class GalleryFiles:
    """Writes the images of a gallery, in any order and by any thread, then its page."""

    def __init__(self, page: Path, data: Path, *, single_file: bool) -> None:
        self.page, self.data, self.single_file = page, data, single_file
        self.inline: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)

    def add(self, number: int, layers: list[dict[str, Any]], *, thumbnail: bytes, picture: bytes) -> None:
        """Write the layers of image `number` (from 0 on), its small and its large picture (JPEG)."""
        held: dict[str, Any] = {"layers": layers, "thumbnail": _text(thumbnail)}
        if self.single_file:
            held["picture"] = _text(picture)
        call = f'tagmask.put({number}, "{packed(held)}");'
        if self.single_file:
            self.inline[number] = call
            return
        start = self.data / f"{number // IMAGES_PER_FOLDER:03d}" / f"{number:06d}"
        start.parent.mkdir(exist_ok=True)
        start.with_suffix(".js").write_text(call + "\n", encoding="ascii")
        start.with_suffix(".jpg").write_bytes(picture)
        self.sizes[number] = len(call) + len(picture)

    def finish(self, head: dict[str, Any], rows: list[dict[str, Any]]) -> int:
        """Write the page; returns the bytes of all files. `head` is what all rows share, a row an image."""
        page = render_page(
            TEMPLATE,
            head=head,
            style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
            script=Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)),
            inline=[Markup(self.inline[number]) for number in sorted(self.inline)],
            packed_head=Markup(f'"{packed(head)}"'),
            packed_rows=Markup(f'"{packed(rows)}"'),
        )
        write_text(self.page, page)
        return sum(self.sizes.values()) + len(page)


def packed(data: Any) -> str:
    """Data as deflated JSON in base64; nan is refused (ValueError)."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return _text(zlib.compress(text.encode("utf-8"), 4))


def unpacked(text: str) -> Any:
    """What `packed` has packed."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
