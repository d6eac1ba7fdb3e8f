import pytest

from stages.core.workflow import digest


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small package in place of ours: `make` and `train` import `io`, `train` also `losses` and `settings`."""
    sources = {
        "__init__": "",
        "io": "def read():\n    return 1\n",
        "losses": "import numpy\n\ndef loss(x):\n    return _twice(x)\n\ndef _twice(x):\n    return 2 * x\n",
        "settings": SETTINGS,
        "make": "from stages import io\n\ndef make():\n    return io.read()\n",
        "train": (
            "from stages.io import read\nfrom stages.losses import loss\nfrom stages.settings import Train\n\n"
            "def train(*, settings: Train):\n    return loss(read()) ** settings.both\n"
        ),
    }
    (tmp_path / "stages").mkdir()
    for name, source in sources.items():
        (tmp_path / "stages" / f"{name}.py").write_text(source)
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    return tmp_path / "stages"


FOR_TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n    from stages import make\n"
SETTINGS = '''
"""Settings."""
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from stages.core.config.section import Section

Share = Annotated[float, Field(ge=0)]
LEAST = 3


class Rate(Section):
    """The rate."""

    rate: Share = Field(description="of learning")

    @model_validator(mode="after")
    def _odd(self):
        return _check(self)


class Train(Section):
    """Everything."""

    LARGEST: ClassVar[int] = 7
    steps: int = Field(ge=1, description="updates")
    rate: Rate

    @property
    def both(self):
        return self.steps * self.rate.rate


class Long(Rate):
    """Likewise."""

    longer: int


def _check(section):
    if section.rate > LEAST:
        raise ValueError("rate is too large")
    return section
'''


def digests():
    sources = digest.Sources(digest.read_project)
    return {name: sources.digest(f"stages.{name}") for name in ("make", "train")}


def changed(before):
    after = digests()
    return {name for name in before if before[name] != after[name]}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "affected"),
    [
        pytest.param("losses", "return 2 * x", "return 3 * x", {"train"}, id="function of one step"),
        pytest.param("losses", "_twice", "_doubled", {"train"}, id="name of a private function"),
        pytest.param("losses", "\n\ndef _twice(x):\n    return 2 * x", "", {"train"}, id="private function gone"),
        pytest.param("io", "return 1", "return 2", {"make", "train"}, id="shared function"),
        pytest.param("make", "return io", "return  io", set(), id="layout"),
        pytest.param("io", "def read", "# why\ndef read", set(), id="comment"),
        pytest.param("io", "return 1", '"""Says."""\n    return 1', set(), id="docstring"),
        pytest.param("losses", "import numpy", "import numpy, scipy", {"train"}, id="another library"),
        pytest.param("losses", "    return 2", "    import scipy\n    return 2", {"train"}, id="library in a function"),
        pytest.param("losses", "import numpy", f"import numpy\n{FOR_TYPES}", set(), id="imports for types"),
        pytest.param("losses", "import numpy", f"import numpy\n{FOR_TYPES}    y = 1\n", {"train"}, id="more than imports"),
        pytest.param("settings", "of learning", "of the network", set(), id="description of a setting"),
        pytest.param("settings", "ge=1", "ge=2", set(), id="bounds of a setting"),
        pytest.param("settings", "steps: int", "batch: Literal[1, 2]\n    steps: int", set(), id="new setting"),
        pytest.param("settings", "class Train", "class New(Section):\n    key: int\n\n\nclass Train", set(), id="new section"),
        pytest.param("settings", "class Train", "class New(Rate):\n    key: int\n\n\nclass Train", set(), id="new heir"),
        pytest.param("settings", "ge=0", "gt=0", set(), id="alias of a type"),
        pytest.param("settings", "return _check(self)", "return self", set(), id="validator"),
        pytest.param("settings", "> LEAST", ">= LEAST", set(), id="function of validators alone"),
        pytest.param("settings", "ClassVar, Literal", "ClassVar", set(), id="import for settings"),
        pytest.param("settings", "LEAST = 3", "LEAST = 4", {"train"}, id="constant among settings"),
        pytest.param("settings", "= 7", "= 8", {"train"}, id="constant of a section"),
        pytest.param("settings", "self.steps *", "self.steps +", {"train"}, id="method of a section"),
        pytest.param("settings", "class Long(Rate)", "class Long(Train)", {"train"}, id="methods that a section inherits"),
    ],
)  # fmt: skip
def test_a_digest_changes_with_the_code_that_a_step_imports(tree, file, old, new, affected):
    before = digests()
    edit(tree / f"{file}.py", old, new)
    assert changed(before) == affected


def test_touched_files_leave_a_digest_as_it_is(tree):
    before = digests()
    for path in tree.iterdir():
        path.touch()
    assert not changed(before)


def test_a_digest_changes_with_the_version_of_a_library(tree, monkeypatch):
    before = digests()
    digest._version.cache_clear()
    monkeypatch.setattr(digest.importlib.metadata, "version", lambda _name: "99")
    assert changed(before) == {"train"}
    digest._version.cache_clear()


def test_a_step_that_does_not_exist_is_named(tree):
    with pytest.raises(ModuleNotFoundError, match=r"stages\.nothing"):
        digest.Sources(digest.read_project).digest("stages.nothing")


def test_the_digest_of_a_step_is_that_of_the_project():
    module = "stages.prm.retrieve_prm"
    assert digest.code_digest(module) == digest.Sources(digest.read_project).digest(module)


@pytest.mark.parametrize("name", ["page.html.jinja", "page.js", "page.css", "table.json"])
def test_what_lies_beside_a_module_counts_for_those_that_name_it(tree, name):
    (tree / "make.py").write_text((tree / "make.py").read_text() + f'\nPAGE = "{name}"\n')
    (tree / name).write_text("<p>")
    before = digests()
    (tree / name).write_text("<b>")
    assert changed(before) == {"make"}


def test_a_name_beside_which_there_is_no_file_counts_for_nothing(tree):
    before = digests()
    (tree / "make.py").write_text((tree / "make.py").read_text() + '\n"metrics.json"\n')
    assert changed(before) == set()
