"""The bibliography data/references.bib: who said it, when, and under which Message-ID.

The reader takes the part of BibTeX that the file uses: @type{key, name = {text} or "text", ...} with balanced
braces, and comments that begin with %. No macros, no string concatenation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vdpa_lab.paths import data_dir
from vdpa_lab.words import nearest

MAX_BYTES = 1 << 20
FIELDS = ("author", "title", "date", "url", "messageid", "note")
REQUIRED = ("author", "title", "date")
ARCHIVE = "https://lore.kernel.org/all/"

_HEAD = re.compile(r"@\s*(\w+)\s*\{\s*([\w.:-]+)\s*,")
_NAME = re.compile(r"\s*(\w+)\s*=\s*")


class CitationError(ValueError):
    """A bibliography that cannot be used; the message begins with file and line."""


@dataclass(frozen=True, slots=True)
class Citation:
    """One source; `date` as ISO 8601 or a part of it, `message_id` without angle brackets, "" if none."""

    key: str
    authors: tuple[str, ...]
    title: str
    date: str
    url: str = ""
    message_id: str = ""
    note: str = ""

    @property
    def author(self) -> str:
        """All authors in one text."""
        return ", ".join(self.authors)

    @property
    def messageid(self) -> str:
        """The Message-ID under the name that it has in the file."""
        return self.message_id

    def __str__(self) -> str:
        where = f", {self.message_id}" if self.message_id else ""
        return f"{self.author}, “{self.title}”, {self.date}{where}"


class _Reader:
    """A place in the text, and what can be read from there."""

    def __init__(self, text: str, where: str):
        self.text, self.where, self.at = text, where, 0

    def refuse(self, why: str) -> CitationError:
        return CitationError(f"{self.where}:{self.text.count(chr(10), 0, self.at) + 1}: {why}")

    def value(self) -> str:
        """The text in braces or quotation marks that begins here."""
        opened = self.text[self.at : self.at + 1]
        if opened not in ("{", '"'):
            raise self.refuse('a value has to be {in braces} or in "quotation marks"')
        depth, start = 0, self.at + 1
        for at in range(start, len(self.text)):
            char = self.text[at]
            if depth == 0 and char == ("}" if opened == "{" else '"'):
                self.at = at + 1
                return " ".join(self.text[start:at].split())
            depth += (char == "{") - (char == "}")
        raise self.refuse(f"this {opened} is never closed")

    def entry(self, head: re.Match[str]) -> tuple[str, dict[str, str]]:
        """Key and fields of the entry whose first line is `head`."""
        self.at, key, fields = head.end(), head[2], {}
        while True:
            name = _NAME.match(self.text, self.at)
            if name is None:
                self.at += len(self.text[self.at :]) - len(self.text[self.at :].lstrip())
                if self.text[self.at : self.at + 1] != "}":
                    raise self.refuse(f"entry {key!r}: a field or a closing }} has to stand here")
                self.at += 1
                return key, fields
            self.at = name.end()
            if name[1] not in FIELDS:
                raise self.refuse(f"entry {key!r}: unknown field {name[1]!r}; {nearest(name[1], FIELDS)}")
            if name[1] in fields:
                raise self.refuse(f"entry {key!r}: {name[1]!r} is given twice")
            fields[name[1]] = self.value()
            comma = re.compile(r"\s*,").match(self.text, self.at)
            self.at = comma.end() if comma else self.at


def _citation(reader: _Reader, key: str, fields: dict[str, str]) -> Citation:
    if missing := [name for name in REQUIRED if not fields.get(name)]:
        raise reader.refuse(f"entry {key!r} lacks {', '.join(missing)}")
    mail, url = fields.get("messageid", ""), fields.get("url", "")
    if mail and (mail.startswith("<") or "@" not in mail or " " in mail):
        raise reader.refuse(f"entry {key!r}: messageid = {mail!r}; write name@host, without angle brackets")
    if mail and url and url != f"{ARCHIVE}{mail}/":
        raise reader.refuse(f"entry {key!r}: url = {url!r} does not fit messageid; write {ARCHIVE}{mail}/")
    authors = tuple(name.strip() for name in fields["author"].split(" and "))
    return Citation(key, authors, fields["title"], fields["date"], url, mail, fields.get("note", ""))


def parse_bibliography(text: str, where: str = "references.bib") -> dict[str, Citation]:
    """The entries by key. Raises CitationError naming file, line and entry."""
    plain = re.sub(r"(?m)^\s*%.*$", "", text)
    reader, entries = _Reader(plain, where), {}
    while (at := plain.find("@", reader.at)) >= 0:
        if between := plain[reader.at : at].strip():
            raise reader.refuse(f"{between[:40]!r} is in no entry; begin a comment with %")
        reader.at = at
        head = _HEAD.match(plain, at)
        if head is None:
            raise reader.refuse("an entry has to begin with @type{key,")
        key, fields = reader.entry(head)
        if key in entries:
            raise reader.refuse(f"entry {key!r} is given twice")
        entries[key] = _citation(reader, key, fields)
    if rest := plain[reader.at :].strip():
        raise reader.refuse(f"{rest[:40]!r} is in no entry; begin a comment with %")
    return entries


def read_bibliography(path: str | Path) -> dict[str, Citation]:
    """The entries of a BibTeX file of at most 1 MiB. Raises CitationError, OSError."""
    path = Path(path)
    raw = path.read_bytes()
    if len(raw) > MAX_BYTES:
        raise CitationError(f"{path}:1: larger than {MAX_BYTES} bytes; not a bibliography of this project")
    try:
        return parse_bibliography(raw.decode("utf-8"), str(path))
    except UnicodeDecodeError:
        raise CitationError(f"{path}:1: not UTF-8 text; save it as UTF-8") from None


@lru_cache(maxsize=1)
def bibliography() -> dict[str, Citation]:
    """Every source that the project cites, by key."""
    return read_bibliography(data_dir() / "references.bib")
