"""Pinning, measured: io_uring's registered buffers pin pages as vhost-vdpa does, for any user; else mlock locks them.

Source: Linux io_uring/rsrc.c (io_sqe_buffer_register, io_pin_pages: pin_user_pages with FOLL_WRITE and FOLL_LONGTERM,
as vhost_vdpa_pa_map calls it), io_uring_setup(2), io_uring_register(2), mlock(2), madvise(2).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vdpa_lab.units import KIB, MIB, PAGE_SIZE

IO_URING_SETUP, IO_URING_REGISTER = 425, 427  # the same on every architecture
REGISTER_BUFFERS, UNREGISTER_BUFFERS = 0, 1  # include/uapi/linux/io_uring.h
PARAMS_BYTES = 120  # sizeof(struct io_uring_params)
HUGE_2M = 0x40000 | 21 << 26  # MAP_HUGETLB (asm-generic/mman-common.h), log2 of 2 MiB << MAP_HUGE_SHIFT
MOST_OF_A_BUFFER = 1 << 30  # io_uring registers at most 1 GiB as one buffer
ADVICE = {"4k": "MADV_NOHUGEPAGE", "thp": "MADV_HUGEPAGE"}


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class IoUring:
    """Pins by registering buffers. Raises OSError where the kernel or a sandbox refuses."""

    way = "io_uring registered buffers"

    def __init__(self) -> None:
        self._c = _libc()
        params = (ctypes.c_uint8 * PARAMS_BYTES)()
        self._fd = _checked(self._c.syscall(IO_URING_SETUP, 1, ctypes.byref(params)), "io_uring_setup")

    def pin(self, address: int, length: int) -> None:
        """Pin `length` bytes at `address`."""
        pieces = range(0, length, MOST_OF_A_BUFFER)
        vectors = (_IoVec * len(pieces))(*(_IoVec(address + at, min(MOST_OF_A_BUFFER, length - at)) for at in pieces))
        done = self._c.syscall(IO_URING_REGISTER, self._fd, REGISTER_BUFFERS, ctypes.byref(vectors), len(pieces))
        _checked(done, "IORING_REGISTER_BUFFERS")

    def unpin(self, address: int, length: int) -> None:
        """Unpin everything that was pinned."""
        _checked(self._c.syscall(IO_URING_REGISTER, self._fd, UNREGISTER_BUFFERS, None, 0), "IORING_UNREGISTER_BUFFERS")

    def close(self) -> None:
        os.close(self._fd)


class Mlock:
    """Locks, which faults and walks like a pin but takes no long-term reference. Raises OSError."""

    way = "mlock, which takes no long-term reference"

    def __init__(self) -> None:
        self._c = _libc()

    def _call(self, name: str, address: int, length: int) -> None:
        _checked(getattr(self._c, name)(ctypes.c_void_p(address), ctypes.c_size_t(length)), name)

    def pin(self, address: int, length: int) -> None:
        """Lock `length` bytes at `address`."""
        self._call("mlock", address, length)

    def unpin(self, address: int, length: int) -> None:
        """Unlock them."""
        self._call("munlock", address, length)

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def memory(length: int, backing: str) -> Iterator[int]:
    """The address of `length` bytes nobody has touched, backed by 4k, thp or 2M pages. Raises OSError."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (HUGE_2M if backing == "2M" else 0)
    room = mmap.mmap(-1, length + (0 if backing == "2M" else 2 * MIB), flags)
    start = ctypes.addressof(view := ctypes.c_char.from_buffer(room))
    aligned = start if backing == "2M" else -(-start // (2 * MIB)) * 2 * MIB
    try:
        if backing in ADVICE:
            with suppress(AttributeError, OSError):  # a kernel without transparent huge pages has only small ones
                room.madvise(getattr(mmap, ADVICE[backing]))
        yield aligned
    finally:
        del view
        room.close()


def huge_bytes(address: int) -> int:
    """Bytes of transparent huge pages in the mapping that holds `address` (/proc/self/smaps)."""
    inside = False
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            first = line.split(maxsplit=1)[0]
            if "-" in first and not first.endswith(":"):
                low, high = (int(part, 16) for part in first.split("-"))
                inside = low <= address < high
            elif inside and first == "AnonHugePages:":
                return int(line.split()[1]) * KIB
    return 0


def pin_times(pinner: IoUring | Mlock, length: int, backing: str, rounds: int) -> dict[str, list[float]]:
    """ns a 4 KiB page of a cold pin, a warm pin and an unpin of `length` bytes, each `rounds` times.

    Raises OSError, also when transparent huge pages were asked for and the kernel gave small ones.
    """
    found: dict[str, list[float]] = {"pin_cold": [], "pin_warm": [], "unpin": []}
    pages = length // PAGE_SIZE
    for _ in range(rounds):
        with memory(length, backing) as address:
            for kind in ("pin_cold", "pin_warm"):
                start = time.perf_counter_ns()
                pinner.pin(address, length)
                pinned = time.perf_counter_ns()
                pinner.unpin(address, length)
                found["unpin"].append((time.perf_counter_ns() - pinned) / pages)
                found[kind].append((pinned - start) / pages)
            if backing == "thp" and (huge := huge_bytes(address)) < 0.9 * length:
                raise OSError(f"the kernel made huge pages of {huge} of {length} bytes only")
    return found
