"""Checkpoints of the papers' official codes: read without running what is in them, renamed, and written as ours.

A network of ours is asked for by the settings; the method says how the official code names each of its tensors.
Whatever does not fit is said: nothing keeps its first value, and nothing of the checkpoint is dropped without a reason.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from stages.core.artifacts.files import write_text
from stages.core.networks.weights import save_tensors, weights_digest

log = logging.getLogger(__name__)

WRAPPERS = ("model", "state_dict")  # keys under which codes keep a network's tensors beside other things
PARALLEL = "module."  # start of all names that were saved from a DataParallel
COUNTER = "num_batches_tracked"  # of batch norms; older checkpoints have none, and nothing here reads it


@dataclass(frozen=True)
class OfficialCode:
    """An official code and how it names what a network of ours has.

    Attributes:
        title: method and network, for people.
        source: where the code is.
        names: names there of a tensor with this name here; several are joined along the first axis.
        unused: patterns of names there that are not needed -> why.
        twins: starts of names there that list tensors a second time -> starts of the names of these.
        marks: a name there that only this network has -> what it is, for checkpoints of a network's relatives.
    """

    title: str
    source: str
    names: Callable[[str], Sequence[str]]
    unused: Mapping[str, str] = field(default_factory=dict)
    twins: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)


def renaming(starts: Mapping[str, str]) -> Callable[[str], Sequence[str]]:
    """Names by their starts, the first that fits; a name that none fits has no other."""

    def names(name: str) -> Sequence[str]:
        start = next((start for start in starts if name.startswith(start)), None)
        return [name if start is None else starts[start] + name.removeprefix(start)]

    return names


def convert_checkpoint(
    checkpoint: Path,
    network: nn.Module,
    code: OfficialCode,
    *,
    trained_by: str,
    settings: Mapping[str, Any],
    classes: Sequence[str],
    supervision: str,
    output_weights: Path,
    output_card: Path,
) -> None:
    """Write the checkpoint's tensors as weights of our network, and a model card that says where they come from.

    Args:
        checkpoint: what torch.save wrote.
        network: built from the settings, for as many classes.
        code: how the checkpoint's tensors are named.
        trained_by: the step whose weights these stand for.
        settings: of that step, from which the network is built again.
        classes: in the order of the checkpoint's, which does not name them.
        supervision: what the official code has learned from.
        output_weights: safetensors.
        output_card: Markdown.

    Raises:
        ValueError: no checkpoint, one that holds code, tensors that are missing, left over, or of another shape.
    """
    found = read_checkpoint(checkpoint)
    tensors, unused = renamed(found, network, code, checkpoint)
    digest = weights_digest(checkpoint)
    metadata = {
        "step": trained_by,
        "settings": dict(settings),
        "inputs": {"checkpoint": digest},
        "classes": list(classes),
        "supervision": supervision,
        "converted": {"file": checkpoint.name, "code": code.source},
    }
    save_tensors(output_weights, tensors, metadata)
    log.info("%s: %d tensors of %s became %d", checkpoint, len(found), code.title, len(tensors))
    for names, why in unused:
        log.info("not used: %d tensors such as %s, %s", len(names), names[0], why)
    write_text(output_card, _card(code, metadata, count=len(tensors), unused=unused))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a network that torch.save wrote, alone or under `model` or `state_dict`, on the CPU.

    Nothing in the file is run (`weights_only`). Raises FileNotFoundError or ValueError naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; check the path in `trained`")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} is no checkpoint of torch.save or was cut off ({error}); fetch it again") from error
    except Exception as error:  # what `weights_only` refuses
        raise ValueError(
            f"{path} holds more than tensors and plain values, or was cut off, and is not opened: what it holds could "
            "run as code. If you trust it, save its tensors alone with the code that wrote it"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(
            f"{path} holds {_described(content)}, expected tensors by name, alone or under one of {list(WRAPPERS)}"
        )
    parallel = all(name.startswith(PARALLEL) for name in tensors)
    return {name.removeprefix(PARALLEL) if parallel else name: tensor for name, tensor in tensors.items()}


def renamed(
    found: Mapping[str, Tensor], network: nn.Module, code: OfficialCode, path: Path
) -> tuple[dict[str, Tensor], list[tuple[list[str], str]]]:
    """The tensors under our names, and which of the checkpoint are not used, with the reason of each group.

    Raises ValueError, naming the file `path`, for tensors that are missing, left over, unlike their twins, or of
    another shape than the network's.
    """
    own = network.state_dict()
    tensors: dict[str, Tensor] = {}
    used: set[str] = set()
    problems = _Problems()
    for name, tensor in own.items():
        names = code.names(name)
        absent = [one for one in names if one not in found]
        if absent and name.endswith(COUNTER):
            tensors[name] = tensor
            continue
        problems.missing += absent
        if absent:
            continue
        used.update(names)
        joined = torch.cat([found[one] for one in names]) if len(names) > 1 else found[names[0]]
        if joined.shape != tensor.shape:
            problems.unlike.append(f"{' + '.join(names)} is {tuple(joined.shape)}, not {tuple(tensor.shape)}")
        tensors[name] = joined.to(tensor.dtype)
    left = sorted(found.keys() - used)
    left = [name for name in left if not _is_twin(name, found, code.twins, path)]
    groups = [([name for name in left if re.fullmatch(pattern, name)], why) for pattern, why in code.unused.items()]
    explained = {name for names, _ in groups for name in names}
    problems.left_over += [name for name in left if name not in explained]
    if problems.any:
        raise ValueError(_does_not_fit(path, found, code, problems))
    return tensors, [(names, why) for names, why in groups if names]


@dataclass
class _Problems:
    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(self.missing or self.left_over or self.unlike)


def _is_twin(name: str, found: Mapping[str, Tensor], twins: Mapping[str, str], path: Path) -> bool:
    start = next((start for start in twins if name.startswith(start)), None)
    first = None if start is None else twins[start] + name.removeprefix(start)
    if first is None or first not in found:
        return False
    if not torch.equal(found[name], found[first]):
        raise ValueError(f"{path} lists {first} a second time as {name}, with other values; fetch the checkpoint again")
    return True


def _does_not_fit(path: Path, found: Mapping[str, Tensor], code: OfficialCode, problems: _Problems) -> str:
    kinds = {"missing": problems.missing, "left over": problems.left_over, "of another shape": problems.unlike}
    parts = [f"{len(names)} tensors are {what}, such as {names[:3]}" for what, names in kinds.items() if names]
    known = [what for mark, what in code.marks.items() if mark in found]
    guess = f"it looks like {known[0]}" if known else f"its names begin with {sorted(found)[:3]}"
    return (
        f"{path} does not fit {code.title} as the settings build it: {'; '.join(parts)}; {guess}. Take the preset of "
        "its network (docs/reproducing.md), and a data set with as many classes"
    )


def _described(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return f"a dict with the keys {[str(key) for key in content][:5]}"


def _card(
    code: OfficialCode, metadata: Mapping[str, Any], *, count: int, unused: Iterable[tuple[list[str], str]]
) -> str:
    classes = metadata["classes"]
    dropped = "".join(f"* {len(names)} tensors such as `{names[0]}`: {why}.\n" for names, why in unused)
    return f"""\
# {code.title}

Weights that the official code's authors, or somebody with their code, have trained; converted, not trained here.

* Source: {metadata["converted"]["file"]}, SHA-256 {metadata["inputs"]["checkpoint"]}, a checkpoint of the official code
  ({code.source}). The terms under which its authors publish it hold for these weights, too.
* Supervision, as the official code has it: {metadata["supervision"]}.
* Classes, in the order of the checkpoint, which does not name them: {len(classes)}, {", ".join(classes)}.
* Tensors: {count}, unchanged but for their names and for layers that are joined into one.

## Not converted

{dropped or "Nothing was left over."}
## Settings that the network is built from

```yaml
{yaml.safe_dump(dict(metadata["settings"]), sort_keys=False, allow_unicode=True)}```
"""
