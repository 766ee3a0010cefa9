"""The plan of a scenario against the kernel's own log of the real run that it describes, line by line."""

import re
from collections import Counter

import pytest
from conftest import CHECKOUT

from vdpa_lab.machine import sections
from vdpa_lab.migration import plan
from vdpa_lab.migration.kernel_ops import WINDOWS, kernel_ops, window_steps
from vdpa_lab.model import find_scenario

TRACES = CHECKOUT / "data" / "traces"
RUNS = {
    "v-256-1d-r2": "sim-256-1d",
    "v-256-1d-2qp-r2": "sim-256-1d-2qp",
    "v-256-1d-q10-r1": "sim-256-1d-q10",
    "v-256-1d-svq-r1": "sim-256-1d-svq",
    "v-256-2d-r3": "sim-256-2d",
}
# What QEMU 10.0 does after the switch, to start dirty logging; outside of the window by its definition.
STARTS_LOGGING = ["GET_BACKEND_FEATURES", "SET_BACKEND_FEATURES", "GET_BACKEND_FEATURES"]


def windows(text):
    """Lines by window; the microseconds of a real log, its third column, are left out."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# "):
            current = found.setdefault(line[2:], [])
        else:
            words = line.split(" ")
            current.append(" ".join(words[:-1] if re.fullmatch(r"\d+\.\d+", words[-1]) else words))
    return found


def same(ours, real):
    """Equal, or a wildcard in ours: `arg=*` is any value, `arg=*:INDEX` any of this ring (the low half)."""
    head, star, index = ours.partition("arg=*")
    if not star:
        return ours == real
    if not real.startswith(f"{head}arg=0x"):
        return False
    value = int(real.removeprefix(f"{head}arg="), 16)
    return not index or value & 0xFFFF_FFFF == int(index[1:])


def real_run(run):
    found = windows((TRACES / run / "kernel-ops.txt").read_text())
    setup = found["setup-src"]
    if [line.split()[1] for line in setup[-3:]] == STARTS_LOGGING:
        del setup[-3:]
    return found


@pytest.mark.parametrize(("run", "scenario"), RUNS.items())
def test_a_plan_is_the_kernels_log(run, scenario):
    ours, real = windows(kernel_ops(plan(find_scenario(scenario)))), real_run(run)
    assert list(ours) == list(WINDOWS)
    for window in WINDOWS:
        for number, (mine, logged) in enumerate(zip(ours[window], real[window], strict=False)):
            assert same(mine, logged), f"{window}, line {number + 1}: {mine!r} is not {logged!r}"
        assert len(ours[window]) == len(real[window]), window


def test_the_comparison_is_strict():
    assert same("src0 SET_VRING_KICK arg=*:1", "src0 SET_VRING_KICK arg=0x1c00000001")
    assert not same("src0 SET_VRING_KICK arg=*:1", "src0 SET_VRING_KICK arg=0x1c00000000")
    assert not same("src0 SET_VRING_KICK arg=*:1", "src1 SET_VRING_KICK arg=0x1c00000001")
    assert not same("src0 SET_VRING_KICK arg=*:1", "src0 SET_VRING_CALL arg=0x1c00000001")
    assert same("dst0 SET_CONFIG_CALL arg=*", "dst0 SET_CONFIG_CALL arg=0x1c")
    assert not same("dst0 SET_STATUS arg=0xc", "dst0 SET_STATUS arg=0xf")
    assert not same("src0 IOTLB_UPDATE asid=0 size=0x2000", "src0 IOTLB_UPDATE asid=1 size=0x2000")


def test_wildcards_stand_only_where_a_scenario_cannot_know():
    for scenario in RUNS.values():
        for line in kernel_ops(plan(find_scenario(scenario))).splitlines():
            if "*" in line:
                device, op, argument = line.split()
                assert op in ("SET_VRING_KICK", "SET_VRING_CALL", "SET_CONFIG_CALL", "GET/SET_VRING_BASE"), line
                assert op != "GET/SET_VRING_BASE" or device.startswith("dst"), line
                assert (op == "SET_CONFIG_CALL") == (argument == "arg=*"), line


def counted(a_plan, window):
    ops = Counter(step.op for step in window_steps(a_plan, window))
    side, path = WINDOWS[window]
    ops["set_map"] = len(a_plan.select(side=side, path=path, op="set_map"))
    return ops


@pytest.mark.parametrize("scenario", RUNS.values())
def test_counts_are_those_that_were_measured(scenario):
    """Per device, with S mapped sections and qp queue pairs: the table that holds in all real runs."""
    scenario = find_scenario(scenario)
    a_plan, devices = plan(scenario), scenario.device.count
    s, rings = len(sections(scenario.guest)), 4 * scenario.device.queue_pairs
    always = scenario.device.svq == "on"
    setup, source, destination = (counted(a_plan, window) for window in WINDOWS)
    if always:
        assert not setup.total()
    else:
        assert setup["IOTLB_UPDATE"] == devices * (s + 4 + rings)
        assert setup["IOTLB_INVALIDATE"] == devices * (s + 4)
        assert setup["SUSPEND"] == devices
    assert source["IOTLB_INVALIDATE"] == devices * (s + 4 + rings)
    assert source["set_map"] == devices * (5 + rings)
    assert destination["IOTLB_UPDATE"] == devices * (s + 4 + (rings if always else 0))
    assert destination["set_map"] == devices * (5 + (rings if always else 0))


def test_devices_are_taken_in_opposite_order_on_the_two_hosts():
    """Trap: one after the other; the source begins with the last device, the destination with the first."""
    text = windows(kernel_ops(plan(find_scenario("sim-256-2d"))))
    for window, order in {"setup-src": ["src1", "src0"], "blackout-dst": ["dst0", "dst1"]}.items():
        devices = [line.split()[0] for line in text[window]]
        assert list(dict.fromkeys(devices)) == order
        assert devices == sorted(devices, key=order.index)


def test_in_shadow_mode_the_cvq_has_no_address_space_of_its_own():
    """Trap: it has ASID 1 in passthrough only; what the switch maps and the stop unmaps is all in ASID 0."""
    text = windows(kernel_ops(plan(find_scenario("sim-256-1d"))))
    spaces = {
        (window, op): {line.split()[2] for line in lines if line.split()[1] == op}
        for window, lines in text.items()
        for op in ("IOTLB_UPDATE", "IOTLB_INVALIDATE")
    }
    assert spaces["setup-src", "IOTLB_UPDATE"] == {"asid=0"}
    assert spaces["blackout-src", "IOTLB_INVALIDATE"] == {"asid=0"}
    assert spaces["setup-src", "IOTLB_INVALIDATE"] == spaces["blackout-dst", "IOTLB_UPDATE"] == {"asid=0", "asid=1"}
    cvq = [line for line in text["blackout-dst"] if "asid=1" in line]
    assert len(cvq) == 4


def test_without_suspend_the_device_is_reset_first_and_asked_for_nothing():
    """Trap: ring positions are unknown then, and rings unmapped after RAM where the reset unmaps it."""
    names = {"iotlb-batch", "cvq-asid"}
    newer, older = (plan(find_scenario(name), names) for name in ("sim-256-1d", "sim-256-1d-q10"))
    for a_plan in (newer, older):
        text = windows(kernel_ops(a_plan))
        for window in ("setup-src", "blackout-src"):
            assert text[window][0] == "src0 SET_STATUS arg=0x0"
            assert not any(" SUSPEND " in line for line in text[window])
        assert not a_plan.select(caller="vhost_vdpa_get_vring_base")
    order = [line.split()[1:] for line in windows(kernel_ops(newer))["blackout-src"] if "IOTLB_INV" in line]
    assert order.index(["IOTLB_INVALIDATE", "asid=0", "size=0xff00000"]) < order.index(
        ["IOTLB_INVALIDATE", "asid=0", "size=0x2000"]
    )
    order = [line.split()[1:] for line in windows(kernel_ops(older))["blackout-src"] if "IOTLB_INV" in line]
    assert order.index(["IOTLB_INVALIDATE", "asid=0", "size=0xff00000"]) > order.index(
        ["IOTLB_INVALIDATE", "asid=0", "size=0x5000"]
    )
