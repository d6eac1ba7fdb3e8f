"""Artifacts: HDF5 files of ragged arrays, one entry per image, written as a stream and read an image at a time.

Layout of a file, readable with plain h5py::

    /                attributes: kind, schema, header (JSON), step, settings (JSON), seed, inputs (JSON), fingerprint
    /<field>/values  all images' values one after the other, flattened
    /<field>/offsets (images + 1) int64: image i owns values[offsets[i]:offsets[i + 1]]
    /<field>/shapes  (images, axes) int32: the shape of each image's array

Fields without axes have one value per image and neither offsets nor shapes. An optional field that no record gives has
no group. `fingerprint` is a digest of kind, schema,
header and values: two artifacts with equal content have equal fingerprints, whenever and wherever they were made.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import h5py
import numpy as np

from stages.core.artifacts.content import Digest
from stages.core.artifacts.disk import NotingFile
from stages.core.artifacts.files import whole_file
from stages.core.artifacts.hdf5 import naming, open_hdf5
from stages.core.artifacts.layout import read_layout
from stages.core.artifacts.records import TEXT, MissingImage, Record, check_record_class, is_optional
from stages.core.config.section import Section

BUFFERED_BYTES = 8 << 20  # what a writer holds back before it touches the file: memory stays constant
CHUNK_BYTES = 128 << 10  # of one compressed block: small enough to read one image, large enough to compress
LIGHT_COMPRESSION = 4  # gzip level: plain h5py reads it everywhere; higher levels gain under 3 % here

REMEDY = "remove it and run again"

R = TypeVar("R", bound=Record)


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What made an artifact: the step, its settings and seed, and the artifacts that it read (by argument name)."""

    step: str
    settings: Section | dict[str, Any] | None
    seed: int | None
    inputs: dict[str, "Artifact"]

    def attributes(self) -> dict[str, str | int]:
        """The provenance as HDF5 attributes."""
        settings = self.settings.model_dump(mode="json") if isinstance(self.settings, Section) else self.settings
        inputs = {name: {"kind": a.kind, "fingerprint": a.fingerprint} for name, a in self.inputs.items()}
        return {
            "step": self.step,
            "settings": json.dumps(settings, sort_keys=True),
            "seed": -1 if self.seed is None else self.seed,
            "inputs": json.dumps(inputs, sort_keys=True),
        }


class Writer(Generic[R]):
    """Appends records to an open file; made by `create`."""

    def __init__(
        self, file: h5py.File, record: type[R], header: dict[str, Any], *, written: Callable[[], None]
    ) -> None:
        """Write to a file; `written` raises OSError where the disk has not taken what was written so far."""
        self._file, self._record, self._written = file, record, written
        self.blocks: list[int] = []  # images that were written together: in this order goes the digest
        self._digest = Digest(record, header)
        self._pending: list[R] = []
        self._pending_bytes = 0
        self._ids: set[str] = set()
        self._fields: list[dataclasses.Field] | None = None  # those that the records give, once there is one

    def _declare(self, field: dataclasses.Field) -> None:
        dtype, axes = field.metadata["dtype"], field.metadata["axes"]
        group = self._file.create_group(field.name)
        group.attrs["about"] = field.metadata["about"]
        group.attrs["axes"] = json.dumps(["images", *axes])
        stored = h5py.string_dtype() if dtype == TEXT else np.dtype(dtype)
        width = 16 if dtype == TEXT else np.dtype(dtype).itemsize
        packing = {} if dtype == TEXT else {"compression": LIGHT_COMPRESSION, "shuffle": True}
        _growing(group, "values", stored, CHUNK_BYTES // width if axes else 1024, **packing)
        if axes:
            _growing(group, "offsets", np.int64, 1024, compression=LIGHT_COMPRESSION, shuffle=True)
            group["offsets"].resize(1, axis=0)
            group.create_dataset(
                "shapes", (0, len(axes)), np.int32, maxshape=(None, len(axes)), chunks=(1024, len(axes)),
                compression=LIGHT_COMPRESSION, shuffle=True,
            )  # fmt: skip

    def append(self, record: R) -> None:
        """Add one image's record.

        Raises ValueError for an image that is already there, or with an optional field that others lack.
        """
        if type(record) is not self._record:
            raise TypeError(f"expected a {self._record.__name__}, got a {type(record).__name__}")
        if record.image in self._ids:
            raise ValueError(f"image {record.image!r} occurs twice; ids must be unique")
        self._check_given(record)
        self._ids.add(record.image)
        self._pending.append(record)
        self._pending_bytes += sum(np.asarray(getattr(record, f.name)).nbytes for f in dataclasses.fields(record))
        if self._pending_bytes > BUFFERED_BYTES or len(self._pending) >= 1024:
            self.flush()

    def _check_given(self, record: R) -> None:
        given = [f for f in dataclasses.fields(record) if getattr(record, f.name) is not None]
        if self._fields is None:
            self._start(given)
        elif given != self._fields:
            differing = ", ".join(sorted({f.name for f in given} ^ {f.name for f in self._fields}))
            raise ValueError(
                f"image {record.image!r} and those before it differ in whether they give {differing}; all records"
                " of an artifact give an optional field, or none does"
            )

    def _start(self, fields: list[dataclasses.Field]) -> None:
        self._fields = fields
        for field in fields:
            self._declare(field)

    def flush(self) -> None:
        """Write what is held back; without any record, the fields that are not optional."""
        if self._fields is None:
            self._start([field for field in dataclasses.fields(self._record) if not is_optional(field)])
        if not self._pending:
            return
        for field in self._fields or ():
            self._flush_field(field, [getattr(record, field.name) for record in self._pending])
        self.blocks.append(len(self._pending))
        self._pending, self._pending_bytes = [], 0
        self._written()

    def _flush_field(self, field: dataclasses.Field, values: list[Any]) -> None:
        group, axes = self._file[field.name], field.metadata["axes"]
        if field.metadata["dtype"] == TEXT:
            _extend(group["values"], np.array(values, dtype=object))
            self._digest.add_text(field.name, values)
            return
        parts = [np.asarray(value).reshape(-1) for value in values]
        # One large image is neither copied nor spelled out as bytes.
        flat = np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
        _extend(group["values"], flat)
        shapes = np.array([value.shape for value in values], np.int32) if axes else None
        self._digest.add_values(field.name, flat, shapes)
        if shapes is not None:
            sizes = np.array([value.size for value in values], np.int64)
            _extend(group["offsets"], group["offsets"][-1] + np.cumsum(sizes))
            _extend(group["shapes"], shapes)

    @property
    def fingerprint(self) -> str:
        """Digest of all that was written so far."""
        return self._digest.fingerprint


def _growing(group: h5py.Group, name: str, dtype: Any, chunk: int, **packing: Any) -> None:
    group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(chunk,), **packing)


def _extend(dataset: h5py.Dataset, values: np.ndarray) -> None:
    if len(values):
        dataset.resize(len(dataset) + len(values), axis=0)
        dataset[-len(values) :] = values


@contextlib.contextmanager
def create(path: Path, record: type[R], *, header: dict[str, Any], provenance: Provenance) -> Iterator[Writer[R]]:
    """Write an artifact as a stream of records; it appears at `path` when the block ends without an error.

    `header` holds what is true of all images (JSON types only), such as the class names.
    """
    check_record_class(record)
    with whole_file(path) as unfinished:
        with NotingFile(unfinished) as disk, h5py.File(disk, "w", libver="v110") as file:
            writer = Writer(file, record, header, written=disk.check)
            yield writer
            writer.flush()
            attributes = {"kind": record.KIND, "schema": record.SCHEMA, "header": json.dumps(header, sort_keys=True)}
            for name, value in {**attributes, **provenance.attributes(), "fingerprint": writer.fingerprint}.items():
                file.attrs[name] = value
        _read_back(unfinished, record, writer)


def _read_back(path: Path, record: type[R], writer: Writer[R]) -> None:
    """Raise ValueError where the file does not hold what was written: its layout, and all values by their digest."""
    with read(path, record) as artifact:
        found = artifact.digest(writer.blocks)
    if found != writer.fingerprint:
        raise ValueError(f"{path} does not hold what was written: the disk is damaged; check it and start again")


class Artifact(Generic[R]):
    """An artifact open for reading: a sequence of records that reads one image at a time.

    Attributes:
        header: what is true of all images, as given to `create`.
        provenance: step, settings, seed and inputs that made the file.
        fingerprint: digest of the content.
    """

    def __init__(self, path: Path, file: h5py.File, record: type[R]) -> None:
        self.path, self.kind = path, record.KIND
        self._record = record
        layout = read_layout(file, record)
        self.header, self.fingerprint, self.provenance = layout.header, layout.fingerprint, layout.provenance
        self.ids = layout.ids
        self._position = {image: i for i, image in enumerate(self.ids)}
        self._absent, self._offsets, self._shapes = layout.absent, layout.offsets, layout.shapes
        # To look a dataset up, and to read one number of it, takes as long as to read an array.
        self._values = {
            field.name: file[field.name]["values"] for field in dataclasses.fields(record) if self.has(field.name)
        }
        self._scalars: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> R:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path} holds {len(self)} images, asked for number {i}")
        fields = {field.name: self.field(i, field.name) for field in dataclasses.fields(self._record)}
        with naming(self.path, remedy=REMEDY):
            return self._record(**fields)

    def __iter__(self) -> Iterator[R]:
        return (self[i] for i in range(len(self)))

    def field(self, i: int, name: str) -> Any:
        """One field of image `i` alone, without reading the others; None for an optional one that the file lacks."""
        if name in self._absent:
            return None
        with naming(self.path, remedy=REMEDY):
            if name in self._offsets:
                start, end = self._offsets[name][i : i + 2]
                return self._values[name][start:end].reshape(self._shapes[name][i])
            if name not in self._scalars:
                self._scalars[name] = self._values[name][:]
            value = self._scalars[name][i]
            return value.decode() if isinstance(value, bytes) else value

    def has(self, name: str) -> bool:
        """Whether the file has a field, which an optional one may lack."""
        return name not in self._absent

    def column(self, name: str) -> np.ndarray:
        """All images' values of a field without axes, (images,)."""
        with naming(self.path, remedy=REMEDY):
            values = self._values[name]
            return values.asstr()[:] if h5py.check_string_dtype(values.dtype) else values[:]

    def digest(self, blocks: list[int]) -> str:
        """The fingerprint of the values as they lie in the file, written in blocks of so many images each."""
        digest = Digest(self._record, self.header)
        fields = [field for field in dataclasses.fields(self._record) if self.has(field.name)]
        first = 0
        for images in blocks:
            for field in fields:
                self._count(digest, field, slice(first, first + images))
            first += images
        return digest.fingerprint

    def _count(self, digest: Digest, field: dataclasses.Field, images: slice) -> None:
        name = field.name
        with naming(self.path, remedy=REMEDY):
            values = self._values[name]
            if field.metadata["dtype"] == TEXT:
                digest.add_text(name, list(values.asstr()[images]))
            elif name in self._offsets:
                start, end = self._offsets[name][[images.start, images.stop]]
                digest.add_values(name, values[start:end], self._shapes[name][images])
            else:
                digest.add_values(name, values[images], None)

    def index(self, image: str) -> int:
        """Position of an image. Raises MissingImage naming the file."""
        if image not in self._position:
            raise MissingImage(
                f"{self.path} has no image {image!r}; it holds {len(self)}: remake it from the same list"
            )
        return self._position[image]

    def find(self, image: str) -> R:
        """The record of an image. Raises MissingImage naming the file."""
        return self[self.index(image)]


@contextlib.contextmanager
def read(path: Path, record: type[R]) -> Iterator[Artifact[R]]:
    """Open an artifact of the given kind.

    Raises FileNotFoundError where there is none, ValueError where the file is no artifact, was cut off, is damaged,
    reads other files, is of another kind, or of another schema version, and OSError where the file system does not let
    it be read. Reading an image raises ValueError where its values are damaged.
    """
    check_exists(path)
    with open_hdf5(path, remedy=REMEDY) as file:
        yield artifact_in(file, path, record)


def check_exists(path: Path) -> None:
    """Raise FileNotFoundError, with how to make it, where there is no artifact."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run `snakemake {path}` to make it")


def kind_of(path: Path, file: h5py.File) -> str:
    """The kind that an artifact says that it is. Raises ValueError for files of something else."""
    with naming(path, remedy=REMEDY):
        kind = file.attrs.get("kind")
        marked = isinstance(kind, str) and "fingerprint" in file.attrs
    if not marked:
        raise ValueError(f"{path} is HDF5 but no tagmask artifact; {REMEDY}")
    return kind


def artifact_in(file: h5py.File, path: Path, record: type[R]) -> Artifact[R]:
    """The artifact of an open file. Raises ValueError as `read` does."""
    kind = kind_of(path, file)
    if kind != record.KIND:
        raise ValueError(f"{path} is an artifact of kind {kind!r}, expected {record.KIND!r}; give the right file")
    with naming(path, remedy=REMEDY):
        schema = int(file.attrs["schema"])
    if schema != record.SCHEMA:
        raise ValueError(f"{path} has schema {schema} of kind {kind!r}, expected {record.SCHEMA}; {REMEDY}")
    with naming(path, remedy=REMEDY):
        return Artifact(path, file, record)


@contextlib.contextmanager
def read_optional(path: Path | None, record: type[R]) -> Iterator[Artifact[R] | None]:
    """As `read`, or None where there is no path."""
    if path is None:
        yield None
        return
    with read(path, record) as artifact:
        yield artifact
