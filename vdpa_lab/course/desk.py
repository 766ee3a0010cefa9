"""What a student calls: predict, reveal, check, hint, solution, progress; each answers with a Message."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vdpa_lab.course.exercise import Exercise, Question
from vdpa_lab.course.message import Message, note, open_, right
from vdpa_lab.course.progress_file import LONGEST, now, read_progress, record, rows
from vdpa_lab.words import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

LESSONS = ("rings", "notifications", "addresses", "mkeys", "precopy", "shadow", "blackouts", "own", "application")


@lru_cache(maxsize=1)
def _lessons() -> tuple[Any, ...]:
    return tuple(import_module(f"vdpa_lab.course.lesson_{name}") for name in LESSONS)


@lru_cache(maxsize=1)
def exercises() -> dict[str, Exercise]:
    """All exercises by name, in the order of the lessons."""
    return {each.name: each for lesson in _lessons() for each in lesson.EXERCISES}


@lru_cache(maxsize=1)
def questions() -> dict[str, Question]:
    """The question that each lesson asks before it runs anything, by the lesson's number."""
    return {lesson.QUESTION.name: lesson.QUESTION for lesson in _lessons()}


def _find(name: Any, among: dict[str, Any], what: str) -> Any:
    text = str(name)
    if text not in among:
        raise InputError(f"no {what} {text[:60]!r}; {nearest(text, among)}")
    return among[text]


def ask(exercise: int | str) -> Message:
    """The text of an exercise, or of a lesson's question by its number. Raises InputError for neither."""
    asked = _find(exercise, {**questions(), **exercises()}, "exercise")
    return note(
        asked.ask,
        *(
            [f"Choose one of {', '.join(map(repr, asked.choices))}."]
            if isinstance(asked, Question) and asked.choices
            else []
        ),
    )


def predict(question: int | str, answer: Any) -> Message:
    """Keep what you expect, before you know. Raises InputError for no such question, or an answer not offered."""
    asked = _find(question, questions(), "question")
    if answer is ...:
        return open_(asked.ask, look="put your prediction in place of the three dots")
    if asked.choices and answer not in asked.choices:
        raise InputError(f"question {asked.name}: choose one of {', '.join(map(repr, asked.choices))}")
    record(f"question {asked.name}", predicted=str(answer)[:LONGEST])
    return note(f"You expect {str(answer)[:LONGEST]}. Now run what follows, and then reveal.")


def reveal(question: int | str) -> Message:
    """What the package computes, beside what you predicted. Raises InputError for no such question."""
    asked = _find(question, questions(), "question")
    predicted = read_progress().get(f"question {asked.name}", {}).get("predicted")
    if predicted is None:
        return open_(
            "Predict first: a guess that turns out wrong teaches more than none.",
            f"vl.course.predict({asked.name}, your answer): {asked.ask}",
        )
    truth = asked.truth()
    shown = f"{truth:,}" if isinstance(truth, int) else str(truth)
    if predicted.replace(",", "") == str(truth):
        return right(f"As you expected: {shown}.", asked.why)
    return note(f"It is {shown}; you expected {predicted}.", asked.why)


def check(exercise: str, answer: Any = ...) -> Message:
    """Judge an answer: right and what it shows, or what exactly is wrong and where to look. Counts the attempt.

    Raises InputError for no such exercise, or a progress file that cannot be read.
    """
    asked = _find(exercise, exercises(), "exercise")
    kept = read_progress().get(asked.name, {})
    said = open_(asked.ask, look="put your answer in place of the three dots") if answer is ... else asked.judge(answer)
    if said.state == "open":
        return said
    solved = kept.get("solved") or (now() if said.right else "")
    record(asked.name, attempts=kept.get("attempts", 0) + 1, **({"solved": solved} if solved else {}))
    return said


def hint(exercise: str) -> Message:
    """One hint more at each call; the last one again when there are no more. Raises InputError as `check`."""
    asked = _find(exercise, exercises(), "exercise")
    seen = min(read_progress().get(asked.name, {}).get("hints", 0) + 1, len(asked.hints))
    record(asked.name, hints=seen)
    after = "another call gives the next" if seen < len(asked.hints) else "that was the last; then comes the solution"
    return note(f"Hint {seen} of {len(asked.hints)}: {asked.hints[seen - 1]}", f"({after})")


def solution(exercise: str) -> Message:
    """A way to the answer, folded until it is opened. Raises InputError as `check`."""
    asked = _find(exercise, exercises(), "exercise")
    record(asked.name, shown=True)
    return Message("note", asked.title, (asked.why,), code=asked.code.strip("\n"), folded=True)


def progress() -> pd.DataFrame:
    """Every question and exercise with what you did so far, from the file on this machine. Raises InputError."""
    import pandas as pd

    known = [(f"question {name}", "prediction") for name in questions()]
    known += [(name, each.title) for name, each in exercises().items()]
    return pd.DataFrame(rows(sorted(known, key=lambda row: row[0].removeprefix("question ")))).set_index("exercise")


__all__ = ["ask", "check", "exercises", "hint", "predict", "progress", "questions", "reveal", "solution"]
