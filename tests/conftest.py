"""What all tests share: where the real data is, and threads that do not fight."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

# A busy machine is no reason to fail: the time an example takes is not what these tests hold.
settings.register_profile("tagmask", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tagmask")

ROOT = Path(__file__).parents[1]
PIPELINE = ROOT / "tests" / "pipeline"
TOY_RUN = (
    "test_pipeline_borrowing.py",
    "test_pipeline_label_penet.py",
    "test_pipeline_report.py",
    "test_pipeline_reruns.py",
    "test_pipeline_rounds.py",
    "test_pipeline_segment.py",
)  # share one run of the graph


class ByFolder(LoadScopeScheduling):
    """One process runs all tests of a folder, as they share what is made once for all of them (`make test`).

    Files of tests/pipeline share a run or have one of their own. They are the longest, so that they come first.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.split("::")[0])
        own = file.parent.name == PIPELINE.name and file.name not in TOY_RUN
        return file.stem if own else str(file.parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFolder:
    config.option.loadscopereorder = False  # folders of many tests first; many are not long
    return ByFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (item.path.parent != PIPELINE, item.path.name not in TOY_RUN))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") is not None:
        import torch  # not on the way to tests that need none

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data and weights; the test skips where there is none."""
    if "TAGMASK_DATA" not in os.environ:
        pytest.skip("needs real data: set TAGMASK_DATA to the folder that holds data/ and weights/")
    return Path(os.environ["TAGMASK_DATA"])


@pytest.fixture(autouse=True)
def _drawn_where_it_is_looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are drawn in tests with the marker `draws`, and by graphs; elsewhere a word stands in their files.

    One takes a quarter of a second, and every training and every metrics file has one.
    """
    if request.node.get_closest_marker("draws") is None:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: Path(path).write_text("undrawn"))


@pytest.fixture
def killed_after(monkeypatch):
    """A context in which a training dies right after the checkpoint of an update."""
    from stages.core.training import loop  # not on the way to tests that train nothing

    @contextlib.contextmanager
    def killed_after(update):
        save = loop.save_checkpoint

        def save_then_die(folder, state, **rest):
            save(folder, state, **rest)
            if state["step"] == update:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(loop, "save_checkpoint", save_then_die)
            yield

    return killed_after


@pytest.fixture
def small_transformers(monkeypatch):
    """Vision transformers of timm by their real names, but 4 blocks of 32 channels, whose blocks count from the start."""
    import timm

    create, small = (
        timm.create_model,
        {"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 112, "init_values": 1.0},
    )

    def create_small(name, **options):
        return create(name, **(small if name.startswith("vit_") else {}), **options)

    monkeypatch.setattr(timm, "create_model", create_small)
