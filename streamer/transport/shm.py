"""A ring of frames in shared memory: one per camera, written by one process, read by another.

The writer never waits: frame n goes into slot n mod S, over whatever was there. A slot carries
the number of the frame it holds before and after the pixels (a sequence lock), so that a reader
that was overtaken notices. Plain files in a memory file system, mapped: no helper process owns
them, and a lock held by the writer for life tells a sweeper which ones a crash left behind.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
from pathlib import Path

import numpy as np

from streamer.core.errors import TransportError

DIRECTORY = Path("/dev/shm")
PREFIX = "streamer-ring-"

_MAGIC = b"STRMRNG1"
_HEADER = struct.Struct("<8sIIII")  # magic, slots, height, width, channels
_HEADER_BYTES = 64
_SLOT_HEADER_BYTES = 64
_EMPTY = 0


class RingWriter:
    """The writing end. Used by one thread.

    Args:
        shape: Of an image: (H, W, 3).
        num_slots: Frames kept; the S newest can be read.
        directory: A memory file system.

    Raises:
        TransportError: The memory file system has no room.
    """

    def __init__(
        self, *, shape: tuple[int, int, int], num_slots: int, directory: Path = DIRECTORY
    ) -> None:
        self.name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        self._path = directory / self.name
        size_bytes = _HEADER_BYTES + num_slots * _slot_bytes(shape)
        # It gets its name only when it is locked: a sweeper would take it for a dead one.
        nameless = directory / f".{self.name}"
        self._fd = -1
        try:
            self._fd = os.open(nameless, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Reserve now: a sparse file would kill the writer with SIGBUS when memory runs out.
            os.posix_fallocate(self._fd, 0, size_bytes)
            nameless.rename(self._path)
        except OSError as error:
            if self._fd >= 0:
                os.close(self._fd)
            nameless.unlink(missing_ok=True)
            free_bytes = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
            raise TransportError(
                f"shared memory full: a camera needs {size_bytes} bytes in {directory}, "
                f"found {free_bytes} free ({os.strerror(error.errno or 0)}); "
                "make it larger or analyse fewer cameras on this host",
                retryable=False,
            ) from error
        self._map = mmap.mmap(self._fd, size_bytes)
        self._map[: _HEADER.size] = _HEADER.pack(_MAGIC, num_slots, *shape)
        self._numbers, self._pixels = _views(self._map, shape, num_slots)
        self._num_slots = num_slots
        self._count = 0

    def write(self, image: np.ndarray) -> int:
        """Put an image into the next slot. Returns its generation, from 1."""
        self._count += 1
        slot = self._count % self._num_slots
        before_after = self._numbers[slot]
        before_after[1] = _EMPTY
        before_after[0] = self._count
        self._pixels[slot] = image
        before_after[1] = self._count
        return self._count

    def close(self) -> None:
        """Unlink the file. Readers that have it mapped keep it until they let go. Idempotent."""
        if self._fd < 0:
            return
        self._path.unlink(missing_ok=True)
        del self._numbers, self._pixels
        self._map.close()
        os.close(self._fd)
        self._fd = -1


class RingReader:
    """The reading end.

    Raises:
        TransportError: There is no such ring (its writer is gone), or it is another file.
    """

    def __init__(self, name: str, *, directory: Path = DIRECTORY) -> None:
        if "/" in name or not name.startswith(PREFIX):
            raise TransportError(f"ring {name!r}: not a ring's name", retryable=False)
        try:
            with (directory / name).open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise TransportError(f"ring {name}: {error}", retryable=False) from error
        magic, num_slots, height, width, channels = _HEADER.unpack(self._map[: _HEADER.size])
        self.shape = (height, width, channels)
        if magic != _MAGIC or len(self._map) < _HEADER_BYTES + num_slots * _slot_bytes(self.shape):
            raise TransportError(f"ring {name}: not a ring of this version", retryable=False)
        self._num_slots = num_slots
        self._numbers, self._pixels = _views(self._map, self.shape, num_slots)

    def read_into(self, generation: int, image: np.ndarray) -> bool:
        """Copy frame `generation` into `image`. False if a newer one has taken its slot."""
        slot = generation % self._num_slots
        before_after = self._numbers[slot]
        if before_after[1] != generation:
            return False
        np.copyto(image, self._pixels[slot])
        return bool(before_after[0] == generation)

    def close(self) -> None:
        """Let go of the mapping."""
        del self._numbers, self._pixels
        self._map.close()


def sweep(directory: Path = DIRECTORY) -> list[str]:
    """Remove rings whose writer is gone. Returns their names."""
    removed = []
    for path in directory.glob(f"{PREFIX}*"):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            continue  # gone meanwhile, or another user's
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its writer lives
        else:
            path.unlink(missing_ok=True)
            removed.append(path.name)
        finally:
            os.close(fd)
    return removed


def _slot_bytes(shape: tuple[int, int, int]) -> int:
    height, width, channels = shape
    pixels = height * width * channels
    return _SLOT_HEADER_BYTES + (pixels + 63) // 64 * 64


def _views(
    memory: mmap.mmap, shape: tuple[int, int, int], num_slots: int
) -> tuple[np.ndarray, np.ndarray]:
    """Views of all slots: numbers uint64 (S, 2) and pixels uint8 (S, H, W, 3)."""
    _, width, channels = shape
    stride = _slot_bytes(shape)
    numbers = np.ndarray((num_slots, 2), np.uint64, memory, _HEADER_BYTES, (stride, 8))
    pixels = np.ndarray(
        (num_slots, *shape),
        np.uint8,
        memory,
        _HEADER_BYTES + _SLOT_HEADER_BYTES,
        (stride, width * channels, channels, 1),
    )
    return numbers, pixels
