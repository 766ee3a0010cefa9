"""A course of nine lessons: predict, run, reveal; exercises that are checked; progress in a file on this machine.

vl.course.predict(1, 2); vl.course.reveal(1)
vl.course.check("1.1", answer); vl.course.hint("1.1"); vl.course.solution("1.1"); vl.course.progress()
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Loaded on first use: a lesson needs its own part of the lab, not the others'.
_PUBLIC = {
    "check": "desk",
    "exercises": "desk",
    "hint": "desk",
    "predict": "desk",
    "progress": "desk",
    "questions": "desk",
    "reading": "reading_list",
    "reveal": "desk",
    "solution": "desk",
    "ask": "desk",
    "figure": "figures",
    "events": "lesson_blackouts",
    "recorded": "lesson_blackouts",
    "set_maps": "lesson_blackouts",
    "template": "own_file",
    "RingBench": "ring_bench",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"vdpa_lab.course.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'vdpa_lab.course' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
