"""An optimisation as a file of the student's own: a start to edit, and how it is taken in.

The file is imported as any module of theirs would be, so give it only files you wrote yourself.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any

from vdpa_lab.course.exercise import kind_of
from vdpa_lab.course.message import Message, note
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.words import InputError

FILE = "my_optimization.py"
MOST_BYTES = 1 << 16

TEMPLATE = '''"""My optimisation: leave out the read-backs of the device status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class MyOptimization(Optimization):
    """Write the device status without reading it back (vhost_vdpa_add_status reads it before and after)."""

    name: ClassVar = "my-optimization"
    title: ClassVar = "No status read-backs"
    layer: ClassVar = "what-if"
    effect: ClassVar = "two ioctls fewer for each change of the device status"
    status: ClassVar = "what-if; an exercise"
    refs: ClassVar = ()
    removes: ClassVar = ()

    def rewrite(self, plan: Plan) -> Plan:
        return plan.drop(plan.select(op="GET_STATUS"))
'''


def template(path: str | os.PathLike[str] = FILE) -> Message:
    """Write the start of an optimisation beside the notebook; a file that is there stays as it is. Raises OSError."""
    target = Path(path)
    if target.exists():
        return note(f"{target} is there already and stays as it is. Open it, edit it, save it, and check it again.")
    save_text(TEMPLATE, target)
    return note(f"Wrote {target}. Open it beside this notebook, edit it, save it, and check it again.")


def load(path: str | os.PathLike[str]) -> Optimization:
    """The one optimisation that a file of yours defines. Raises InputError naming the file and what is wrong."""
    target = Path(path)
    if not target.is_file():
        raise InputError(f"there is no file {str(path)!r}: vl.course.template() writes a start")
    if target.stat().st_size > MOST_BYTES:
        raise InputError(f"{target}: larger than {MOST_BYTES} bytes; an optimisation is a page of text")
    spec = importlib.util.spec_from_file_location("vdpa_lab_course_own", target)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # an old .pyc would hide an edit within a second
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the student's file raises is the finding
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(f"{target}{line}: {type(error).__name__}: {error}") from None
    finally:
        sys.dont_write_bytecode = keep
        del sys.modules[spec.name]
    mine = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Optimization) and each.__module__ == spec.name
    ]
    if len(mine) != 1:
        raise InputError(f"{target}: {len(mine)} classes derive from Optimization; there has to be one")
    return mine[0]()


def taken(answer: Any) -> Optimization:
    """The optimisation in an answer: an object, a class, or the path of a file. Raises InputError."""
    if inspect.isclass(answer) and issubclass(answer, Optimization):
        return answer()
    if isinstance(answer, Optimization):
        return answer
    if isinstance(answer, str | os.PathLike):
        return load(answer)
    raise InputError(f"the path of a file, or an Optimization is asked for, and this is a {kind_of(answer)}")
