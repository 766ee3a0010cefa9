"""What the course says back: a verdict in plain words that a notebook, a terminal and a test read alike.

Text of a student's own making is shown as text: it is escaped wherever it is put into HTML.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

MARKS = {"right": "✓", "wrong": "✗", "open": "…", "note": "→"}
COLOURS = {"right": "#009E73", "wrong": "#D55E00", "open": "#777777", "note": "#0072B2"}
LONGEST = 400  # characters of one line: an answer may be of any size


@dataclass(frozen=True)
class Message:
    """One answer of the course.

    state: right, wrong, open (nothing to judge yet) or note. what: one line. why: what exactly is wrong, or why it is
    right. look: where to look next. code: Python to show, "" for none; folded: hidden until it is opened.
    """

    state: str
    what: str
    why: tuple[str, ...] = ()
    look: str = ""
    code: str = ""
    folded: bool = False

    @property
    def right(self) -> bool:
        return self.state == "right"

    def _lines(self) -> list[str]:
        rest = [*self.why, *([f"Look next: {self.look}"] if self.look else [])]
        return [line if len(line) <= LONGEST else line[: LONGEST - 1] + "…" for line in (self.what, *rest)]

    def __str__(self) -> str:
        first, *rest = self._lines()
        code = ["", self.code] if self.code else []
        return "\n".join([f"{MARKS[self.state]} {first}", *(f"  {line}" for line in rest), *code])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        first, *rest = map(html.escape, self._lines())
        body = f"<b>{MARKS[self.state]} {first}</b>" + "".join(f"<br>{line}" for line in rest)
        if self.code:
            body += f"<pre><code>{html.escape(self.code)}</code></pre>"
        if self.folded:
            body = f"<details><summary>Show the solution</summary>{body}</details>"
        return f'<div style="border-left:4px solid {COLOURS[self.state]};padding:2px 10px">{body}</div>'

    def _repr_markdown_(self) -> str:
        first, *rest = map(html.escape, self._lines())
        body = "\n\n".join([f"**{MARKS[self.state]} {first}**", *rest])
        if self.code:
            # A fence longer than any in the code cannot be closed by it.
            body += f"\n\n`````python\n{self.code}\n`````"
        return f"<details><summary>Show the solution</summary>\n\n{body}\n\n</details>" if self.folded else body


def open_(what: str, look: str = "") -> Message:
    """Nothing to judge yet."""
    return Message("open", what, look=look)


def note(what: str, *why: str, look: str = "") -> Message:
    """Something said without a verdict."""
    return Message("note", what, why, look)


def right(what: str, *why: str) -> Message:
    """The answer holds; `why` says what it shows."""
    return Message("right", what, why)


def wrong(what: str, *why: str, look: str = "") -> Message:
    """The answer does not hold; `what` names the thing that is wrong, not only that something is."""
    return Message("wrong", what, why, look)
