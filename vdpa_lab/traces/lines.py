"""Lines of a file of any size in bounded memory: gzip or not, LF or CRLF, whole or cut off."""

from __future__ import annotations

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


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{os.fspath(path)!r} is not a regular file: name a log")
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"{os.fspath(path)!r} cannot be read: {error.strerror}") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{os.fspath(path)!r} cannot be read: {error}") from error


def head(path: str | os.PathLike[str], size: int = MIB) -> bytes:
    """The first bytes, unpacked, at most `size`. Raises InputError."""
    return next(_chunks(path), b"")[:size]


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, CHUNK at most at a time, unpacked where gzip packed them; of one cut off what is there."""
    data = file.read(CHUNK)
    if not data.startswith(_GZIP):
        while data:
            yield data
            data = file.read(CHUNK)
        return
    while data:
        member = zlib.decompressobj(wbits=31)
        while data and not member.eof:
            if out := member.decompress(data, CHUNK):
                yield out
            data = member.unconsumed_tail or (member.unused_data if member.eof else file.read(CHUNK))
        data = data or file.read(CHUNK)
        if not data.startswith(_GZIP):
            return  # padding behind the last member


def _chunks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    total = 0
    with _open(path) as file:
        try:
            for chunk in _unpacked(file):
                total += len(chunk)
                if total > LARGEST:
                    most = format_bytes(LARGEST)
                    raise InputError(f"{os.fspath(path)!r} holds more than {most}: cut it to one migration")
                yield chunk
        except (OSError, zlib.error) as error:
            raise InputError(f"{os.fspath(path)!r} cannot be read: {error}") from error


def lines(path: str | os.PathLike[str]) -> Iterator[bytes | None]:
    """Each line without its end; None for one of more than LONGEST_LINE bytes. Raises InputError."""
    rest, dropping = b"", False
    for chunk in _chunks(path):
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
    for chunk in _chunks(path):
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            raise InputError(f"{os.fspath(path)!r} is longer than {format_bytes(most)}, which such a file never is")
    return b"".join(parts).decode("utf-8-sig", "replace")
