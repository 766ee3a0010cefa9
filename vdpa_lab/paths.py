"""Where the data and notebooks are: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

_HERE = Path(__file__).resolve().parent
OVERRIDE = "VDPA_LAB_DATA"


def _find(name: str) -> Path:
    # Inside first: what lies beside an installed package belongs to other packages.
    candidates = [_HERE / name, _HERE.parent / name]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = " and ".join(map(str, candidates))
    raise FileNotFoundError(f"vdpa_lab's folder {name!r} is missing: looked for {looked}; install it again")


def data_dir() -> Path:
    """The data folder; the environment variable VDPA_LAB_DATA overrides it. Raises FileNotFoundError."""
    if given := os.environ.get(OVERRIDE):
        if not Path(given).is_dir():
            raise FileNotFoundError(f"{OVERRIDE} names {given!r}, which is no folder")
        return Path(given)
    return _find("data")


def notebooks_dir() -> Path:
    """The notebooks folder. Raises FileNotFoundError."""
    return _find("notebooks")


def bench_sources() -> Path | None:
    """The C sources of the benchmarks, which only a checkout has."""
    folder = _HERE.parent / "tests" / "bench"
    return folder if folder.is_dir() else None
