"""The operations that NumPy and torch spell differently."""

import numpy as np
import pytest
import torch

from stages.ops import arrays


@pytest.mark.parametrize(
    ("convert", "own"),
    [
        (arrays.as_index, np.intp),
        (arrays.as_int32, np.int32),
        (arrays.as_int64, np.int64),
        (arrays.as_float32, np.float32),
        (arrays.as_float64, np.float64),
    ],
)
def test_what_has_the_type_already_is_not_copied(place, host, convert, own):
    """The atom map of a large image is in memory once."""
    given = place(np.arange(4).astype(own))
    assert np.shares_memory(host(convert(given)), host(given))
    other = host(convert(place(np.arange(4, dtype=np.uint8))))
    assert (other.dtype, other.tolist()) == (own, [0, 1, 2, 3])


def test_one_array_alone_is_joined_to_itself(place, host):
    alone = place(np.arange(6).reshape(2, 3))
    assert host(arrays.concatenate([alone])).tolist() == host(alone).tolist()
    assert host(arrays.stack([alone], 0)).shape == (1, 2, 3)


def test_numpy_arrays_stay_numpy_and_tensors_stay_tensors(place):
    one = place(np.ones((2, 3), np.float32))
    for made in (
        arrays.concatenate([one, one]),
        arrays.stack([one, one], 1),
        arrays.arange(3, one),
        arrays.columns(one, place(np.array([0, 2]))),
        arrays.where(one > 0, one, 0.0),
    ):
        assert arrays.is_tensor(made) == isinstance(one, torch.Tensor) == isinstance(made, torch.Tensor)
