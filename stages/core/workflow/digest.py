"""What a step's code is: a digest over the code of its module and of all of ours that it imports, without prose.

Comments, layout, messages, descriptions, settings that are declared (prose.py has the rules) and touched files leave
the digest as it is; an edited function changes it for the steps that import its module, and for no others. The versions
of the libraries that decide the numbers are part of it, and so are the templates, scripts, styles and tables beside a
module that it names. Imports are read from the source, so that nothing heavy is loaded.
"""

import ast
import dataclasses
import hashlib
import importlib.metadata
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stages.core.workflow.kept import Kept
from stages.core.workflow.prose import without_prose

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
PACKAGE = "stages"
# Libraries whose releases change numbers, by the name under which they are imported.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "h5py": "h5py", "lightning_fabric": "lightning-fabric", "numba": "numba",
    "numpy": "numpy", "PIL": "pillow", "pycocotools": "pycocotools", "pydensecrf": "pydensecrf2", "scipy": "scipy",
    "skimage": "scikit-image", "timm": "timm", "torch": "torch", "torchvision": "torchvision",
}  # fmt: skip
SETTINGS = f"{PACKAGE}.core.config"  # holds settings, as do all modules named `settings`
BESIDE = re.compile(rb"""["']([\w.]+\.(?:jinja|json|js|css))["']""")  # may name a file beside the module
Reader = Callable[[str], bytes | None]


def code_digest(module: str) -> str:
    """Digest of a module's code, of the code of ours that it imports, and of the libraries that these import."""
    sources, kept = _project()
    digest = sources.digest(module)
    kept.save()
    return digest


def read_project(path: str) -> bytes | None:
    """A file of the project, by its path there; None where there is none."""
    file = ROOT / path
    return file.read_bytes() if file.is_file() else None


@cache
def _project() -> tuple["Sources", Kept]:
    """The project's modules; what is parsed once is kept for the next invocation."""
    kept = Kept(HERE / "__pycache__" / "modules.json", made_by=[HERE / "digest.py", HERE / "prose.py"])

    def parse(name: str, source: bytes, is_package: bool) -> _Module:
        file = f"{name}.__init__" if is_package else name
        return _Module(**kept.answer(file, source, lambda: dataclasses.asdict(_parsed(name, source, is_package))))

    return Sources(read_project, parse=parse), kept


class Sources:
    """The package's modules as `read` gives them from paths such as stages/ops/nms.py; each is read once."""

    def __init__(self, read: Reader, *, parse: "Parser | None" = None) -> None:
        """`parse` gives what is read from a module's name, its source, and whether it is a package."""
        self._read, self._parse = read, parse or _parsed
        self._modules: dict[str, _Module | None] = {}

    def digest(self, module: str) -> str:
        """See `code_digest`."""
        digest = hashlib.sha256()
        closure = [(name, self._module(name)) for name in self.import_closure(module)]
        modules = [(name, found) for name, found in closure if found is not None]
        for name, found in modules:
            if found.code:
                digest.update(f"{name}\0{found.code}\0".encode())
            for file in found.beside:
                path = f"{name.rpartition('.')[0].replace('.', '/')}/{file}"
                content = self._read(path)
                if content is not None:
                    digest.update(path.encode() + b"\0" + content + b"\0")
        for library in sorted({library for _, found in modules for library in found.libraries}):
            digest.update(f"{library}=={_version(library)}\0".encode())
        return digest.hexdigest()[:16]

    def import_closure(self, module: str) -> tuple[str, ...]:
        """Names of all modules of the package that `module` imports, directly or not, and its own; sorted.

        Raises ModuleNotFoundError where there is no such module.
        """
        if self._module(module) is None:
            raise ModuleNotFoundError(f"no module {module} in {ROOT}; a rule names a step that does not exist")
        seen: set[str] = set()
        todo = [module]
        while todo:
            name = todo.pop()
            found = self._module(name)
            if name not in seen and found is not None:
                seen.add(name)
                todo += [*found.imports, *_parents(name)]
        return tuple(sorted(seen))

    def _module(self, name: str) -> "_Module | None":
        """A module; None where there is none, as where a name that is imported is a function."""
        if name not in self._modules:
            self._modules[name] = self._find(name)
        return self._modules[name]

    def _find(self, name: str) -> "_Module | None":
        parent, path = name.rpartition(".")[0], name.replace(".", "/")
        if parent and (package := self._module(parent)) is not None and not package.is_package:
            return None
        for file, is_package in ((f"{path}.py", False), (f"{path}/__init__.py", True)):
            source = self._read(file)
            if source is not None:
                return self._parse(name, source, is_package)
        return None


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


@cache
def _version(library: str) -> str:
    return importlib.metadata.version(DISTRIBUTIONS[library])


@dataclass(frozen=True)
class _Module:
    code: str  # digest of its code without prose; empty where it has none
    imports: list[str]  # of ours: modules, and names in them
    libraries: list[str]  # of DISTRIBUTIONS
    is_package: bool
    beside: list[str]  # names of files that may stand beside the module


Parser = Callable[[str, bytes, bool], _Module]


@cache
def _parsed(name: str, source: bytes, is_package: bool) -> _Module:
    code = without_prose(source, settings=name.endswith(".settings") or name.startswith(f"{SETTINGS}."))
    package = name if is_package else name.rpartition(".")[0]
    imported = {target for node in code.imports for target in _targets(node, package)}
    tops = {target: target.split(".")[0] for target in imported}
    return _Module(
        code=hashlib.sha256(code.text.encode()).hexdigest() if code.text else "",
        imports=sorted(target for target, top in tops.items() if top == PACKAGE),
        libraries=sorted(DISTRIBUTIONS.keys() & set(tops.values())),
        is_package=is_package,
        beside=sorted({name.decode() for name in BESIDE.findall(source)}),
    )


def _targets(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """Full names of all that a statement in a module of `package` imports: modules, and names that may be modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    source = ".".join([*parts, *([node.module] if node.module else [])])
    yield source
    yield from (f"{source}.{alias.name}" for alias in node.names)
