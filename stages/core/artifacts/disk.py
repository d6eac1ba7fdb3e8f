"""Files whose failures to be written are noticed, and said as what they are."""

import errno
import io
import os
import re
from pathlib import Path

# No space, no quota left, larger than the system lets a file be.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What libraries in C++ and Rust say instead of giving the number.
SAID = re.compile(r"No space left|Disk quota exceeded|File too large|\(os error (28|122|27)\)")


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that it came of, says that the disk is full."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        if (found := todo.pop()) is None or id(found) in seen:
            continue
        if (isinstance(found, OSError) and found.errno in FULL) or SAID.search(str(found)):
            return True
        seen.add(id(found))
        todo += [found.__cause__, found.__context__]
    return False


def full_disk(path: Path) -> OSError:
    """The error of a file or folder that could not be written for want of space."""
    return OSError(
        errno.ENOSPC,
        f"{path}: the disk is full, nothing was written there; free some space, or raise the quota or the limit to the "
        "size of files, and start again",
    )


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names of the folder's files, as after a rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class NotingFile(io.RawIOBase):
    """A new file that libraries write to, which fails when it is closed and not before.

    HDF5 ends its process by a segmentation fault when it closes a file that it could not write, and torch does not say
    why a write failed. So no call fails: what cannot be written is held in memory, where it is read again, and the
    first error waits in `error` for `check`, which whoever writes much calls now and then. Leaving the `with` block
    raises it in place of whatever the library made of it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, emptied. Raises OSError."""
        self._file = path.open("w+b", buffering=0)
        self._at = self._size = 0
        self._held: list[tuple[int, bytes]] = []
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise the error that writing has met, if any."""
        if self.error is not None:
            raise self.error

    def __enter__(self) -> "NotingFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close()
        if self.error is not None:
            raise self.error from error

    def close(self) -> None:
        """Close the file; what it should have held may be missing where there is an `error`."""
        if not self.closed:
            try:
                self._file.close()
            except OSError as error:
                self.error = self.error or error
        super().close()

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as files do."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """The place where the next bytes are read or written."""
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Read what was written, also what the disk did not take."""
        target = memoryview(buffer).cast("B")
        count = max(0, min(len(target), self._size - self._at))
        data = bytearray(os.pread(self._file.fileno(), count, self._at)).ljust(count, b"\0")
        for start, held in self._held:
            first, last = max(start, self._at), min(start + len(held), self._at + count)
            if first < last:
                data[first - self._at : last - self._at] = held[first - start : last - start]
        target[:count] = data
        self._at += count
        return count

    def write(self, buffer: "bytes | memoryview") -> int:  # type: ignore[override]
        """Write all of it, or hold it."""
        data = memoryview(buffer).cast("B")
        done = 0
        while done < len(data) and self.error is None:
            try:
                done += os.pwrite(self._file.fileno(), data[done:], self._at + done)
            except OSError as error:
                self.error = error
        if done < len(data):
            self._held.append((self._at + done, bytes(data[done:])))
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cut off or lengthen the file, as files do."""
        self._size = self._at if size is None else size
        if self.error is None:
            try:
                self._file.truncate(self._size)
            except OSError as error:
                self.error = error
        return self._size

    def flush(self) -> None:
        """Nothing is held back."""
