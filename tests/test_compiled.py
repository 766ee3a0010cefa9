"""Hot kernels hold no reference counts: no NRT_incref stands in what the compiler made of them."""

import pkgutil
from importlib import import_module

import numba
import numpy as np
import pytest

from vdpa_lab import bench, kernels
from vdpa_lab.bench import harness
from vdpa_lab.kernels import _jit, bitmap

SUBJECTS = ("rings", "svq", "iotlb", "bitmap", "mr")
KNOWN = 14  # hot loops that the benchmarks call from Python, at the least; the others are inlined into them


def hot_kernels():
    """(name, dispatcher) of every compiled kernel that was declared to keep no counts."""
    found = {}
    for package in (kernels, bench):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, thing in vars(import_module(info.name)).items():
                options = getattr(thing, "targetoptions", {})
                if options.get("_nrt") is False and thing.__module__ == info.name:
                    found[f"{info.name}.{name}"] = thing
    return found


def assembly(kernel):
    """What the compiler makes of the kernel now, for one signature it was called with; a cached one shows nothing."""
    again = numba.njit(kernel.py_func, nogil=True, _nrt=False)
    again.compile(kernel.signatures[0])
    return "".join(again.inspect_asm().values())


@pytest.mark.slow  # there is nothing compiled to look at without the compiler
def test_hot_kernels_count_no_references():
    for subject in SUBJECTS:
        for case in harness.cases_of(subject, quick=True):
            harness.measure(case, 1)
    looked = {name: assembly(each) for name, each in hot_kernels().items() if each.signatures}
    assert len(looked) >= KNOWN, sorted(looked)
    assert all("ret" in text for text in looked.values())
    assert [name for name, text in looked.items() if "NRT_incref" in text] == []


def test_a_kernel_is_compiled_or_is_the_plain_function():
    words = np.array([0b101, 0], np.uint64)
    assert int(bitmap.count(words)) == 2
    assert hasattr(bitmap.count, "targetoptions") is not _jit.DISABLED
