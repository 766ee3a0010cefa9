"""Sources of a lesson, from the bibliography: who, what, when, and where to find it."""

from __future__ import annotations

import html
from dataclasses import dataclass

from vdpa_lab.library import bibliography
from vdpa_lab.library.citations import ARCHIVE, Citation
from vdpa_lab.words import InputError, nearest


def _address(one: Citation) -> str:
    return one.url or (f"{ARCHIVE}{one.message_id}/" if one.message_id else "")


@dataclass(frozen=True)
class Reading:
    """A list of sources that a notebook shows with links, and a terminal as text."""

    entries: tuple[Citation, ...]

    def __str__(self) -> str:
        return "\n".join(f"[{one.key}] {one}" + (f" {_address(one)}" if _address(one) else "") for one in self.entries)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        items = []
        for one in self.entries:
            title, address = html.escape(one.title), html.escape(_address(one), quote=True)
            linked = f'<a href="{address}">{title}</a>' if address.startswith("https://") else title
            note = f" {html.escape(one.note)}" if one.note else ""
            who, when = html.escape(one.author), html.escape(one.date)
            items.append(f"<li><code>{html.escape(one.key)}</code> {who}, {linked}, {when}.{note}</li>")
        return f"<ul>{''.join(items)}</ul>"


def reading(*keys: str) -> Reading:
    """The sources of these keys of data/references.bib, in this order. Raises InputError for an unknown key."""
    known = bibliography()
    for key in keys:
        if key not in known:
            raise InputError(f"no source {key!r}; {nearest(key, known)}")
    return Reading(tuple(known[key] for key in keys))
