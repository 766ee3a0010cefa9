"""The folder of a sweep: who may write it, what of it can be read, what goes into it whole."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from conftest import CHECKOUT

from vdpa_lab.sweep import sweep
from vdpa_lab.sweep.evaluate import digest_of
from vdpa_lab.sweep.store import ABOUT, PARQUET, ROWS, Store
from vdpa_lab.words import InputError

COLUMNS = {"run": int, "text": str, "sure": bool, "share": float}
HEAD = "run,text,sure,share\n"


def store(folder, resume=False, identity=None, runs=3):
    return Store(folder, identity or {"version": "1", "code": "a"}, COLUMNS, runs, resume, {})


def written(folder, *lines):
    """A folder that a sweep has closed, with these lines."""
    store(folder).close()
    (folder / ROWS).write_bytes(HEAD.encode() + b"".join(lines))
    return folder


def test_a_folder_is_one_sweep_s_until_it_is_closed(tmp_path):
    first = store(tmp_path)
    for resume in (True, False):
        with pytest.raises(InputError, match="is being written by another sweep: wait until it ends, or name another"):
            store(tmp_path, resume)
    first.append([(0, "a", True, 0.5)])
    first.close()
    second = store(tmp_path, resume=True)
    assert second.done.tolist() == [True, False, False]
    second.close()


@pytest.mark.parametrize("spoil", ["identity", "row", "about"])
def test_a_folder_that_was_refused_is_not_kept_from_others(tmp_path, spoil):
    written(tmp_path, b"0,a,True,0.5\n")
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    identity = {"version": "2"} if spoil == "identity" else None
    if spoil == "row":
        (tmp_path / ROWS).write_bytes(b"what\n")
    if spoil == "about":
        (tmp_path / ABOUT).write_bytes(b"\xff")
    with pytest.raises(InputError) as told:  # which holds on to the store, as a notebook does
        store(tmp_path, resume=True, identity=identity)
    for path, content in whole.items():
        path.write_bytes(content)
    again = store(tmp_path, resume=True)
    assert again.done.tolist() == [True, False, False], str(told.value)
    again.close()


def test_of_a_run_that_is_there_twice_the_first_row_counts(tmp_path):
    written(tmp_path, b"1,z,True,0.5\n0,y,False,\n1,a,,0.25\n0,b,True,1.0\n")
    there = store(tmp_path, resume=True)
    there.close()
    table = there.table()
    assert list(table["run"]) == [0, 1]
    assert list(table["text"]) == ["y", "z"]
    assert list(table["sure"]) == [False, True]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"x,a,True,0.5\n", "run = 'x'"),
        (b",a,True,0.5\n", "there is no run ''"),
        (b"3,a,True,0.5\n", "there is no run '3'"),
        (b"1,a,True\n", "3 cells, but 4 columns"),
        (b"1,a,Tru,0.5\n", "sure = 'Tru'"),
        (b"1,a,True,0.5x\n", "share = '0.5x'"),
        (b"1,\xe9,True,0.5\n", "it is not UTF-8"),
        (b"1," + b"a" * 200_000 + b",True,0.5\n", "field larger than"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path, line, why):
    written(tmp_path, b"0,a,True,0.5\n", line, b"2,a,True,0.5\n")
    with pytest.raises(InputError, match=rf"{ROWS}:3: not a row of this sweep: {why}.*; take the line out to resume"):
        store(tmp_path, resume=True)
    written_then_damaged = store(tmp_path / "other")
    written_then_damaged.close()
    shutil.copy(tmp_path / ROWS, tmp_path / "other" / ROWS)
    with pytest.raises(InputError, match=f"{ROWS}:3: not a row"):
        written_then_damaged.table()


def test_a_row_is_read_as_it_was_appended(tmp_path):
    rows = [(0, 'ä, "b"', True, float("inf")), (1, "", None, None), (2, "c", False, 0.1)]
    there = store(tmp_path)
    there.append(rows[1:])
    there.append(rows)
    there.close()
    assert list(there._read()) == [rows[1], rows[2], rows[0]]


# --- Parquet ----------------------------------------------------------------------------------------------------


class OfItsOwn(Exception):
    """As pyarrow has some."""


@pytest.fixture
def all_but_closed(tmp_path, monkeypatch):
    """A store of all runs, where pyarrow is said to be."""
    monkeypatch.setattr("vdpa_lab.sweep.store.find_spec", lambda name: name == "pyarrow")
    there = store(tmp_path)
    there.append([(number, "a", True, 0.5) for number in range(3)])
    return there


def test_parquet_is_written_beside_and_then_takes_its_place(all_but_closed, monkeypatch):
    folder, seen = all_but_closed.folder, []

    def to_parquet(table, path, index):
        Path(path).write_text("whole")
        seen.append((len(table), index, (folder / PARQUET).exists()))

    monkeypatch.setattr("pandas.DataFrame.to_parquet", to_parquet)
    all_but_closed.close()
    assert seen == [(3, False, False)]
    assert (folder / PARQUET).read_text() == "whole"
    assert sorted(os.listdir(folder)) == sorted([ABOUT, PARQUET, ROWS])


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OfItsOwn("No space left here")])
def test_parquet_that_cannot_be_written_leaves_what_was_there(all_but_closed, monkeypatch, error):
    folder = all_but_closed.folder
    (folder / PARQUET).write_text("before")
    csv = (folder / ROWS).read_bytes()

    def to_parquet(table, path, index):
        Path(path).write_text("ha")
        raise error

    monkeypatch.setattr("pandas.DataFrame.to_parquet", to_parquet)
    with pytest.raises(InputError, match=rf"{PARQUET}: cannot be written: .*No space left .*; all rows are in {ROWS}"):
        all_but_closed.close()
    assert (folder / PARQUET).read_text() == "before"
    assert sorted(os.listdir(folder)) == sorted([ABOUT, PARQUET, ROWS])
    assert (folder / ROWS).read_bytes() == csv
    monkeypatch.setattr("vdpa_lab.sweep.store.find_spec", lambda name: None)
    store(folder, resume=True).close()  # nobody holds it


# --- what results follow from -----------------------------------------------------------------------------------


def test_results_of_another_code_are_not_gone_on_with(tmp_path, monkeypatch):
    spec = {"scenario": "sim-128-1d", "axes": {"guest.vcpus": [1, 2]}}
    options = {"out": tmp_path, "workers": 0, "show": lambda text: None}
    sweep(spec, **options)
    sweep(spec, resume=True, **options)
    monkeypatch.setattr("vdpa_lab.sweep.evaluate._own_code", lambda: "other")
    with pytest.raises(InputError, match="holds results of another code; put it back, or name another folder"):
        sweep(spec, resume=True, **options)


def test_a_folder_that_does_not_say_of_which_code_it_is_is_of_another(tmp_path):
    store(tmp_path, identity={"version": "1"}).close()
    with pytest.raises(InputError, match="holds results of another code; put it back"):
        store(tmp_path, resume=True)


def test_the_code_is_every_source_of_the_package_by_name_and_content(tmp_path):
    package = CHECKOUT / "vdpa_lab"
    copied = tmp_path / "copy"
    shutil.copytree(package, copied, ignore=shutil.ignore_patterns("__pycache__", "data", "notebooks"))
    digests = [digest_of(package), digest_of(copied)]
    deepest = max(copied.rglob("*.py"), key=lambda path: (len(path.parts), path))
    with open(deepest, "a") as file:
        file.write("# a word more\n")
    digests.append(digest_of(copied))
    deepest.rename(deepest.with_name("renamed.py"))
    digests.append(digest_of(copied))
    (copied / "read_me.txt").write_text("no code")
    digests.append(digest_of(copied))
    assert [digests.index(each) for each in digests] == [0, 0, 2, 3, 3]
