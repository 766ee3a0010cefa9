"""What a sweep's specification may say: each wrong word is refused by file and key before any work is done."""

import json

import pytest

from vdpa_lab.sweep import Progress, engine, estimate, read_spec, sweep
from vdpa_lab.sweep.design import setting, values
from vdpa_lab.sweep.spec import MOST_NUMBERS
from vdpa_lab.units import MIB, SECOND
from vdpa_lab.words import InputError

BASE = {"name": "small", "scenario": "sim-128-1d", "axes": {"guest.vcpus": [1, 2]}}
TWO_FLOATS = {"guest.zero_pages": {"low": 0, "high": 1}, "prices.vhost.ioctl": {"low": 0.5, "high": 2}}


def quiet(source, **options):
    return sweep(source, show=lambda text: None, workers=0, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizations": 3}, "small: optimizations = 3; a list of names"),
        ({"optimizations": [[1]]}, "small: optimizations = [[1]]; a list of names"),
        ({"optimizations": "suspend"}, "small: optimizations = 'suspend'; a list of names"),
        ({"optimizations": ["suspend", "suspend"]}, "a list of names, each once"),
        ({"optimizations": ["suspned"]}, "small: no optimisation 'suspned'; did you mean 'suspend'"),
        ({"windows": 5}, "small: windows = 5; a list of names"),
        ({"windows": [["network_outage"]]}, "small: windows = [['network_outage']]; a list of names"),
        ({"windows": "network_outage"}, "small: windows = 'network_outage'; a list of names"),
        ({"windows": ["vm_paused", "vm_paused"]}, "a list of names, each once"),
        ({"windows": []}, "small: windows is empty"),
        ({"axes": {"testbed": 5}}, "axis 'testbed': give a list"),
        ({"axes": {"testbed": "liu2023"}}, "axis 'testbed': give a list"),
        ({"axes": {"testbed": ["lui2023"]}}, "small: no testbed 'lui2023'; did you mean 'liu2023'"),
        ({"axes": {"guest": {"vcpus": {"low": 1, "high": 4, "count": 10}}}},
         "axis 'guest.vcpus': count = 10, but 4 of these values are different"),
        ({"axes": {"device.vlans": {"low": 1, "high": 100, "count": 60, "scale": "log"}}}, "of these values are"),
        ({"axes": {"guest.zero_pages": {"low": 0, "high": 1, "count": 3, "step": 1}}}, "step is for whole numbers"),
        ({"axes": {"prices.vhost.ioctl": {"low": 1, "high": 2, "count": 3, "step": 0.5}}}, "step is for whole numbers"),
        ({"axes": {"guest.memory": {"low": "1GiB", "high": "2GiB", "count": 2, "step": "much"}}},
         "axis 'guest.memory': step: 'much' is not a size"),
        ({"axes": {"migration.changes": [[{"aftr": "5s"}]]}}, "axis 'migration.changes': value[0].aftr: no such key"),
        ({"axes": {"migration.changes": [{"after": "5s"}]}}, "changes': value = {'after': '5s'}: must be"),
        ({"axes": {"guest.sections": [[["0x0", "0x800"]]]}}, "axis 'guest.sections': value[0] = ['0x0', '0x800']"),
        ({"name": "<script>"}, "sweep: name = '<script>'"),
        ({"name": "\x1b[2J"}, r"sweep: name = '\x1b[2J'"),
        ({"name": 3}, "sweep: name = 3"),
        ({5: 1}, "small: no key 5; known: "),
    ],
)  # fmt: skip
def test_a_wrong_specification_is_refused_by_name(changes, message):
    with pytest.raises(InputError) as refused:
        read_spec({**BASE, **changes})
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("source", [None, 5, 2.5, ["small"], b"small"])
def test_what_is_no_specification_is_refused(source):
    with pytest.raises(InputError, match="a specification is the name of a file, a mapping, or a Spec, not "):
        sweep(source)


@pytest.mark.parametrize("out", [5, b"folder", False])
def test_a_folder_that_is_no_path_is_refused(out):
    with pytest.raises(InputError, match=f"out = {out!r}; the name of a folder"):
        quiet(BASE, out=out)


def test_a_file_is_named_by_its_stem_where_that_is_a_name(tmp_path):
    text = f"scenario = {BASE['scenario']!r}\naxes.guest.vcpus = [1, 2]\n"
    plain, spaced = tmp_path / "mine.toml", tmp_path / "my own.toml"
    for path in (plain, spaced):
        path.write_text(text)
    assert read_spec(plain).name == "mine"
    with pytest.raises(InputError, match=r"my own\.toml: name = 'my own' \(without it, the file's\); must be a name"):
        read_spec(spaced)
    spaced.write_text(f'name = "own"\n{text}')
    assert read_spec(spaced).name == "own"


def test_a_key_of_very_many_parts_and_a_number_of_very_many_digits_are_refused(tmp_path):
    path = tmp_path / "deep.toml"
    deep, long = f"axes.{'a.' * 200}a = [1]", f"seed = {'9' * 5000}"
    for text, message in ((deep, "none has so many parts"), (long, "is not TOML")):
        path.write_text(f"scenario = {BASE['scenario']!r}\n{text}\n")
        with pytest.raises(InputError, match=message):
            read_spec(path)


@pytest.mark.parametrize("method", ["latin-hypercube", "sobol"])
def test_a_design_that_is_held_whole_is_bounded_before_it_is_made(method, monkeypatch):
    def refuse(spec):
        raise AssertionError("the design was made")

    monkeypatch.setattr("vdpa_lab.sweep.design.shares", refuse)
    most = MOST_NUMBERS // 2
    for samples in (most + 1, 900_000_000):
        with pytest.raises(InputError, match=f"samples = {samples}; {method} takes at most {most} of"):
            read_spec({**BASE, "method": method, "samples": samples, "axes": TWO_FLOATS})
    assert read_spec({**BASE, "method": method, "samples": most, "axes": TWO_FLOATS}).points == most
    assert read_spec({**BASE, "method": "random", "samples": most + 1, "axes": TWO_FLOATS}).points == most + 1


def test_a_range_of_fractions_has_fractions_between_whole_ends():
    spec = read_spec({**BASE, "method": "random", "samples": 50, "axes": TWO_FLOATS})
    assert len({values(spec, point)["guest.zero_pages"] for point in range(50)}) == 50
    grid = read_spec({**BASE, "axes": {"guest.zero_pages": {"low": 0, "high": 1, "count": 5}}})
    assert [values(grid, point)["guest.zero_pages"] for point in range(5)] == [0, 0.25, 0.5, 0.75, 1]


def test_no_optimisation_is_a_set_too():
    spec = read_spec({**BASE, "optimizations": []})
    assert setting(spec, values(spec, 0)).names == ()


def test_lists_of_tables_and_of_sizes_vary_whole_and_stand_in_the_table_as_a_file_has_them(tmp_path):
    sections = [[["0x0", "0x8000000", "rw"]], [["0x0", "0xa0000", "rw"], ["0x100000", "0x7f00000", "rw"]]]
    changes = [[], [{"after": "1s", "downtime_limit": "2s"}, {"after": "3s", "max_bandwidth": "unlimited"}]]
    axes = {"migration.changes": changes, "guest.sections": sections, "guest.dimms": [[], ["2MiB", "4MiB"]]}
    spec = read_spec({**BASE, "axes": axes})
    one = setting(spec, values(spec, spec.points - 1)).scenario
    assert [each.gpa for each in one.guest.sections] == [0, 0x100000]
    assert one.guest.dimms == (2 * MIB, 4 * MIB)
    assert [each.after for each in one.migration.changes] == [SECOND, 3 * SECOND]
    found = quiet(spec, out=tmp_path)
    assert list(found.table["guest.dimms"]) == ["", "2MiB+4MiB"] * 4
    assert list(found.table["guest.sections"].unique()) == [
        '["0x0", "0x8000000", "rw"]', '["0x0", "0xa0000", "rw"]+["0x100000", "0x7f00000", "rw"]',
    ]  # fmt: skip
    assert found.table["migration.changes"].iloc[-1] == (
        '{ after = "1s", downtime_limit = "2s" }+{ after = "3s", max_bandwidth = "unlimited" }'
    )
    assert found.table.equals(quiet(spec).table)
    json.dumps(found.json(), allow_nan=False)
    other = {**axes, "migration.changes": [[], changes[1][:1]]}
    assert read_spec({**BASE, "axes": other}).digest != spec.digest


def test_sections_that_are_given_stay_where_memory_varies():
    axes = {"guest.memory": ["128MiB"], "guest.sections": [[["0x0", "0x8000000", "rw"]]]}
    spec = read_spec({**BASE, "axes": axes})
    guest = setting(spec, values(spec, 0)).scenario.guest
    assert [(each.gpa, each.size) for each in guest.sections] == [(0, 128 * MIB)]


# --- what it is said to cost ------------------------------------------------------------------------------------

GRID = {
    "guest.memory": [f"{4 << i}GiB" for i in range(8)], "device.count": [1, 2, 4, 8],
    "device.queue_pairs": [1, 2, 4, 8], "device.vlans": [0, 1, 2, 4, 8, 16],
}  # fmt: skip


@pytest.fixture
def priced(monkeypatch):
    """Runs that cost what their settings say instead of time; gives the points that were run, in their order."""
    seen = []

    def cost(spec, numbers):
        points = [values(spec, number // max(1, spec.draws)) for number in numbers]
        seen.extend(points)
        different = {tuple(point.items()) for point in points}
        return sum(0.001 * point["device.count"] * point["device.queue_pairs"] for point in map(dict, different))

    monkeypatch.setattr(engine, "_seconds", cost)
    monkeypatch.setattr(engine, "evaluate", lambda spec, numbers: [])
    return seen


@pytest.mark.parametrize("turned", [1, -1])
def test_the_estimate_of_a_grid_does_not_depend_on_which_end_it_begins_at(priced, turned):
    spec = read_spec({**BASE, "scenario": "talk", "axes": {key: each[::turned] for key, each in GRID.items()}})
    whole = engine._seconds(spec, range(spec.runs))
    priced.clear()
    assert whole / 2 < estimate(spec).seconds < whole * 2
    for axis in spec.axes:
        assert len({point[axis.key] for point in priced}) >= min(4, axis.count), axis.key


@pytest.mark.parametrize("draws", [0, 1, 2, 7])
def test_draws_of_a_plan_do_not_count_it_again(priced, draws):
    axes = {"device.count": [2], "device.queue_pairs": [4]}
    spec = read_spec({**BASE, "scenario": "talk", "draws": draws, "axes": axes})
    assert estimate(spec).seconds == pytest.approx(0.008)


def test_probing_ends_where_plans_are_dear(priced):
    axes = {"device.count": [16, 32, 64], "device.queue_pairs": [64, 128, 256], "guest.vcpus": [1, 2, 3, 4]}
    estimate(read_spec({**BASE, "scenario": "talk", "axes": axes}))
    assert len(priced) == 2, "one point, the first time and again"


def test_how_far_a_sweep_is_reads_as_a_line():
    assert str(Progress(3, 12, 0.5, None)) == "3 of 12 runs"
    assert str(Progress(3, 12, 0.5, 1.5)) == "3 of 12 runs, 1.5 s left"
    assert str(Progress(12, 12, 0.5, 0.0)) == "12 of 12 runs"
