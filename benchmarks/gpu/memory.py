"""Bytes of tensors that are alive at once, counted as they are made: on a CPU, or on `meta`, which stores none."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """The block in which tensors that are made are counted.

    What a library needs inside an operation, and what an allocator keeps, is not counted.

    Attributes:
        live: bytes alive now that were made in the block.
        peak: most that were alive at once.
        largest: bytes of the largest tensor that was made in the block.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.largest = 0
        self._known: set[int] = set()

    def count(self, *values: Any) -> None:
        """Count tensors that were made before the block, such as weights."""
        self._add(values)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.largest = max(self.largest, self._add(made))
        return made

    def _add(self, values: Any) -> int:
        """Count the tensors whose memory is not known yet; bytes of the largest of these."""
        largest = 0
        for tensor in tree_leaves(values):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key in self._known:
                continue
            self._known.add(key)
            size = storage.nbytes()
            self.live += size
            self.peak, largest = max(self.peak, self.live), max(largest, size)
            weakref.finalize(storage, self._remove, key, size)
        return largest

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size
