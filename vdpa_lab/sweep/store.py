"""Results of a sweep as they come: rows appended to a CSV file, and what they belong to beside it."""

from __future__ import annotations

import csv
import errno
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
    """A folder with the results of one sweep.

    identity: what the results follow from. done: bool [runs]. Raises InputError when the folder cannot be written,
    holds results and `resume` is False, or holds those of something else.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, str], columns: dict[str, type],
                 runs: int, resume: bool, about: dict[str, Any]):  # fmt: skip
        self.folder, self.columns = Path(folder), columns
        self.done = np.zeros(runs, bool)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if (self.folder / ABOUT).exists():
                self._compare(identity, resume)
            elif (self.folder / ROWS).exists():
                raise InputError(f"{self.folder / ROWS} is there without {ABOUT}: name another folder")
            else:
                save_text(json.dumps({"identity": identity, **about}, indent=1) + "\n", self.folder / ABOUT)
            self._recover()
            self._file = open(self.folder / ROWS, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written: {error.strerror}; name another folder") from None
        if not self._file.tell():
            self._write(_line(columns))

    def _compare(self, identity: dict[str, str], resume: bool) -> None:
        where = self.folder / ABOUT
        if not resume:
            raise InputError(f"{self.folder} holds a sweep already: resume it (resume=True), or name another folder")
        try:
            there = json.loads(where.read_text(encoding="utf-8"))["identity"]
            other = [what for what, digest in identity.items() if there[what] != digest]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{where}: does not describe a sweep; name another folder") from None
        if other:
            raise InputError(
                f"{self.folder} holds results of another {' and '.join(other)}; put it back, or name another folder"
            )

    def _recover(self) -> None:
        """Note which runs are there; cut off a line that was not finished when a run of the program ended."""
        path = self.folder / ROWS
        if not path.exists():
            return
        size = path.stat().st_size
        with open(path, "r+b") as file:
            end = size
            while end:  # the last end of line, looked for from behind
                start = max(0, end - CHUNK)
                file.seek(start)
                at = file.read(end - start).rfind(b"\n")
                if at >= 0:
                    end = start + at + 1
                    break
                end = start
            file.truncate(end)
        for number, _ in self._read():
            self.done[number] = True

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        """Run number and cells of each row. Raises InputError by file and line."""
        path = self.folder / ROWS
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            head = next(reader, None)
            if head is not None and head != list(self.columns):
                raise InputError(f"{path}:1: these are not the columns of this sweep; name another folder")
            for row in reader:
                number = int(row[0]) if row and row[0].isdecimal() and len(row[0]) < 20 else -1
                if len(row) != len(self.columns) or not 0 <= number < len(self.done):
                    raise InputError(f"{path}:{reader.line_num}: not a row of this sweep; take the line out to resume")
                yield number, row

    def append(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add a batch and see it to the disk. Raises InputError when there is no space; what was there stays."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            ["" if each is None else each for each in row] for row in rows if not self.done[row[0]]
        )
        self._write(text.getvalue())
        self.done[[row[0] for row in rows]] = True

    def _write(self, text: str) -> None:
        before, data = os.fstat(self._file.fileno()).st_size, text.encode()
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
        """Close the file; a finished sweep is written as Parquet too where pyarrow is installed."""
        if self._file.closed:
            return
        self._file.close()
        if self.done.all() and find_spec("pyarrow"):
            self.table().to_parquet(self.folder / PARQUET, index=False)

    def table(self) -> pd.DataFrame:
        """All rows that are there."""
        readers = {int: int, float: float, bool: "True".__eq__, str: str}
        kinds = list(self.columns.values())
        rows = (
            [
                (None if cell == "" and kind is not str else readers[kind](cell))
                for kind, cell in zip(kinds, row, strict=True)
            ]
            for _, row in self._read()
        )
        return frame(rows, self.columns)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
