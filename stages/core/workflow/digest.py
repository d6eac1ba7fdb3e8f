"""What a step's code is: a digest over the syntax trees of its module and of all of ours that it imports.

Comments, layout and touched files leave the digest as it is; an edited function changes it for the steps that import
its module, and for no others. The versions of the libraries that decide the numbers are part of it. Imports are read
from the source, so that nothing heavy is loaded.
"""

import ast
import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = "stages"
# Libraries whose releases change numbers, by the name under which they are imported.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "h5py": "h5py", "lightning_fabric": "lightning-fabric", "numba": "numba",
    "numpy": "numpy", "PIL": "pillow", "pycocotools": "pycocotools", "pydensecrf": "pydensecrf2", "scipy": "scipy",
    "skimage": "scikit-image", "timm": "timm", "torch": "torch", "torchvision": "torchvision",
}  # fmt: skip


def code_digest(module: str) -> str:
    """Digest of a module's code, of the code of ours that it imports, and of the libraries that these import."""
    digest = hashlib.sha256()
    libraries: set[str] = set()
    for name in import_closure(module):
        source = _source(name)
        libraries |= source.libraries
        digest.update(f"{name}\0{source.code}\0".encode())
    for library in sorted(libraries):
        digest.update(f"{library}=={importlib.metadata.version(DISTRIBUTIONS[library])}\0".encode())
    return digest.hexdigest()[:16]


@cache
def import_closure(module: str) -> tuple[str, ...]:
    """Names of all modules of this package that `module` imports, directly or not, and its own; sorted."""
    if not _path(module).is_file():
        raise ModuleNotFoundError(f"no module {module} in {ROOT}; a rule names a step that does not exist")
    seen: set[str] = set()
    todo = [*_with_parents(module)]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [parent for target in _source(name).imports for parent in _with_parents(target)]
    return tuple(sorted(seen))


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@dataclass(frozen=True)
class _Source:
    code: str  # digest of the syntax tree without docstrings
    imports: tuple[str, ...]  # modules of ours
    libraries: frozenset[str]  # of DISTRIBUTIONS


@cache
def _source(module: str) -> _Source:
    tree = ast.parse(_path(module).read_bytes())
    imports = tuple(_own_imports(module, tree))
    libraries = frozenset(DISTRIBUTIONS.keys() & set(_imported(tree)))
    _drop_docstrings(tree)
    return _Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports, libraries)


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]


def _imported(tree: ast.Module) -> Iterator[str]:
    """First parts of the names of the libraries that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def _own_imports(module: str, tree: ast.Module) -> Iterator[str]:
    package = module if _path(module).name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*parts, *([node.module] if node.module else [])])
            names = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE and _path(name).is_file())
