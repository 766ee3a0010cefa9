"""What a run says of itself: config.json with both command lines, or a QEMU command line as text."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vdpa_lab.traces.lines import whole_text
from vdpa_lab.traces.qmp import _json
from vdpa_lab.units import MIB
from vdpa_lab.words import InputError

LARGEST_CONFIG = MIB
LONGEST_COMMAND = 64 * 1024
MOST_WORDS = 5000


@dataclass(frozen=True)
class CommandLine:
    """The words of a QEMU command line; `where` names file and key for messages."""

    words: tuple[str, ...]
    where: str

    def options(self) -> Iterator[tuple[str, str]]:
        """Option and value in order, "" for an option without one; `--m` is `-m`."""
        index = 1
        while index < len(self.words):
            word = self.words[index]
            index += 1
            if not word.startswith("-") or len(word) < 2:
                continue
            option = "-" + word.lstrip("-")
            if index < len(self.words) and not self.words[index].startswith("-"):
                yield option, self.words[index]
                index += 1
            else:
                yield option, ""

    def all(self, option: str) -> list[str]:
        """The values of every use of an option."""
        return [value for name, value in self.options() if name == option]

    def last(self, option: str) -> str | None:
        """The value that counts where an option is given more than once."""
        return next(reversed(self.all(option)), None)


def properties(value: str) -> dict[str, str]:
    """`a,b=c,d=on` as {"": "a", "b": "c", "d": "on"}; a doubled comma is a comma (QEMU docs, "id=,")."""
    found: dict[str, str] = {}
    for number, part in enumerate(re.split(r"(?<!,),(?!,)", value)):
        key, equals, text = part.replace(",,", ",").partition("=")
        if equals:
            found[key] = text
        elif number == 0:
            found[""] = key
        else:
            found[key] = "on"
    return found


@dataclass(frozen=True)
class Config:
    """A run's own description. args: settings of the tool that made the run. Versions are "" where not said."""

    path: str
    source: CommandLine | None
    destination: CommandLine | None
    args: dict[str, Any] = field(default_factory=dict)
    qemu: str = ""
    linux: str = ""

    @property
    def one_machine(self) -> str:
        """Why both QEMUs ran on one machine, "" if it does not say so."""
        where = self.destination.last("-incoming") if self.destination else None
        if where and re.match(r"unix:|tcp:(127\.0\.0\.1|localhost|\[::1\]):", where):
            return f"{os.path.basename(self.path)}: -incoming {where.partition(':')[0]}: is on one machine"
        return ""

    @property
    def return_path(self) -> bool:
        """Is the capability among the run's settings?"""
        return "return-path" in str(self.args.get("caps", ""))[:1000]


def _version(text: object) -> str:
    match = re.search(r"(?<![0-9.])(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3})){1,2}", str(text)[:300])
    return match[0] if match else ""


def _words(value: object, where: str) -> CommandLine | None:
    if isinstance(value, str):
        return parse_command(value, where)
    if isinstance(value, list) and value and len(value) <= MOST_WORDS and all(isinstance(w, str) for w in value):
        return CommandLine(tuple(word[:4096] for word in value), where)
    return None


def parse_command(text: str, where: str) -> CommandLine:
    """A shell command, over several lines with backslashes or not. Raises InputError."""
    if len(text) > LONGEST_COMMAND:
        raise InputError(f"{where}: longer than a command line: at most {LONGEST_COMMAND} characters")
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise InputError(f"{where}: not a shell command: {error}") from error
    first = next((i for i, word in enumerate(words) if re.search(r"(^|/)qemu(-system-\w+|-kvm)?$", word)), None)
    if first is None:
        raise InputError(f"{where}: no QEMU command line: no word names qemu-system-… or qemu-kvm")
    return CommandLine(tuple(words[first : first + MOST_WORDS]), where)


def is_config(value: object) -> bool:
    """Is the JSON value a run's description?"""
    return isinstance(value, dict) and isinstance(value.get("src"), list | str)


def read_config(path: str | os.PathLike[str]) -> Config:
    """config.json, or a text file that holds one QEMU command line. Raises InputError."""
    where = os.fspath(path)
    text = whole_text(where, LARGEST_CONFIG)
    value = _json(text)
    if value is None:
        return Config(where, parse_command(text, where), None)
    if isinstance(value, list):
        return Config(where, _words(value, where), None)
    if not is_config(value):
        raise InputError(f"{where!r} is no config.json of a run: it has no key src with a command line")
    uname = value.get("uname")
    linux = _version(uname[2]) if isinstance(uname, list) and len(uname) > 2 else ""
    args = value.get("args")
    return Config(
        where,
        _words(value["src"], f"{where}: src"),
        _words(value.get("dst"), f"{where}: dst"),
        args if isinstance(args, dict) else {},
        _version(value.get("qemu", "")),
        linux,
    )
