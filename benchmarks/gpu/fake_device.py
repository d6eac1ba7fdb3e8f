"""A device that is not there: what a computation would make a CPU wait for, found on a CPU.

Tensors of a network and of a batch are marked as lying on the device, and so is all that is computed from them. They
say so to Python (`x.device`), so that code takes the way that it takes on a GPU, while the CPU computes. Noted is each
operation that waits for the device: a number or a mask that is read, a copy between host and device, a shape that
depends on values. An operation on a tensor of each side, which a GPU refuses, is an error.

What stands only inside a CUDA kernel is not seen, as a wait inside a library; copies from ordinary memory that are
marked `non_blocking` are not counted, though they may wait, too.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parents[2]
DEVICE = torch.device("cuda", 0)
HOST = torch.device("cpu")
# Their result's shape, or the way on, depends on values: the CPU waits for them.
WAITING = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique", "aten::_unique2",
    "aten::unique_dim", "aten::unique_consecutive", "aten::unique_dim_consecutive", "aten::bincount", "aten::equal",
    "torchvision::nms",
}  # fmt: skip
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
COPYING = {"aten::copy_", "aten::_to_copy", "aten::lift_fresh"}
MASKS = (torch.bool, torch.uint8)
FROM_DATA = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)
READING = (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__)
MOVING = (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda)


class MixedPlaces(RuntimeError):
    """An operation on tensors of the device and of the host."""


class FakeDevice:
    """The block in which marked tensors lie on a device.

    Attributes:
        waits: how often the CPU would have waited, by (what, where in the project).
    """

    def __init__(self) -> None:
        self.waits: Counter[tuple[str, str]] = Counter()
        # A weak reference keeps the address of a storage from being used again.
        self._places: dict[int, tuple[StorageWeakRef, bool]] = {}
        self._modes = (_Functions(self), _Operations(self))

    def __enter__(self) -> "FakeDevice":
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def put(self, *values: Any) -> None:
        """Mark all tensors in the values."""
        with torch._C.DisableTorchFunction():
            self.mark(values, on_device=True)

    def mark(self, values: Any, *, on_device: bool) -> None:
        for tensor in tensors_in(values):
            storage = tensor.untyped_storage()
            self._places[storage._cdata] = StorageWeakRef(storage), on_device

    def place(self, tensor: Tensor) -> bool | None:
        """Whether it lies on the device; None where it is not known."""
        found = self._places.get(tensor.untyped_storage()._cdata)
        return None if found is None or found[0].expired() else found[1]

    def holds(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and self.place(tensor) is True

    def note(self, what: str) -> None:
        self.waits[what, _caller()] += 1


class _Functions(TorchFunctionMode):
    """What Python asks of tensors."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self._device = device
        self._questions: dict[Any, Callable[[bool], Any]] = {
            torch.Tensor.device.__get__: lambda held: DEVICE if held else HOST,
            torch.Tensor.is_cuda.__get__: lambda held: held,
            torch.Tensor.is_cpu.__get__: lambda held: not held,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, device = kwargs or {}, self._device
        held = bool(args) and device.holds(args[0])
        if func in self._questions:
            return self._questions[func](held)
        if func in MOVING:
            return self._moved(func, args, dict(kwargs), held=held)
        if func in READING and held:
            if func is not torch.Tensor.tolist:
                raise MixedPlaces(f"{func.__name__} of a tensor on the device in {_caller()}; .cpu() it first")
            device.note("tolist")
        wanted = _as_device(kwargs.get("device"))
        if wanted == DEVICE:
            made = func(*args, **{**kwargs, "device": HOST})
            if func in FROM_DATA:
                device.note("copy to the device")
            device.mark(made, on_device=True)
            return made
        made = func(*args, **kwargs)
        if func is torch.from_numpy or not any(True for _ in tensors_in((args, kwargs))):
            for tensor in tensors_in(made):  # made in Python, for the host
                if device.place(tensor) is None:
                    device.mark(tensor, on_device=False)
        return made

    def _moved(self, func: Any, args: tuple, kwargs: dict[str, Any], *, held: bool) -> Tensor:
        device, target = self._device, None
        if func is torch.Tensor.cpu:
            target = HOST
        elif func is torch.Tensor.cuda:
            target, args = DEVICE, args[:1]
        else:
            rest = []
            for value in args[1:]:
                if isinstance(value, Tensor):
                    target = DEVICE if device.holds(value) else HOST
                    rest.append(value.dtype)
                elif (named := _as_device(value)) is not None:
                    target = named
                else:
                    rest.append(value)
            target = _as_device(kwargs.pop("device", None)) or target
            args = (args[0], *rest)
        waits = not kwargs.get("non_blocking", False)
        result = args[0].to(*args[1:], **kwargs) if len(args) > 1 or set(kwargs) - {"non_blocking"} else args[0]
        if target is None or (target == DEVICE) == held:
            return result
        if waits:
            device.note("copy to the device" if target == DEVICE else "copy to the host")
        moved = result.clone() if result is args[0] or held else result
        device.mark(moved, on_device=target == DEVICE)
        return moved


class _Operations(TorchDispatchMode):
    """What is computed, backwards too."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, device = kwargs or {}, self._device
        name = func._schema.name
        inputs = list(tensors_in((args, kwargs)))
        places = [device.place(tensor) for tensor in inputs]
        held = any(places)
        if held:
            self._look(name, args, kwargs, inputs, places)
        made = func(*args, **kwargs)
        if held:
            device.mark(made, on_device=True)
        elif any(place is False for place in places):
            for tensor in tensors_in(made):
                if device.place(tensor) is None:
                    device.mark(tensor, on_device=False)
        return made

    def _look(self, name: str, args: tuple, kwargs: dict, inputs: list[Tensor], places: list[bool | None]) -> None:
        device = self._device
        if name in WAITING:
            device.note(name.partition("::")[2].lstrip("_"))
        elif name == "aten::repeat_interleave" and kwargs.get("output_size") is None:
            device.note("repeat_interleave")
        elif name in INDEXING:
            self._look_at_indices(args)
        elif name in COPYING:
            if name == "aten::copy_" and places[0] is not places[1] and False in places[:2]:
                device.note("copy to the device" if places[0] else "copy to the host")
        elif any(place is False and tensor.dim() for tensor, place in zip(inputs, places, strict=True)):
            shapes = [
                f"{tuple(tensor.shape)} {'on the host' if place is False else 'on the device'}"
                for tensor, place in zip(inputs, places, strict=True)
            ]
            raise MixedPlaces(f"{name} in {_caller()} of {', '.join(shapes)}")

    def _look_at_indices(self, args: tuple) -> None:
        device, indices = self._device, [index for index in args[1] if index is not None]
        value = args[2] if len(args) > 2 else None
        accumulates = len(args) > 3 and args[3]
        masked_fill = (
            isinstance(value, Tensor) and value.numel() == 1 and not device.holds(value) and not accumulates
            and len(indices) == 1 and indices[0].dtype in MASKS
        )  # fmt: skip
        if masked_fill:  # CUDA fills under the mask without counting its pixels
            return
        for index in indices:
            if not device.holds(index):
                device.note("index from the host")
            elif index.dtype in MASKS:
                device.note("index by a mask")


def tensors_in(values: Any) -> Iterable[Tensor]:
    """All tensors in nested containers and named tuples."""
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _as_device(value: Any) -> torch.device | None:
    if isinstance(value, str):
        try:
            value = torch.device(value)
        except RuntimeError:
            return None
    if not isinstance(value, torch.device):
        return None
    return DEVICE if value.type == "cuda" else value


def _caller() -> str:
    """The innermost function of the project on the stack, else of a library."""
    frame, library = sys._getframe(2), ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / "stages"):
            return f"{path.relative_to(ROOT)} {frame.f_code.co_name}"
        if not library and "site-packages" in path.parts and "torch/" not in str(path).partition("site-packages/")[2]:
            library = f"{path.name} {frame.f_code.co_name}"
        frame = frame.f_back
    return library or "outside the project"
