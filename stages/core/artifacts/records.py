"""Records: one image's entry in an artifact, declared as a dataclass of typed arrays."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

TEXT = "text"


class MissingImage(KeyError):
    """An artifact lacks an image that another one has."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show its repr


def array(dtype: str, *axes: str | int, about: str, optional: bool = False) -> Any:
    """Declare an array field.

    `axes` are names (the length differs from image to image; fields that name the same axis have the same length
    within an image) or integers (fixed). Without axes the field is one number per image. `about` says what the
    values are, their unit, and what empty means. It is written into the file, but into neither its fingerprint nor the
    digest of the code: an edited description reruns nothing, and a file keeps the words that it was made with.

    An `optional` field is given by all records of an artifact or by none; where the file has none it is None.
    """
    declared = {"dtype": dtype, "axes": axes, "about": about, "optional": optional}
    return dataclasses.field(metadata=declared, default=None) if optional else dataclasses.field(metadata=declared)


def is_optional(field: dataclasses.Field) -> bool:
    """Whether the field may be absent from a whole artifact."""
    return bool(field.metadata.get("optional"))


def text(about: str) -> Any:
    """Declare a field that holds one string per image."""
    return dataclasses.field(metadata={"dtype": TEXT, "axes": (), "about": about})


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One image's entry. Subclasses are frozen dataclasses whose first field is `image`, the image's id.

    Raises ValueError where an array has another dtype, number of axes or length than declared.
    """

    KIND: ClassVar[str]
    SCHEMA: ClassVar[int]

    if TYPE_CHECKING:  # subclasses declare it as their first field

        @property
        def image(self) -> str:
            """Id of the image."""

    def __post_init__(self) -> None:
        lengths: dict[str, int] = {}
        for field in dataclasses.fields(self):
            self._check(field, lengths)

    def _check(self, field: dataclasses.Field, lengths: dict[str, int]) -> None:
        value, dtype, axes = getattr(self, field.name), field.metadata["dtype"], field.metadata["axes"]
        where = f"{type(self).__name__}.{field.name}"
        if value is None and is_optional(field):
            return
        if dtype == TEXT:
            if not isinstance(value, str):
                raise ValueError(f"{where} is {value!r}, expected a string")
            return
        value = np.asarray(value)
        if not axes:
            value = value.astype(dtype)
        if value.dtype != np.dtype(dtype) or value.ndim != len(axes):
            found = f"{value.dtype} with {value.ndim} axes"
            raise ValueError(f"{where} of {self.image} is {found}, expected {dtype} with axes {list(axes)}")
        for axis, length in zip(axes, value.shape, strict=True):
            wanted = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
            if length != wanted:
                raise ValueError(f"{where} of {self.image}: axis {axis!r} is {length} long, expected {wanted}")
        object.__setattr__(self, field.name, value if axes else value[()])


def check_record_class(record: type[Record]) -> None:
    """Raise TypeError unless `record` declares all that an artifact needs."""
    names = [field.name for field in dataclasses.fields(record)]
    if not names or names[0] != "image":
        raise TypeError(f"{record.__name__} must have `image` as its first field, has {names}")
    undeclared = [field.name for field in dataclasses.fields(record) if "dtype" not in field.metadata]
    if undeclared or not hasattr(record, "KIND") or not hasattr(record, "SCHEMA"):
        raise TypeError(f"{record.__name__} lacks KIND, SCHEMA, or declarations of {undeclared}")
