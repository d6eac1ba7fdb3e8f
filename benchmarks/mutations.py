"""Mutants of a module's source: one operator, number, condition or bound is another, all else stays as it was written.

Left as they are: docstrings and other texts, annotations, decorators, what is raised, logged or warned of, and blocks
for type checkers or the command line.
"""

import ast
import builtins
import collections
from collections.abc import Iterator
from typing import NamedTuple

COMPARISONS = {
    "Lt": ("LtE", "GtE"), "LtE": ("Lt", "Gt"), "Gt": ("GtE", "LtE"), "GtE": ("Gt", "Lt"), "Eq": ("NotEq",),
    "NotEq": ("Eq",), "In": ("NotIn",), "NotIn": ("In",), "Is": ("IsNot",), "IsNot": ("Is",),
}  # fmt: skip
ARITHMETIC = {
    "Add": "Sub", "Sub": "Add", "Mult": "Div", "Div": "Mult", "FloorDiv": "Mult", "Mod": "FloorDiv", "Pow": "Mult",
    "BitAnd": "BitOr", "BitOr": "BitAnd", "BitXor": "BitAnd", "LShift": "RShift", "RShift": "LShift",
}  # fmt: skip
PAIRS = (
    ("min", "max"), ("any", "all"), ("argmin", "argmax"), ("minimum", "maximum"), ("amin", "amax"), ("floor", "ceil"),
    ("logical_and", "logical_or"), ("pairwise_min", "pairwise_max"),
)  # fmt: skip
NAMES = {name: other for pair in PAIRS for name, other in (pair, pair[::-1])}
LOGS = {"log", "logger", "logging", "warnings"}
NO_CODE = ("TYPE_CHECKING", "__name__")


class Mutant(NamedTuple):
    """A change of a module, and the module with it.

    Attributes:
        name: `line as it was | before -> after`, with a number where a line has more of them; line numbers may move.
        line: number of the line.
        source: of the whole module.
    """

    name: str
    line: int
    source: str


def mutants_of(source: str) -> list[Mutant]:
    """All mutants, in the order of the source."""
    data, tree = source.encode(), ast.parse(source)
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = source.splitlines()
    seen, found = set(), []
    names: collections.Counter[str] = collections.Counter()
    for top in tree.body:  # only that which changes is parsed again
        if _is_left_alone(top):
            continue
        first, last = starts[top.lineno - 1], starts[top.end_lineno]
        seen.add((first, ast.dump(top)))
        changes = [(starts[node.lineno - 1] + node.col_offset, node, text) for node, text in _changes(top)]
        for start, node, text in sorted(changes, key=lambda change: change[0]):
            end = starts[node.end_lineno - 1] + node.end_col_offset
            before = " ".join(data[start:end].decode().split())
            dump = first, ast.dump(ast.parse(data[first:start] + text.encode() + data[end:last]).body[0])
            if dump in seen:
                continue
            seen.add(dump)
            name = f"{lines[node.lineno - 1].strip()} | {before} -> {text}"
            names[name] += 1
            changed = (data[:start] + text.encode() + data[end:]).decode()
            found.append(Mutant(f"{name} ({names[name]})" if names[name] > 1 else name, node.lineno, changed))
    return found


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """This node and those below it that are replaced, and by which text."""
    yield from _replacements(node)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                yield from _changes(child)


def _is_left_alone(node: ast.AST) -> bool:
    """Whether nothing below a node is mutated."""
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.pattern() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Assert(test=test):
            return test is None
        case ast.If(test=test):
            return any(isinstance(part, ast.Name) and part.id in NO_CODE for part in ast.walk(test))
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner))):
            return owner in LOGS
    return False


def _replacements(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """What stands in place of the node itself, one after the other."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for number, op in enumerate(ops):
                for other in COMPARISONS[type(op).__name__]:
                    mine = [*ops[:number], getattr(ast, other)(), *ops[number + 1 :]]
                    yield node, _text(ast.Compare(left, mine, others))
        case ast.BinOp(left=left, op=op, right=right) if type(op).__name__ in ARITHMETIC and not _is_text(left, right):
            yield node, _text(ast.BinOp(left, _other(op), right))
        case ast.AugAssign(target=target, op=op, value=value) if type(op).__name__ in ARITHMETIC:
            yield node, ast.unparse(ast.AugAssign(target, _other(op), value))
        case ast.BoolOp(op=op, values=values):
            yield node, _text(ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield node, _text(operand)
        case ast.Constant(value=bool() as value):
            yield node, str(not value)
        case ast.Constant(value=int() as value):
            yield from ((node, _text(ast.Constant(number))) for number in (value + 1, value - 1))
        case ast.Constant(value=float() as value):
            yield node, repr(value * 2 or 1.0)
        case (
            ast.Call(func=ast.Name(id="abs"), args=[operand]) | ast.Call(func=ast.Attribute(attr="abs"), args=[operand])
        ):
            yield node, _text(operand)
        case ast.Call(func=ast.Attribute(attr="abs", value=operand), args=[]):
            yield node, _text(operand)
        case ast.Name(id=name) if name in NAMES and hasattr(builtins, name):  # others may be variables
            yield node, NAMES[name]
        case ast.Attribute(value=value, attr=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            yield node, ast.unparse(ast.Attribute(value, NAMES[name]))
        case ast.If(test=test) | ast.IfExp(test=test):
            yield from ((test, value) for value in ("True", "False"))
        case ast.While(test=test):
            yield test, "False"
        case ast.comprehension(ifs=tests):
            yield from ((test, "True") for test in tests)
        case ast.Slice(lower=lower, upper=upper):
            for bound, open_end in ((lower, "0"), (upper, "None")):
                if bound is not None:
                    yield bound, open_end
                    if not isinstance(bound, ast.Constant):
                        yield bound, f"({ast.unparse(bound)} + 1)"


def _other(op: ast.operator) -> ast.operator:
    return getattr(ast, ARITHMETIC[type(op).__name__])()


def _is_text(*parts: ast.expr) -> bool:
    """Whether texts or lists are joined."""
    kinds = (ast.JoinedStr, ast.List, ast.ListComp)
    return any(isinstance(p, kinds) or (isinstance(p, ast.Constant) and isinstance(p.value, str)) for p in parts)


def _text(node: ast.expr) -> str:
    """Source of an expression that stands anywhere."""
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Call | ast.Attribute) or text.isdigit() else f"({text})"
