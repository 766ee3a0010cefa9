"""Ready-made sets of toggles: nothing, what versions ship, other ways, all of it, the scenario's own and its ladder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vdpa_lab.library import shipped
from vdpa_lab.migration import catalogue, default_toggles
from vdpa_lab.migration.optimization import known
from vdpa_lab.model import Scenario


class Preset(NamedTuple):
    """Toggles that are on, in catalogue order, under a name and in words."""

    key: str
    title: str
    short: str
    names: tuple[str, ...]


# What is done otherwise, on top of what ships: key, title, a word, toggles.
WAYS = (
    ("other-vmm", "Another VMM's way (cloud-hypervisor): suspend only", "suspend only", ("suspend", "suspend-only")),
    ("always", "QEMU's x-svq=on: shadow virtqueues always", "x-svq=on", ("svq-always",)),
)


def why_not(name: str, on: Iterable[str], driver: str) -> str:
    """Why a toggle that is off cannot be switched on beside those that are, in words; "" if it can.

    A conflict counts whichever of the two declares it.
    """
    found = catalogue()[name].unmet(on, driver)
    declared = ((other, catalogue()[other].conflicts) for other in on)
    rivals = (f"conflicts with {other}: {whys[name]}" for other, whys in declared if name in whys)
    return found or next(rivals, "")


def settle(names: Iterable[str], driver: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The toggles that can be on together, and those that drop out of `names`, with the reasons in words."""
    on, dropped = known(names), {}
    while refused := {name: why for name in on if (why := catalogue()[name].unmet(on, driver))}:
        # One conflict at a time: without its rival the other one may stay.
        name = next(reversed(refused))
        dropped[name] = refused[name]
        on = tuple(each for each in on if each != name)
    return on, dropped


def presets(scenario: Scenario) -> dict[str, Preset]:
    """The presets of a scenario by key; its ladder adds its own toggles one by one, in its file's order."""
    driver, hosts = scenario.device.driver, scenario.source
    own = default_toggles(scenario) if scenario.optimizations is None else scenario.optimizations
    found = [
        Preset("nothing", "Stock: nothing optimised", "stock", ()),
        Preset(
            "shipped",
            f"As shipped: QEMU {hosts.qemu}, Linux {hosts.linux}",
            "as shipped",
            settle(shipped(scenario), driver)[0],
        ),
        Preset("own", "The scenario's own", "scenario's", settle(own, driver)[0]),
    ]
    found += [
        Preset(key, title, short, settle({*shipped(scenario), *names}, driver)[0]) for key, title, short, names in WAYS
    ]
    found.append(Preset("all", "All that go together", "all", settle(catalogue(), driver)[0]))
    for step, name in enumerate(own, start=1):
        title = f"Ladder {step} of {len(own)}: + {catalogue()[name].title}"
        found.append(Preset(f"ladder-{step}", title, f"step {step}", settle(own[:step], driver)[0]))
    return {preset.key: preset for preset in found}


def news(before: Preset, after: Preset) -> str:
    """What other versions ship, in words; "" where it is the same."""
    changes = (("this comes with it", after, before), ("this is not in it", before, after))
    said = [
        f"{what}: {', '.join(catalogue()[name].title for name in known(names))}"
        for what, more, less in changes
        if (names := set(more.names) - set(less.names))
    ]
    return f"{after.title}: {'; '.join(said)}. The preset of that name takes it over." if said else ""
