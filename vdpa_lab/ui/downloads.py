"""Files that the page itself can save: there is no file browser beside a Voila page or a projected view."""

from __future__ import annotations

import base64
from html import escape

from vdpa_lab.units import MIB, format_bytes

MOST_BYTES = 8 * MIB  # of a file that is put into the page
TYPES = {"svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf", "csv": "text/csv"}


def download_link(name: str, content: bytes) -> str:
    """HTML of a link that saves `content` under `name`; "" where it is too large to be put into the page."""
    if len(content) > MOST_BYTES:
        return ""
    kind = TYPES.get(name.rpartition(".")[2], "text/plain")
    data = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    words = f"download {escape(name)} ({escape(format_bytes(len(content)))})"
    return f"<a class='vdpa-download' download='{escape(name)}' href='{data}'>{words}</a>"
