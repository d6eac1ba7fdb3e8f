"""What of a module's source counts, on small sources."""

import ast

import pytest

from stages.core.workflow.prose import without_prose

MODULE = '''
"""Doc of the module."""
import logging
import math

log = logging.getLogger(__name__)
_HINT = "a hint"
NAME = "a name"


class Thing:
    """Doc of the class."""

    width: int = 3
    """Doc of an attribute."""

    def area(self, items):
        """Doc of the method."""
        # a comment
        assert items, "text of an assertion"
        log.info("%d items of %s", len(items), f"size {self.width}")
        if self.width < 0:
            shape = f"a width of {self.width}"
            raise ValueError(f"width is wrong: {shape}, {_worded(items)}; {_HINT}") from None
        if not items:
            raise _unreadable("no items")
        return {"title": "text of a page", "area": math.prod([self.width, *_squares(items)])}


def _squares(items):
    return [item**2 for item in items]


def _worded(items):
    return f"found {items}"


def _unreadable(what):
    return OSError(f"cannot be read: {what}")


def fields():
    return array("int32", "rows", about="text of a field"), list(progress(fields, label="text of progress"))
'''


def counted(source, settings=False):
    return without_prose(source.encode(), settings=settings).text


@pytest.mark.parametrize(
    "old",
    [
        "Doc of the module",
        "Doc of the class",
        "Doc of an attribute",
        "Doc of the method",
        "a comment",
        "text of an assertion",
        "items of",
        "size ",
        "a width of",
        "width is wrong",
        "a hint",
        "found ",
        "no items",
        "cannot be read",
        "text of a field",
        "text of progress",
    ],
)
def test_prose_does_not_count(old):
    assert old in MODULE
    assert counted(MODULE.replace(old, "other words")) == counted(MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("text of a page", "another", id="text of a result"),
        pytest.param('"area":', '"size":', id="key of a result"),
        pytest.param("a name", "another", id="text of a constant"),
        pytest.param("ValueError(", "TypeError(", id="class of an error"),
        pytest.param("assert items", "assert not items", id="assertion"),
        pytest.param("self.width < 0", "self.width < 1", id="condition of an error"),
        pytest.param("item**2", "item**3", id="private function that is used"),
        pytest.param("width: int", "width: float", id="annotation"),
        pytest.param('"int32"', '"int64"', id="type of a field"),
        pytest.param("log.info(", "log.info(next(items), ", id="log line that calls what may change something"),
        pytest.param("log.info(", "log.info(width := 2, ", id="log line that assigns"),
        pytest.param("log.info(", "items.info(", id="call of what is no logger"),
        pytest.param("import math", "import cmath as math", id="import"),
        pytest.param("            raise _unreadable", "            self.width = 1\n            raise _unreadable", id="more than a name assigned before an error"),
    ],
)  # fmt: skip
def test_code_and_texts_of_results_count(old, new):
    assert old in MODULE
    assert counted(MODULE.replace(old, new)) != counted(MODULE)


def test_an_added_log_line_with_its_logger_does_not_count():
    lines = [line for line in MODULE.splitlines() if "log" not in line]
    assert counted("\n".join(lines)) == counted(MODULE)


def test_an_assigned_error_class_counts_as_it_is_raised():
    source = "def f():\n    kind = ValueError\n    raise kind('text')\n"
    assert counted(source) != counted(source.replace("= ValueError", "= TypeError"))


def test_a_decorated_private_function_counts():
    source = "@keep\ndef _f():\n    return 1\n"
    assert counted(source) != counted(source.replace("1", "2"))


def test_sections_count_as_classes_outside_of_settings():
    source = "class A(Section):\n    key: int\n"
    assert counted(source, settings=True) == ""
    assert counted(source) != counted(source.replace("int", "float"))


def test_imports_are_listed_wherever_they_stand():
    code = without_prose(b"import a\ndef _f():\n    from b import c\n", settings=False)
    assert [ast.unparse(node) for node in code.imports] == ["import a", "from b import c"]
