"""What a refused scenario says: the file, the key, its value, and what is allowed there."""

from __future__ import annotations

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def shown(value: object) -> str:
    """`value` for a message: its repr, cut when long or deep."""
    return _SHORT.repr(value)


class ScenarioError(ValueError):
    """A scenario that cannot be: `where` (file), `key` (dotted), `value` as given (may be ""), and `why`."""

    def __init__(self, key: str, value: str, why: str, where: str = "") -> None:
        super().__init__(key, value, why, where)
        self.key, self.value, self.why, self.where = key, value, why, where

    def __str__(self) -> str:
        given = f"{self.key} = {self.value}" if self.value else self.key
        return ": ".join(part for part in (self.where, given, self.why) if part)

    def at(self, path: str, where: str) -> ScenarioError:
        """The same refusal where a file has it: its last key under the dotted `path`."""
        name = self.key.rpartition(".")[2]
        return ScenarioError(f"{path}.{name}" if path else self.key, self.value, self.why, where)
