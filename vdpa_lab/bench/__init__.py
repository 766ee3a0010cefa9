"""How long things take on this machine: the model, and every kernel beside C. For reports and never for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vdpa_lab.bench.harness import cases_of, row
from vdpa_lab.words import InputError, nearest

SUBJECTS = ("model", "rings", "svq", "iotlb", "bitmap", "mr", "sweep", "traces")
ROUNDS = 15


def benchmarks(subjects: Iterable[str] = (), rounds: int = ROUNDS, quick: bool = False) -> Iterator[dict[str, object]]:
    """Rows of `vdpa-lab bench`; every subject unless some are named.

    Raises InputError for a subject that does not exist.
    """
    for subject in subjects or SUBJECTS:
        if subject not in SUBJECTS:
            raise InputError(f"no benchmark is named {subject!r}; {nearest(subject, SUBJECTS)}")
    for subject in subjects or SUBJECTS:
        for case in cases_of(subject, quick):
            yield {"subject": subject, **row(case, rounds)}
