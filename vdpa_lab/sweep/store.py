"""Results of a sweep as they come: rows appended to a CSV file, and what they belong to beside it."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.words import InputError

if TYPE_CHECKING:
    import pandas as pd

ABOUT, ROWS, PARQUET = "sweep.json", "results.csv", "results.parquet"
DTYPES = {int: "Int64", float: "float64", bool: "boolean", str: "string"}
READERS = {int: int, float: float, bool: {"True": True, "False": False}.__getitem__, str: str}
CHUNK = 1 << 20


def frame(rows: Iterable[Sequence[Any]], columns: dict[str, type]) -> pd.DataFrame:
    """Rows as a table, by run number; None is missing, in a column of texts empty."""
    import pandas as pd  # a worker makes rows only, and starts in three quarters of the time

    listed = list(zip(*sorted(rows), strict=True)) or [()] * len(columns)
    return pd.DataFrame(
        {
            name: pd.array([None if each is None else kind(each) for each in values], dtype=DTYPES[kind])
            for (name, kind), values in zip(columns.items(), listed, strict=True)
        }
    )


class Store:
    """A folder with the results of one sweep, locked for others until it is closed.

    identity: what the results follow from. done: bool [runs]. Raises InputError when the folder cannot be written, is
    written by another sweep, holds results and `resume` is False, or holds those of something else.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, str], columns: dict[str, type],
                 runs: int, resume: bool, about: dict[str, Any]):  # fmt: skip
        self.folder, self.columns = Path(folder), columns
        self.done = np.zeros(runs, bool)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.folder / ROWS, "a+b", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            self._lock()  # before anything is read: what is there may still grow
            if (self.folder / ABOUT).exists():
                self._compare(identity, resume)
            elif self._size():
                raise InputError(f"{self.folder / ROWS} is there without {ABOUT}: name another folder")
            else:
                save_text(json.dumps({"identity": identity, **about}, indent=1) + "\n", self.folder / ABOUT)
            self._recover()
            if not self._size():
                self._write(_line(columns))
        except OSError as error:
            self._file.close()
            raise self._unwritable(error) from None
        except BaseException:
            self._file.close()
            raise

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"{self.folder}: cannot be written: {error.strerror}; name another folder")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{self.folder} is being written by another sweep: wait until it ends, or name another folder"
            ) from None

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _compare(self, identity: dict[str, str], resume: bool) -> None:
        where = self.folder / ABOUT
        if not resume:
            raise InputError(
                f"{self.folder} holds a sweep already: resume it (--resume, or resume=True), or name another folder"
            )
        try:
            there = json.loads(where.read_text(encoding="utf-8"))["identity"]
            other = [what for what, digest in identity.items() if there.get(what) != digest]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{where}: does not describe a sweep; name another folder") from None
        if other:
            raise InputError(
                f"{self.folder} holds results of another {' and '.join(other)}; put it back, or name another folder"
            )

    def _recover(self) -> None:
        """Note which runs are there; cut off a line that was not finished when a run of the program ended."""
        end = self._size()
        while end:  # the last end of line, looked for from behind
            start = max(0, end - CHUNK)
            self._file.seek(start)
            at = self._file.read(end - start).rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        self._file.truncate(end)
        for number, *_ in self._read():
            self.done[number] = True

    def _read(self) -> Iterator[tuple[Any, ...]]:
        """The rows as they were appended. Raises InputError by file and line."""
        path = self.folder / ROWS
        with open(path, "rb") as file:
            reader = csv.reader(map(bytes.decode, file))  # line by line: so a line that is not UTF-8 has a number
            try:
                head = next(reader, None)
                if head is not None and head != list(self.columns):
                    raise InputError(f"{path}:1: these are not the columns of this sweep; name another folder")
                for cells in reader:
                    yield self._row(cells)
            except InputError:
                raise
            except (ValueError, csv.Error) as error:
                line = reader.line_num + isinstance(error, UnicodeDecodeError)  # which was not given to the reader
                why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
                raise InputError(
                    f"{path}:{line}: not a row of this sweep: {why}; take the line out to resume"
                ) from None

    def _row(self, cells: list[str]) -> tuple[Any, ...]:
        """Values of a line; an empty cell is None, in a column of texts empty. Raises ValueError."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells, but {len(self.columns)} columns")
        row = []
        for (name, kind), cell in zip(self.columns.items(), cells, strict=True):
            try:
                row.append(None if cell == "" and kind is not str else READERS[kind](cell))
            except (ValueError, KeyError):
                raise ValueError(f"{name} = {cell[:40]!r}") from None
        if row[0] is None or not 0 <= row[0] < len(self.done):
            raise ValueError(f"there is no run {cells[0]!r}")
        return tuple(row)

    def append(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add a batch and see it to the disk. Raises InputError when there is no space; what was there stays."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            ["" if each is None else each for each in row] for row in rows if not self.done[row[0]]
        )
        self._write(text.getvalue())
        self.done[[row[0] for row in rows]] = True

    def _write(self, text: str) -> None:
        before, data = self._size(), text.encode()
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(before)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise InputError(
                f"{self.folder / ROWS}: {error.strerror}; {int(self.done.sum())} runs are kept: "
                f"{'free some space' if full else 'see to it'} and resume"
            ) from None

    def close(self) -> None:
        """Close the file; a finished sweep is written as Parquet too where pyarrow is installed.

        Raises InputError when that cannot be done; the rows are in the CSV file all the same.
        """
        if self._file.closed:
            return
        with self._file:  # locked until all is written
            if self.done.all() and find_spec("pyarrow"):
                self._write_parquet()

    def _write_parquet(self) -> None:
        """Whole or not at all: a file beside it takes its place."""
        path, table = self.folder / PARQUET, self.table()
        beside = path.with_name(f".{path.name}.tmp")
        try:
            table.to_parquet(beside, index=False)
            os.replace(beside, path)
        except Exception as error:  # of the disk, or one of pyarrow's own
            raise InputError(f"{path}: cannot be written: {error}; all rows are in {ROWS}") from None
        finally:
            beside.unlink(missing_ok=True)

    def table(self) -> pd.DataFrame:
        """All rows that are there; of a run that is there twice the first one."""
        rows: dict[int, tuple[Any, ...]] = {}
        for row in self._read():
            rows.setdefault(row[0], row)
        return frame(rows.values(), self.columns)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
