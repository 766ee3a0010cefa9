"""Lines of a file of any size in bounded memory: gzip or not, LF or CRLF, whole or cut off."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from vdpa_lab.units import GIB, KIB, MIB, format_bytes
from vdpa_lab.words import InputError

CHUNK = MIB
#: a line that is longer is no trace event: it is given out as None and forgotten
LONGEST_LINE = 64 * KIB
#: what a file may hold unpacked; a small gzip file can hold any amount
LARGEST = 256 * GIB
_GZIP = b"\x1f\x8b"


def open_bytes(path: str | os.PathLike[str]) -> BinaryIO:
    """The file's bytes, unpacked where gzip packed them. Raises InputError."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{os.fspath(path)!r} is not a regular file: name a log")
        file = open(path, "rb")  # noqa: SIM115 - the caller closes it
        packed = file.read(2) == _GZIP
        file.seek(0)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{os.fspath(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return gzip.GzipFile(fileobj=file, mode="rb") if packed else file


def head(path: str | os.PathLike[str], size: int = MIB) -> bytes:
    """The first bytes, at most `size`. Raises InputError."""
    return next(_chunks(path, size), b"")


def _chunks(path: str | os.PathLike[str], size: int) -> Iterator[bytes]:
    total = 0
    file = open_bytes(path)
    try:
        while chunk := file.read(size):
            total += len(chunk)
            if total > LARGEST:
                raise InputError(
                    f"{os.fspath(path)!r} holds more than {format_bytes(LARGEST)}: cut it to one migration"
                )
            yield chunk
    except EOFError:
        return  # a gzip file that was cut off: what is there is there
    except (OSError, zlib.error) as error:
        raise InputError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    finally:
        file.close()
        if isinstance(file, gzip.GzipFile) and file.fileobj:
            file.fileobj.close()


def lines(path: str | os.PathLike[str]) -> Iterator[bytes | None]:
    """Each line without its end; None for one of more than LONGEST_LINE bytes. Raises InputError."""
    rest, dropping = b"", False
    for chunk in _chunks(path, CHUNK):
        found = (rest + chunk).split(b"\n")
        rest = found.pop()
        if dropping and found:
            found[0], dropping = None, False
        for line in found:
            yield line if line is None or len(line) <= LONGEST_LINE else None
        if dropping or len(rest) > LONGEST_LINE:
            rest, dropping = b"", True
    if rest or dropping:
        yield None if dropping else rest


def whole_text(path: str | os.PathLike[str], most: int) -> str:
    """A file of at most `most` bytes as text, bytes that are not UTF-8 replaced. Raises InputError."""
    parts, size = [], 0
    for chunk in _chunks(path, CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            raise InputError(f"{os.fspath(path)!r} is longer than {format_bytes(most)}, which such a file never is")
    return b"".join(parts).decode("utf-8-sig", "replace")
