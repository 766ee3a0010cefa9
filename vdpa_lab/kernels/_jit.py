"""The one decorator of compiled kernels, and the only place that imports numba.

Compiled code is cached where numba can write; a cache that cannot be written never breaks anything. numba renews what
a kernel's own file gave; since kernels are compiled into each other, here a change of any file of this folder does.
Fences order the accesses of two threads to one ring; they do nothing where kernels run as plain Python.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numba
from numba.core import event
from numba.core.cgutils import ir
from numba.extending import intrinsic

DISABLED = bool(numba.config.DISABLE_JIT)
SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).digest()
X86 = platform.machine().lower() in ("x86_64", "amd64")


def _spare_scipy() -> None:
    """Load numba's array functions without SciPy: a fifth of the time to a first result.

    numba.np.arraymath imports it only to know whether it is there. Who compiles linear algebra has it imported then.
    """
    from numba.np import linalg

    plain = linalg.ensure_blas
    linalg.ensure_blas = lambda: None if find_spec("scipy") else plain()
    try:
        from numba.np import arraymath

        arraymath.ensure_blas = plain
    finally:
        linalg.ensure_blas = plain


class _Note(event.Listener):
    """Says once that kernels are being compiled: with a cold cache nothing moves for some seconds."""

    told = False

    def on_start(self, event: event.Event) -> None:
        if not self.told and (event.data["dispatcher"].py_func.__module__ or "").startswith("vdpa_lab."):
            self.told = True
            print("vdpa_lab: compiling kernels, once on this machine …", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        """Only the beginning is told."""


if not DISABLED:
    _spare_scipy()
    event.register("numba:compile", _Note())


def kernel(
    function: Callable | None = None, *, inline: bool = False, parallel: bool = False, counted: bool = True
) -> Callable:
    """Compile a function of arrays and integers without the interpreter lock.

    inline: a helper of a hot loop (array structs are passed as seven words each otherwise). parallel: prange loops.
    counted: keep numba's reference counts; a hot kernel that makes no array does without.
    """
    options = {"nogil": True, "forceinline": inline, "parallel": parallel}
    if not counted:
        options["_nrt"] = False

    def compile_(each: Callable) -> Callable:
        try:
            compiled = numba.njit(each, cache=True, **options)
        except RuntimeError:  # "cannot cache function: no locator available"
            return numba.njit(each, **options)
        if not DISABLED:
            kept = compiled._cache._cache_file
            kept._source_stamp = (kept._source_stamp, SOURCES)
        return compiled

    return compile_ if function is None else compile_(function)


def _fence(ordering: str, doc: str) -> Callable[[], None]:
    """A function of no arguments that is a memory fence in compiled code."""

    def emit(context, builder, signature, arguments):
        if ordering == "seq_cst" and X86:  # a locked exchange on the stack orders as mfence does, and is faster
            word = ir.IntType(64)
            builder.atomic_rmw("xchg", builder.alloca(word), ir.Constant(word, 0), ordering)
        else:
            builder.fence(ordering)
        return context.get_dummy_value()

    def typed(typingctx):
        return numba.types.void(), emit

    def plain():
        return None

    made = plain if DISABLED else intrinsic(typed)
    made.__doc__ = doc
    return made


acquire = _fence("acquire", "What is read from here on is no older than what was read before.")
release = _fence("release", "What was written so far is seen no later than what is written from here on.")
full_fence = _fence("seq_cst", "What was written so far is seen before anything is read from here on.")
