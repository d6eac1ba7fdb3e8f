import pytest

from stages.core.workflow import digest


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small package in place of ours: `make` and `train` import `io`, `train` also `losses`."""
    sources = {
        "__init__": "",
        "io": "def read():\n    return 1\n",
        "losses": "import numpy\n\ndef loss(x):\n    return x\n",
        "make": "from stages import io\n\ndef make():\n    return io.read()\n",
        "train": "from stages.io import read\nfrom stages.losses import loss\n\ndef train():\n    return loss(read())\n",
    }
    (tmp_path / "stages").mkdir()
    for name, source in sources.items():
        (tmp_path / "stages" / f"{name}.py").write_text(source)
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    return tmp_path / "stages"


def digests():
    digest._source.cache_clear()
    digest.import_closure.cache_clear()
    return {name: digest.code_digest(f"stages.{name}") for name in ("make", "train")}


def changed(before):
    after = digests()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "affected"),
    [
        pytest.param("losses", "return x", "return 2 * x", {"train"}, id="function of one step"),
        pytest.param("io", "return 1", "return 2", {"make", "train"}, id="shared function"),
        pytest.param("make", "return io", "return  io", set(), id="layout"),
        pytest.param("io", "def read", "# why\ndef read", set(), id="comment"),
        pytest.param("io", "return 1", '"""Says."""\n    return 1', set(), id="docstring"),
        pytest.param("losses", "import numpy", "import numpy, scipy", {"train"}, id="another library"),
    ],
)
def test_a_digest_changes_with_the_code_that_a_step_imports(tree, file, old, new, affected):
    before = digests()
    path = tree / f"{file}.py"
    path.write_text(path.read_text().replace(old, new))
    assert changed(before) == affected


def test_a_digest_changes_with_the_version_of_a_library(tree, monkeypatch):
    before = digests()
    monkeypatch.setattr(digest.importlib.metadata, "version", lambda _name: "99")
    assert changed(before) == {"train"}


def test_a_step_that_does_not_exist_is_named(tree):
    digest.import_closure.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"stages\.nothing"):
        digest.code_digest("stages.nothing")
    digest.import_closure.cache_clear()
