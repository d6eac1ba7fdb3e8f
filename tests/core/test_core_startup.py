"""A step loads what it uses: what needs no network starts without torch."""

import re
import subprocess
import sys

import pytest

# Libraries that take seconds or hundreds of MB to load.
NETWORKS = {"torch", "torchvision", "timm", "lightning_fabric"}
HEAVY = NETWORKS | {"numba", "matplotlib", "pandas", "scipy", "skimage"}
WITH_A_NETWORK = re.compile(
    r"stages\.\w+\.(train|pretrain|predict|convert|propagate|follow)_\w+|stages\.classifier\.find_cues"
    r"|stages\.classifier\.score_fold|stages\.bestie\.refine_labels"
)
LOOK = """
import importlib, sys
for module in sys.argv[2:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "stages"]:
        del sys.modules[name]
    importlib.import_module(module)
    found = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
    if found:
        sys.exit(f"{module} loads {', '.join(found)}")
"""


def steps(project_root) -> list[str]:
    """The modules of all steps, as the rules name them."""
    rules = [path.read_text() for path in (project_root / "rules").glob("*.smk")]
    return sorted({name for text in rules for name in re.findall(r'code_digest\("(stages[\w.]+)"\)', text)})


def test_steps_without_a_network_start_without_torch(project_root):
    light = [name for name in steps(project_root) if not WITH_A_NETWORK.fullmatch(name)]
    assert len(light) > 20
    command = [sys.executable, "-c", LOOK, ",".join(sorted(HEAVY)), *light]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_composition_root_loads_settings_alone(project_root):
    more = ",".join([*sorted(HEAVY), "numpy", "cv2", "h5py"])
    command = [sys.executable, "-c", LOOK, more, "stages.project.project", "stages.project.graph"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("step", ["stages.cim.train_cim"])
def test_the_look_sees_what_is_loaded(project_root, step):
    command = [sys.executable, "-c", LOOK, "torch", step]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True)
    assert "stages.cim.train_cim loads torch" in done.stderr
