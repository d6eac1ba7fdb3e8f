"""What of a module's source counts as its code, and what is prose, which changes no result.

Prose, anywhere:

- comments, layout, docstrings, `pass`, imports under `if TYPE_CHECKING:`;
- messages: the arguments of what is raised and of every call of a class named `...Error`, `...Exception` or
  `MissingImage`; the text of an `assert`; log lines and the logger. A log line that calls a function that LOOKS does
  not list counts, as it might draw a random number;
- descriptions: the arguments that TEXTS lists, such as `about` of a record's field.

Private functions and private texts count where something that counts uses them: a function that only words errors is
prose. So are assignments right before a line that raises.

Prose in a module of settings, whose values reach a rule as canonical JSON: fields and validators of sections, sections
that hold nothing else, and type aliases and imports that nothing else uses. Methods of sections, functions and
constants count.

Other texts count, as they may stand in results. So do texts that are put together elsewhere than in the line that
raises or logs them, right before it raises, or in a private function that it calls.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

# Argument that describes, by the name of the function that takes it.
TEXTS = {"Field": "description", "array": "about", "text": "about", "progress": "label", "add_argument": "help"}
LOG_LINES = {"debug", "info", "warning", "error", "exception"}
# Functions that only look at what they are given.
LOOKS = {
    "clock", "count", "items", "join", "len", "listed", "min", "peak_megabytes", "perf_counter", "readable_name",
    "rstrip", "shown", "strip", "sum", "tolist",
}  # fmt: skip
VALIDATORS = {"model_validator", "field_validator"}
SECTIONS = "Settings"
ALIASES = {"Annotated", "Literal"}


@dataclass(frozen=True)
class Code:
    """What counts of a module, as text, and all of its import statements."""

    text: str
    imports: tuple[ast.Import | ast.ImportFrom, ...]


def without_prose(source: bytes, *, settings: bool) -> Code:
    """The code of a module; `settings` says that it is a module of settings.

    Raises SyntaxError where it is no Python.
    """
    body = ast.parse(source).body
    if settings:
        body = _without_sections(body)
    statements = [statement for node in body for statement in _statements(node, settings)]
    text = "\n".join(statement.text for statement in _counted(statements))
    return Code(text, tuple(node for statement in statements for node in statement.imports))


@dataclass(frozen=True)
class _Statement:
    """A statement of a module: its text, and the name that must be used elsewhere for it to count, if any."""

    text: str
    names: frozenset[str]  # that it uses
    imports: tuple[ast.Import | ast.ImportFrom, ...]  # in it
    unless_used: str | None


def _statements(node: ast.stmt, settings: bool) -> Iterator[_Statement]:
    """The node's statement, one for each name where it imports several, none where it is prose."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        origin = f"from {'.' * node.level}{node.module or ''} " if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            unless_used = name if settings or name in ("logging", "TYPE_CHECKING") else None
            yield _Statement(f"{origin}import {alias.name} as {name}", frozenset(), (node,), unless_used)
    elif not _is_prose(node):
        writer = _Writer()
        writer.write(node)
        unless_used = _private(node) or (_alias(node) if settings else None)
        yield _Statement(" ".join(writer.words), frozenset(writer.names), tuple(writer.imports), unless_used)


def _counted(statements: list[_Statement]) -> Iterator[_Statement]:
    """The statements without those that count where they are used, and are not."""
    todo = [statement for statement in statements if statement.unless_used is None]
    used: set[str] = set()
    while todo:
        new = todo.pop().names - used
        used |= new
        todo += [statement for statement in statements if statement.unless_used in new]
    return (statement for statement in statements if statement.unless_used is None or statement.unless_used in used)


class _Writer:
    """Writes syntax trees as words, without prose: each node as its kind and all that it holds."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.names: set[str] = set()
        self.imports: list[ast.Import | ast.ImportFrom] = []

    def write(self, node: ast.AST) -> None:
        """Append the node's words, and note the names that it uses and what it imports."""
        if isinstance(node, ast.Name):
            self.names.add(node.id)
        elif isinstance(node, ast.Call | ast.Raise | ast.Assert):
            _drop_text(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.append(node)
        self.words.append(type(node).__name__)
        for field in node._fields:
            if field == "ctx":  # whether a name is read or written, which its place tells
                continue
            value = getattr(node, field)
            if isinstance(value, list):
                self.words.append("[")
                for item in _without_wording(value):
                    self._write_value(item)
                self.words.append("]")
            else:
                self._write_value(value)
        self.words.append(";")

    def _write_value(self, value: object) -> None:
        if not isinstance(value, ast.AST):
            self.words.append(repr(value))
        elif not (isinstance(value, ast.stmt) and _is_prose(value)):
            self.write(value)


def _is_prose(node: ast.stmt) -> bool:
    """Whether a statement changes no result whatever it says: a docstring, a log line, `pass`, an import for types."""
    if isinstance(node, ast.Expr):
        value = node.value
        return _is_log_line(value) or (isinstance(value, ast.Constant) and isinstance(value.value, str))
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.Call) and _name(node.value.func) == "getLogger"
    if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING" and not node.orelse:
        return all(isinstance(part, ast.Import | ast.ImportFrom) for part in node.body)
    return isinstance(node, ast.Pass)


def _is_log_line(node: ast.expr) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOG_LINES):
        return False
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    inner = [part for argument in arguments for part in ast.walk(argument)]
    if any(isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for part in inner):
        return False
    looks = all(_name(part.func) in LOOKS for part in inner if isinstance(part, ast.Call))
    return looks and _name(node.func.value) == "log"


def _drop_text(node: ast.Call | ast.Raise | ast.Assert) -> None:
    """Drop the message or description among the arguments of a call, of what is raised, or of an assertion."""
    if isinstance(node, ast.Assert):
        node.msg = None
    elif isinstance(node, ast.Raise):
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
    elif _is_exception(name := _name(node.func)):
        node.args, node.keywords = [], []
    elif name in TEXTS:
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != TEXTS[name]]


def _without_wording(block: list) -> list:
    """A block that ends by raising without the names assigned right before, which can only serve the message."""
    if not block or not isinstance(last := block[-1], ast.Raise) or not isinstance(last.exc, ast.Call):
        return block
    raised = {_name(last.exc.func), _name(last.cause)}
    end = len(block) - 1
    while end and (names := _assigned(block[end - 1])) and not names & raised:
        end -= 1
    return [*block[:end], last]


def _assigned(node: ast.stmt) -> set[str]:
    """Names that a statement assigns, where it assigns to nothing else."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    names = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return {_name(part) for part in names} if all(isinstance(part, ast.Name) for part in names) else set()


def _is_exception(name: str) -> bool:
    return name.endswith(("Error", "Exception")) or name == "MissingImage"


def _name(node: ast.AST | None) -> str:
    """Last part of a possibly dotted name, or nothing."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _without_sections(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a module of settings without the declarations in sections, and without empty sections.

    A section that inherits from more than empty ones stays: it may inherit methods. What is imported under a name that
    ends in SECTIONS is a section.
    """
    imported = [alias.asname or alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
    sections = {"Section", *(name for name in imported if name.endswith(SECTIONS))}
    empty, kept = {"Section"}, []
    for node in body:
        if isinstance(node, ast.ClassDef) and (bases := {_name(base) for base in node.bases}) & sections:
            sections.add(node.name)
            node.body = [part for part in node.body if not (_is_declaration(part) or _is_prose(part))]
            if not node.body and bases <= empty and not node.decorator_list:
                empty.add(node.name)
                continue
        kept.append(node)
    return kept


def _is_declaration(node: ast.stmt) -> bool:
    """Whether a statement of a section declares a field or checks its values."""
    if isinstance(node, ast.AnnAssign):
        return "ClassVar" not in (_name(node.annotation), _name(getattr(node.annotation, "value", node.annotation)))
    if isinstance(node, ast.FunctionDef):
        decorators = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
        return any(_name(item) in VALIDATORS for item in decorators)
    return False


def _private(node: ast.stmt) -> str | None:
    """Name of a private text, or of a private function unless decorated: a decorator may keep it."""
    name = ""
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        name = node.name
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        name = _name(node.targets[0])
    return name if name.startswith("_") else None


def _alias(node: ast.stmt) -> str | None:
    """Name of a type: `Name = Annotated[...]`, `Literal[...]` or a union of classes."""
    if not isinstance(node, ast.Assign) or (name := _name(node.targets[0])).isupper():
        return None
    value = node.value
    union = isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr)
    return name if union or (isinstance(value, ast.Subscript) and _name(value.value) in ALIASES) else None
