"""Lesson 8: an optimisation of your own, as a file, and what the laws say to it."""

from __future__ import annotations

from typing import Any

from vdpa_lab.course.catalogue_laws import LAWS
from vdpa_lab.course.exercise import Exercise, Message, Question
from vdpa_lab.course.judge_laws import findings, gain, scenarios
from vdpa_lab.course.message import right, wrong
from vdpa_lab.course.own_file import FILE, taken
from vdpa_lab.migration.laws import check
from vdpa_lab.migration.optimization import Optimization, plan
from vdpa_lab.migration.plan import PlanError
from vdpa_lab.model import find_scenario
from vdpa_lab.units import format_duration
from vdpa_lab.words import InputError

PRESET, WINDOW, SHARE = "liu2023", "source_teardown", 0.5


def _laws(answer: Any) -> tuple[Optimization | None, Message | None]:
    """(the optimisation, None), or (None, what is wrong with it)."""
    try:
        one = taken(answer)
        found = findings(one)
    except InputError as error:
        return None, wrong(str(error), look="the catalogue's own files, vdpa_lab/migration/optimizations")
    if bad := [each for each in found if not each.holds]:
        said = [f"Law {each.law}, {each.title}: {each.why}." for each in bad]
        if len(found) < len(LAWS):
            said.append("The laws after that were not asked yet.")
        look = "fnmatch patterns of cost keys, as in removes = ('vhost.*',)" if bad[0].law == 3 else f"law {bad[0].law}"
        return None, wrong(
            f"{len(bad)} of {len(found)} laws asked are broken" if len(bad) > 1 else f"law {bad[0].law} is broken",
            *said,
            look=look,
        )
    return one, None


def _judge_lawful(answer: Any) -> Message:
    one, bad = _laws(answer)
    if bad:
        return bad
    before, after = gain(one, find_scenario(PRESET), WINDOW)
    if before == after and not one.removes:
        return wrong(
            "it keeps every law, but changes nothing", f"{WINDOW} of {PRESET} stays {format_duration(before)}."
        )
    why = f"{WINDOW} of {PRESET}: {format_duration(before)} before, {format_duration(after)} after."
    return right(
        f"{one.name!r} keeps all {len(LAWS)} laws that are asked here", why, "Small and lawful beats large and wrong."
    )


def _judge_half(answer: Any) -> Message:
    one, bad = _laws(answer)
    if bad:
        return bad
    before, after = gain(one, find_scenario(PRESET), WINDOW)
    if after > SHARE * before:
        return wrong(
            f"lawful, but {WINDOW} of {PRESET} only goes from {format_duration(before)} to {format_duration(after)}",
            f"It has to become {format_duration(int(SHARE * before))} or less. Which operations of the stop cost most?",
            look=f"vl.simulate(vl.find_scenario({PRESET!r}), ...).breakdown({WINDOW!r}); lesson 6, exercise 6.3",
        )
    return right(
        f"{WINDOW} of {PRESET}: {format_duration(before)} before, {format_duration(after)} after",
        "And no law is broken.",
    )


def _suspend_broken() -> str:
    scenario = next(each for each in scenarios() if each.name == PRESET)
    stock = plan(scenario, ("cvq-asid", "iotlb-batch", "parallel-cvq-load", "suspend"))
    try:
        check(stock.drop(stock.select(path="stop", op="SUSPEND")))
    except PlanError:
        return "refused"
    return "accepted"


QUESTION = Question(
    "8",
    "Suspending the device takes time. A rewrite drops the SUSPEND of the source's stop, so the plan gets "
    "shorter. Will the lab "
    "accept that plan?",
    _suspend_broken,
    "A device that runs on while its rings are unmapped and the last bitmap is read may write pages that nobody sends.",
    ("accepted", "refused"),
)

_RINGS = '''
from pathlib import Path

answer = Path("leave_rings.py")
answer.write_text(\'\'\'"""Shadow rings stay mapped at the stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan

RINGS = {"vhost_vdpa_svq_unmap_rings", "vhost_vdpa_svq_unmap_rings (CVQ)"}


@dataclass(frozen=True, slots=True)
class LeaveRings(Optimization):
    """Do not unmap shadow rings one by one at the stop: the device is reset just after that, which drops its map."""

    name: ClassVar = "leave-rings"
    title: ClassVar = "Shadow rings stay mapped"
    layer: ClassVar = "what-if"
    effect: ClassVar = "no rebuild of the whole map for each shadow ring at the stop"
    status: ClassVar = "what-if; an exercise"
    refs: ClassVar = ("liu2023",)
    removes: ClassVar = ("vhost.message", "unpin.*", "iotlb.*", "iommu.*", "set_map.*", "mlx5.*")

    def rewrite(self, plan: Plan) -> Plan:
        return plan.drop(plan.select(path="stop", caller=RINGS))
\'\'\')
'''

EXERCISES = (
    Exercise(
        "8.1", "Lawful",
        f"vl.course.template() writes {FILE}: a rewrite that leaves out the read-backs of the device status. It "
        f"breaks two laws. "
        "Mend it, and give its path.",
        _judge_lawful,
        (
            "Law 1 wants a source in refs: a key of data/references.bib. For an idea of your own take the work "
            "it builds on.",
            "Law 3 wants every kind of work that disappears to be named in removes. The message names the cost key.",
            "refs = ('eperezma2023thread',) and removes = ('vhost.ioctl',) are enough.",
        ),
        '''
from pathlib import Path

from vdpa_lab.course.own_file import TEMPLATE

text = TEMPLATE.replace("refs: ClassVar = ()", 'refs: ClassVar = ("eperezma2023thread",)')
text = text.replace("removes: ClassVar = ()", 'removes: ClassVar = ("vhost.ioctl",)')
answer = Path("mended.py")
answer.write_text(text)
''',
        "It gains microseconds. That is a result too: now nobody has to argue about it.",
    ),
    Exercise(
        "8.2", "Worth it",
        f"Write an optimisation that keeps the laws and makes {WINDOW} of the preset {PRESET} at most half as "
        f"long. Give its path.",
        _judge_half,
        (
            "Ask the breakdown of that window which operations take longest, and which function issues them.",
            "Lesson 6 counted ten rebuilds of the whole map. What happens to the device's map right after them?",
            "The reset drops the whole map anyway. Select the steps of path 'stop' whose caller unmaps shadow "
            "rings, and drop them.",
        ),
        _RINGS,
        "Is it true, though? The laws ask whether a plan is safe in the model. QEMU would still have to give "
        "the IOVAs back, and "
        "the pages stay pinned until the device is closed. Say so beside your figure.",
    ),
)  # fmt: skip
