"""Names of classes in text of other forms, where some characters would end what they stand in."""

import html
import logging
import re
from collections.abc import Iterable

log = logging.getLogger(__name__)
NOT_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
XML_SPACES = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}  # else a reader may turn them into spaces
MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
LABELMAP = re.compile(r"[:\x00-\x1f\x7f\x85\u2028\u2029]+|^#")  # ends a field or a line, begins a comment


def xml_text(text: str) -> str:
    """A text in XML, in an element or an attribute in double quotes.

    Raises ValueError for characters that XML cannot hold at all.
    """
    unfit = NOT_XML.search(text)
    if unfit:
        raise ValueError(
            f"{text!r} has the character U+{ord(unfit[0]):04X}, which no XML file can hold; rename the class or the "
            "image"
        )
    return "".join(XML_SPACES.get(character, character) for character in html.escape(text))


def markdown_text(text: object) -> str:
    """A text in Markdown, on one line, in a cell of a table too: no table, link, formula or HTML comes of it."""
    return MARKDOWN.sub(r"\\\1", html.escape(" ".join(str(text).split()), quote=False))


def markdown_code(text: str, language: str) -> str:
    """Lines of text as a block of code, which no backticks in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def labelmap_names(classes: Iterable[str]) -> list[str]:
    """Names for labelmap.txt, whose lines end and whose fields are separated as they are; what changes is logged.

    Raises ValueError where two names become one, or one becomes `background`.
    """
    names: dict[str, str] = {"background": "background"}
    for name in classes:
        plain = LABELMAP.sub("_", name)
        if plain in names:
            raise ValueError(
                f"labelmap.txt cannot tell class {name!r} from {names[plain]!r}: both would be {plain!r} in it; "
                "rename one, or export coco.json, which holds any name"
            )
        if plain != name:
            log.warning("class %r is called %r in labelmap.txt, whose lines cannot hold its name", name, plain)
        names[plain] = name
    return list(names)[1:]
