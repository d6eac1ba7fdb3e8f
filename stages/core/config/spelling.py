"""The nearest right word for a misspelt one."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """The end of a sentence about an unknown word: "; did you mean `mil`?", or nothing where no known word is near."""
    names = {str(name).lower(): str(name) for name in known if name is not None}
    near = difflib.get_close_matches(str(word).lower(), names, n=1)
    return f"; did you mean `{names[near[0]]}`?" if near else ""
