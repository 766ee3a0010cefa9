"""What every noun of a scenario shares: fields that describe themselves, values checked on construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

from vdpa_lab.model.errors import ScenarioError, shown
from vdpa_lab.model.kinds import Kind


def key(kind: Kind, default: Any = MISSING, *, quiet: bool = False) -> Any:
    """A dataclass field of this kind; a quiet one is left out of a written file while it has its default."""
    return field(default=default, metadata={"kind": kind, "quiet": quiet})


class Record:
    """A frozen noun. TABLE: where its keys stand in a file. ROW: spelled as an array, in field order.

    REFUSED: keys that the lab knows and does not offer, with the reason in words.
    """

    __slots__ = ()
    TABLE: ClassVar[str] = ""
    ROW: ClassVar[bool] = False
    REFUSED: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __post_init__(self) -> None:
        """Check every field by its kind, then how they go together. Raises ScenarioError."""
        for each in fields(self):
            value = getattr(self, each.name)
            if not each.metadata["kind"].accepts(value):
                self._refuse(each.name, f"must be {each.metadata['kind'].allowed}", shown(value))
        self._check()

    def _check(self) -> None:
        """How the fields go together; overridden where there is such a rule."""

    def _refuse(self, name: str, why: str, value: str | None = None) -> NoReturn:
        """Raise ScenarioError for the field `name`; the value is written as in a file unless given."""
        if value is None:
            kind = next(each.metadata["kind"] for each in fields(self) if each.name == name)
            value = kind.write(getattr(self, name)) if kind.record is None else ""
        raise ScenarioError(f"{self.TABLE}.{name}" if self.TABLE else name, value, why)
