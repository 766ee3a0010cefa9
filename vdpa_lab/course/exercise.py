"""What an exercise and a question are, and how each sort of answer is compared: numbers, tables, bytes, functions.

The right answer is always computed by the package when it is asked for. `Slip`s are wrong answers that are common
enough to be recognised: a rule that is half right, as a value, with what is missing in it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

from vdpa_lab.course.message import Message, open_, right, wrong


class Slip(NamedTuple):
    """A typical wrong value and what it overlooks."""

    value: Any
    why: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. judge: answer -> Message. code: Python that ends with `answer = ...`; why: what it shows."""

    name: str
    title: str
    ask: str
    judge: Callable[[Any], Message]
    hints: tuple[str, ...]
    code: str
    why: str


@dataclass(frozen=True)
class Question:
    """A question to answer before anything runs. truth: computed when it is revealed; shown as its text."""

    name: str
    ask: str
    truth: Callable[[], Any]
    why: str
    choices: tuple[str, ...] = ()


def kind_of(answer: Any) -> str:
    """The type of an answer, for a message."""
    return type(answer).__name__


def is_int(answer: Any) -> bool:
    """Whether it is a whole number, of Python or numpy; True and False are not."""
    return isinstance(answer, Integral) and not isinstance(answer, bool)


def judge_number(
    answer: Any, expected: int, unit: str, why: str, slips: Iterable[Slip] = (), look: str = "", within: float = 0.0
) -> Message:
    """Compare a number; within: the relative error that still counts as right (0: exact, whole numbers only)."""
    if not isinstance(answer, Real) or isinstance(answer, bool):
        return wrong(f"a number of {unit} is asked for, and this is a {kind_of(answer)}", look=look)
    if abs(answer - expected) <= within * abs(expected):
        return right(f"{expected:,} {unit}", why)
    for slip in slips:
        if slip.value != expected and abs(answer - slip.value) <= within * abs(slip.value):
            return wrong(f"{answer:,} {unit} is not right", slip.why, look=look)
    side = "too many" if answer > expected else "too few"
    factor = (
        f", by a factor of {max(answer, expected) / min(answer, expected):.3g}" if min(answer, expected) > 0 else ""
    )
    return wrong(f"{answer:,} {unit} is {side}{factor}", look=look)


def judge_table(
    answer: Any, expected: Mapping[str, Any], why: str, slips: Mapping[str, Iterable[Slip]] | None = None,
    reasons: Mapping[str, str] | None = None, look: str = "", within: float = 0.0,
) -> Message:  # fmt: skip
    """Compare a dict entry by entry. slips: typical wrong values by key; reasons: what else to say of a wrong key."""
    if not isinstance(answer, Mapping):
        return wrong(f"a dict with the keys {', '.join(expected)} is asked for, and this is a {kind_of(answer)}")
    missing, extra = [k for k in expected if k not in answer], [k for k in answer if k not in expected]
    if missing or extra:
        said = [f"missing: {', '.join(missing)}"] if missing else []
        said += [f"not asked for: {', '.join(map(repr, extra))}"] if extra else []
        return wrong(f"the keys have to be {', '.join(expected)}", *said)
    if unanswered := [key for key, value in answer.items() if value is ...]:
        return open_(f"not answered yet: {', '.join(unanswered)}", look)
    bad = [key for key in expected if not same(answer[key], expected[key], within)]
    if not bad:
        return right(", ".join(f"{key}: {value}" for key, value in expected.items()), why)
    said = []
    for key in bad:
        known = [slip.why for slip in (slips or {}).get(key, ()) if same(answer[key], slip.value, within)]
        reason = known[0] if known else (reasons or {}).get(key, "")
        said.append(f"{key}: {answer[key]!r} is not right" + (f". {reason}" if reason else ""))
    return wrong(f"{len(expected) - len(bad)} of {len(expected)} are right", *said, look=look)


def same(answer: Any, expected: Any, within: float = 0.0) -> bool:
    """Whether two values are equal; numbers within a relative error, and True is no 1."""
    if isinstance(answer, bool) or isinstance(expected, bool):
        return isinstance(answer, bool) and answer is expected
    if isinstance(answer, Real) and isinstance(expected, Real):
        return abs(answer - expected) <= within * abs(expected)
    if isinstance(answer, list | tuple) and isinstance(expected, list | tuple):
        return len(answer) == len(expected) and all(map(same, answer, expected))
    return type(answer) is type(expected) and bool(answer == expected)


class Field(NamedTuple):
    """A little-endian number in a buffer: offset and size in bytes, its name, and why it has the value it has."""

    at: int
    size: int
    name: str
    why: str = ""


def judge_bytes(answer: Any, expected: bytes, fields: Iterable[Field], why: str, look: str = "") -> Message:
    """Compare a buffer field by field; a field whose bytes are reversed is told so."""
    if not isinstance(answer, bytes | bytearray | memoryview):
        return wrong(f"bytes are asked for, and this is a {kind_of(answer)}", "struct.pack('<QIHH', ...) makes bytes.")
    answer, said = bytes(answer), []
    if len(answer) != len(expected):
        return wrong(f"{len(answer)} bytes, and {len(expected)} are asked for", look=look)
    for field in fields:
        ours, theirs = expected[field.at : field.at + field.size], answer[field.at : field.at + field.size]
        if ours == theirs:
            continue
        number = int.from_bytes(theirs, "little")
        if theirs == ours[::-1]:
            said.append(f"{field.name}: its bytes are reversed; virtqueues are little-endian (VIRTIO 1.3, 1.4).")
        else:
            said.append(f"{field.name} is {number:#x}. {field.why}".rstrip())
    if not said:
        return right(expected.hex(" ", 4), why)
    return wrong(f"{len(said)} field{'s' * (len(said) > 1)} wrong", *said, look=look)


def judge_function(
    answer: Any,
    reference: Callable[..., Any],
    cases: Iterable[tuple[tuple, str]],
    why: str,
    signature: str,
    look: str = "",
) -> Message:
    """Call a student's function on each (arguments, what this case is about); the first difference is told."""
    if not callable(answer):
        return wrong(f"a function {signature} is asked for, and this is a {kind_of(answer)}")
    tried = 0
    for arguments, about in cases:
        tried += 1
        shown = ", ".join(map(reprlib.repr, arguments))
        try:
            got = answer(*arguments)
        except Exception as error:  # the student's own code: whatever it raises is the finding
            return wrong(f"{signature} with ({shown}) raises {type(error).__name__}: {error}", look=look)
        expected = reference(*arguments)
        if got is ... or got is None:
            return open_(f"the function returns {got!r} for ({shown}): write its body first", look)
        if not same(got, expected):
            return wrong(f"with ({shown}) yours returns {got!r}, and {expected!r} is right", about, look=look)
    return right(f"right in all {tried} cases", why)
