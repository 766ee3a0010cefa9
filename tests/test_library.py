"""The library: every published number against what its source prints, and every bad file refused in words."""

import itertools

import pytest

from vdpa_lab import library
from vdpa_lab.library import priors
from vdpa_lab.library.citations import CitationError, bibliography, parse_bibliography, read_bibliography
from vdpa_lab.library.features import (
    FeatureError,
    behaves,
    behaviours,
    parse_features,
    shipped,
    shipped_by,
    shipped_features,
    version,
)
from vdpa_lab.library.figures import (
    TESTBEDS,
    TIME_UNITS,
    FigureError,
    numbers_printed,
    parse_figures,
    read_figures,
)
from vdpa_lab.migration import catalogue
from vdpa_lab.model import Host, find_scenario, scenario_names

TOGGLES = [
    "iotlb-batch",
    "suspend",
    "cvq-asid",
    "svq-desc-asid",
    "iotlb-persist",
    "svq-map-batch",
    "map-at-load-setup",
    "early-listener",
    "early-listener-kept",
    "resumable-vqs",
    "precreated-vqs",
    "async-vq",
    "keep-notifiers",
    "parallel-mkey",
    "deferred-mkey-delete",
    "parallel-cvq-load",
    "early-device-state",
]
FIGURES = {figure.name: figure for figure in read_figures(toggles=TOGGLES)}
ROWS = [(figure, row) for figure in FIGURES.values() for row in figure.rows]


def values(name, reading=""):
    return [FIGURES[name].bounds(row.label, reading) for row in FIGURES[name].rows]


# ------------------------------------------------------------------ the numbers, as their sources print them


@pytest.mark.parametrize(
    ("name", "unit", "printed"),
    [
        ("V1", "s", [(20, 30), (5, 5), (2, 2), (2, 2), (1.7, 1.7)]),
        ("V2", "s", [(20, 20), (20, 20), (5, 5), (2, 2), (1.5, 1.5)]),
        ("V3", "s", [(20, 30), (5, 5)]),
        ("V4", "s", [(4.72, 4.72), (2.09, 2.09)]),
        ("V4a", "s", [(2.2526, 2.2526), (2.0949, 2.0949)]),
        ("V4b", "s", [(14.72, 14.72), (5.83, 5.83)]),
        ("V6", "ms", [(3140, 3140), (1200, 1200), (1014, 1014)]),
        ("V7", "ms", [(3630, 3630), (2000, 2000), (1253, 1253)]),
        ("V8", "ms", [(370, 370), (60, 60)]),
        ("V9", "ms", [(37, 37), (13, 13), (2.5, 2.5)]),
        ("V10", "ms", [(16, 16), (4.5, 4.5), (5, 5)]),
        ("V12", "ms", [(191.4, 191.4), (6.6, 6.6)]),
        ("V13", "ms", [(3.2, 3.2), (1.4, 1.4), (3.594, 3.594), (1.607, 1.607)]),
        ("V14", "s", [(20, 20), (0.2, 0.2)]),
        ("V15", "ms", [(241.515, 268.603)]),
        ("M6", "ratio", [(3, 5), (8, 8)]),
        ("M7", "percent", [(30, 40)]),
        ("M31", "s", [(20, 20), (4, 4), (28, 28), (5, 5)]),
        ("M32", "us", [(10023, 10023), (8697, 8697)]),
    ],
)
def test_values_are_those_of_the_source(name, unit, printed):
    assert FIGURES[name].unit == unit
    assert values(name) == printed


def test_the_published_text_is_kept():
    assert [row.printed for row in FIGURES["V1"].rows] == ["20s ~ 30s", "5s", "2s", "2s", "1.7s"]
    assert [row.printed for row in FIGURES["V4"].rows] == ["4.72s", "2.09s"]
    assert FIGURES["V1"].configuration == "VM config: 128GB mem, 2 mlx5_vdpa devices, each w/ 4 data vqs"


@pytest.mark.parametrize(("figure", "row"), ROWS, ids=lambda each: getattr(each, "label", None) or each.name)
def test_every_row_has_text_that_contains_its_numbers(figure, row):
    if row.low is None:
        assert row.use == "predicted"
        assert "no published time" in figure.note
    else:
        assert row.low <= row.high
        printed = [float(number) for number in numbers_printed(row.printed, figure.unit)]
        assert {row.low, row.high} <= set(printed)
        assert row.resolution > 0 or figure.unit == "count"


@pytest.mark.parametrize(
    ("text", "unit", "found"),
    [
        ("20s ~ 30s", "s", {20, 30}),
        ("10~100ms", "s", {0.01, 0.1, 10}),
        ("200 milliseconds", "s", {0.2}),
        ("~87.6k", "us", {87600}),
        ("3-5x", "ratio", {3, 5}),
        ("100,000 MRs", "count", {100000}),
        ("1.7s", "ms", {1700}),
    ],
)
def test_numbers_are_found_in_printed_text(text, unit, found):
    assert {float(number) for number in numbers_printed(text, unit)} == found


# ------------------------------------------------------------------ what is assumed, and where it comes from


def test_every_figure_of_the_list_is_there():
    wanted = {f"V{number}" for number in (1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14)}
    assert wanted <= set(FIGURES)


def test_every_reference_resolves_and_every_source_is_used():
    used = {figure.reference for figure in FIGURES.values()} | {cost.source for cost in priors().values()}
    used |= {key for each in catalogue().values() for key in each.refs}
    assert used <= set(bibliography())
    shipped_by_source = " ".join(each.source for each in (*shipped_features().values(), *behaviours().values()))
    background = {
        "virtio13",
        "qemu",
        "linux",
        "runs",
        "liu2023persist",
        "tatulea2023desc",
        "eperezma2023loadsetuprfc",
    }
    assert {key for key in bibliography() if key not in used and key not in shipped_by_source} <= background


def test_every_scenario_is_there_and_of_the_figures_testbed():
    for figure in FIGURES.values():
        if figure.scenario:
            assert figure.scenario in scenario_names()
            assert find_scenario(figure.scenario).testbed == figure.testbed


def test_fitted_rows_have_a_testbed_and_a_time():
    for figure, row in ROWS:
        if row.use == "fitted":
            assert figure.testbed in TESTBEDS
            assert figure.quantity != "none"
            assert figure.unit in TIME_UNITS
            assert figure.assumption or row.assumption


def test_builds_are_cumulative():
    for name in ("V1", "V2", "V4", "V4a", "V4b", "V6", "V7", "V8", "V9", "V14"):
        for before, after in itertools.pairwise(FIGURES[name].rows):
            assert set(before.assumes) < set(after.assumes), (name, after.label)


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("V1", ["map-at-load-setup", "svq-desc-asid", "iotlb-persist", "svq-map-batch"]),
        ("V2", ["map-at-load-setup", "svq-desc-asid", "iotlb-persist", "svq-map-batch"]),
        ("V3", ["map-at-load-setup"]),
        ("V4", ["early-listener"]),
        ("V4a", ["early-listener-kept"]),
        ("V6", ["parallel-mkey", "deferred-mkey-delete"]),
        ("V7", ["parallel-mkey", "deferred-mkey-delete"]),
        ("V8", ["precreated-vqs"]),
        ("V9", ["async-vq", "keep-notifiers"]),
        ("P1", ["resumable-vqs"]),
        ("P3", ["early-device-state"]),
    ],
)
def test_each_row_adds_what_its_series_adds(name, added):
    steps = itertools.pairwise(set(row.assumes) for row in FIGURES[name].rows)
    assert [sorted(after - before) for before, after in steps] == [[toggle] for toggle in added]


def test_no_build_has_more_than_existed():
    for name in ("V1", "V2", "V3", "V14"):
        for row in FIGURES[name].rows:
            assert not {"precreated-vqs", "async-vq", "parallel-mkey", "deferred-mkey-delete"} & set(row.assumes)
    assert "parallel-mkey" not in FIGURES["V8"].rows[1].assumes


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("F1:", ("V1", "V2")),
        ("(F1)", ("V3",)),
        ("F3:", ("M14", "M16")),
        ("F4:", ("V14",)),
        ("F5:", ("V14",)),
        ("F7:", ("V12", "V13", "P3")),
    ],
)
def test_flags_stand_in_the_figures_own_notes(flag, names):
    for name in names:
        assert flag in FIGURES[name].note


def test_another_stack_is_shown_and_the_talk_never_fitted():
    assert {row.use for name in ("V12", "V13") for row in FIGURES[name].rows} == {"shown"}
    assert {row.use for row in FIGURES["V14"].rows} == {"predicted"}


def test_the_transposed_reading_exchanges_two_rows_of_two_columns():
    name = "rows 1-2 transposed"
    assert values("V1", name) == [(20, 20), (20, 20), (2, 2), (2, 2), (1.7, 1.7)]
    assert values("V2", name) == [(20, 30), (5, 5), (5, 5), (2, 2), (1.5, 1.5)]
    assert values("V1", name)[:2] == values("V2")[:2]
    assert values("V2", name)[:2] == values("V1")[:2]


def test_bounds_in_nanoseconds():
    assert FIGURES["V1"].bounds_ns("+ (Un)map batching at stop-n-copy before switchover") == (1_700_000_000,) * 2
    assert FIGURES["V9"].bounds_ns("+ notifiers kept") == (2_500_000, 2_500_000)
    assert FIGURES["P1"].bounds_ns("without") is None
    with pytest.raises(FigureError, match="no time"):
        FIGURES["M6"].bounds_ns("destroy_user_mr()")


# ------------------------------------------------------------------ figures: bad files

GOOD = """
reference = "liu2023"
testbed = "liu2023"
[[figure]]
name = "V1"
title = "Ladder"
quantity = "svq_switch"
unit = "s"
scenario = "liu2023"
configuration = "a VM"
[[figure.row]]
label = "Baseline"
low = 20
high = 30
printed = "20s ~ 30s"
resolution = 5
assumes = ["suspend"]
use = "fitted"
[[figure.reading]]
name = "other"
[figure.reading.values]
"Baseline" = [5, 6]
"""


def test_the_good_example_is_read():
    (figure,) = parse_figures(GOOD, "x.toml", bibliography(), TOGGLES)
    assert figure.rows[0].assumes == ("suspend",)
    assert figure.bounds("Baseline", "other") == (5, 6)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('use = "fitted"', 'use = "fited"', "use 'fited' is not known; did you mean 'fitted'"),
        ("low = 20", "lo = 20", "key 'lo' is not known; did you mean 'low'"),
        ("low = 20", "low = 31", "low = 31 is above high = 30"),
        ("low = 20", "low = 21", "low = 21 is not in '20s ~ 30s'"),
        ("low = 20", "low = -1", "low = -1 is not allowed"),
        ("low = 20", "low = true", "wrong type"),
        ("high = 30\n", "", "give low, high, printed, resolution"),
        ('unit = "s"', 'unit = "sec"', "unit 'sec' is not known"),
        ('unit = "s"', 'unit = "ratio"', "a unit of time"),
        ("svq_switch", "svq_swich", "did you mean 'svq_switch'"),
        ('"svq_switch"', '"none"', "every row has to be use = 'shown'"),
        ('reference = "liu2023"', 'reference = "liu2032"', "did you mean 'liu2023'"),
        ('testbed = "liu2023"', 'testbed = "liu"', "testbed 'liu' is not known"),
        ('scenario = "liu2023"\n', "", "needs a scenario"),
        ('["suspend"]', '["suspend", "resume"]', "no optimisation 'resume'"),
        ('name = "V1"', 'name = "X1"', "write a name such as V1"),
        ('name = "V1"\n', "", "lacks name"),
        ("[5, 6]", "[6, 5]", "write [low, high] with low <= high"),
        ("[5, 6]", "[5]", "write [low, high]"),
        ('"Baseline" = [', '"Basline" = [', "did you mean 'Baseline'"),
        ('name = "other"', 'name = "other"\nquantity = "all"', "quantity 'all' is not known"),
        ('title = "Ladder"', f'title = "{"x" * 5000}"', "from 1 to 4000"),
        ('title = "Ladder"', 'title = ""', "from 1 to 4000"),
        ('["suspend"]', str(["suspend"] * 65), "at most 64"),
        ('title = "Ladder"', "title = Ladder", "not valid TOML"),
        ("reference =", "referense =", "key 'referense' is not known; did you mean 'reference'"),
    ],
)
def test_a_bad_figure_is_refused_in_words(old, new, said):
    assert old in GOOD
    with pytest.raises(FigureError) as caught:
        parse_figures(GOOD.replace(old, new, 1), "x.toml", bibliography(), TOGGLES)
    assert str(caught.value).startswith("x.toml: ")
    assert said in str(caught.value)


def test_a_bad_row_is_named_with_file_and_figure():
    with pytest.raises(FigureError, match=r"x\.toml: figure 'V1': row 'Baseline': low = 21"):
        parse_figures(GOOD.replace("low = 20", "low = 21"), "x.toml", bibliography())


def test_a_label_twice_and_a_table_that_is_none_are_refused():
    row = GOOD[GOOD.index("[[figure.row]]") : GOOD.index("[[figure.reading]]")]
    with pytest.raises(FigureError, match="no label twice"):
        parse_figures(GOOD.replace(row, row + row), "x.toml", bibliography())
    with pytest.raises(FigureError, match="has to be a table"):
        parse_figures('reference = "liu2023"\nfigure = [1]', "x.toml", bibliography())


def test_a_folder_of_figures(tmp_path):
    (tmp_path / "one.toml").write_text(GOOD)
    assert [figure.name for figure in read_figures(tmp_path)] == ["V1"]
    (tmp_path / "two.toml").write_text(GOOD)
    with pytest.raises(FigureError, match=r"two\.toml: figure 'V1' is in that of 'liu2023' too"):
        read_figures(tmp_path)
    (tmp_path / "two.toml").write_bytes(b"\xff")
    with pytest.raises(FigureError, match="not UTF-8"):
        read_figures(tmp_path)
    (tmp_path / "two.toml").write_text("#" * (1 << 19))
    with pytest.raises(FigureError, match="larger than"):
        read_figures(tmp_path)


# ------------------------------------------------------------------ the bibliography


def test_the_bibliography():
    liu = bibliography()["liu2023"]
    assert liu.authors == ("Si-Wei Liu",)
    assert liu.message_id == liu.messageid == "1701970793-6865-1-git-send-email-si-wei.liu@oracle.com"
    assert liu.url == f"https://lore.kernel.org/all/{liu.message_id}/"
    assert liu.date == "2023-12-07"
    assert "descriptor ASID and persistent IOTLB" in str(liu)
    talk = bibliography()["talk2024"]
    assert talk.authors == ("Eugenio Perez Martin", "Dragos Tatulea", "Si-Wei Liu")
    assert talk.author == "Eugenio Perez Martin, Dragos Tatulea, Si-Wei Liu"
    assert not talk.message_id


def test_every_citation_can_be_found():
    for citation in bibliography().values():
        assert citation.url or citation.key in ("runs", "vdpa_lab2026")  # this project's own
        assert citation.date[:4].isdecimal()


ENTRY = "% a comment\n@misc{one,\n  author = {A and B},\n  title = {On {nested} things},\n  date = {2024},\n}\n"


def test_a_small_bibliography_is_read(tmp_path):
    one = parse_bibliography(ENTRY)["one"]
    assert (one.authors, one.title, one.note) == (("A", "B"), "On {nested} things", "")
    spelled = ENTRY.replace("{2024},", '"2024"').replace("@misc{one,\n", "@misc{ one, ")
    assert parse_bibliography(spelled)["one"] == one
    path = tmp_path / "x.bib"
    path.write_text(ENTRY)
    assert read_bibliography(path) == {"one": one}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  date = {2024},\n", "", "x.bib:5: entry 'one' lacks date"),
        ("date", "dates", "x.bib:5: entry 'one': unknown field 'dates'; did you mean 'date'"),
        ("  date", "  title = {again},\n  date", "'title' is given twice"),
        ("{2024}", "2024", "x.bib:5: a value has to be"),
        ("{2024},\n}", "{2024,\n", "x.bib:5: this { is never closed"),
        ("@misc{one,", "@misc one,", "x.bib:2: an entry has to begin with @type{key,"),
        ("@misc", "words @misc", "'words' is in no entry"),
        ("}\n", "}\n" + ENTRY, "entry 'one' is given twice"),
        ("{2024},\n}", "{2024},\n;}", "x.bib:6: entry 'one': a field or a closing }"),
        ("{2024},\n}", "{2024},\n}\nrest", "'rest' is in no entry"),
        ("{2024},", "{2024},\n  messageid = {<a@b>},", "without angle brackets"),
        ("{2024},", "{2024},\n  messageid = {a@b},\n  url = {https://x.org/},", "does not fit messageid"),
    ],
)
def test_a_bad_bibliography_is_refused_with_its_line(old, new, said):
    text = ENTRY + ENTRY if "twice" in said and old == "}\n" else ENTRY.replace(old, new, 1)
    with pytest.raises(CitationError) as caught:
        parse_bibliography(text, "x.bib")
    assert str(caught.value).startswith("x.bib:")
    assert said in str(caught.value)


def test_a_file_that_is_no_bibliography_is_refused(tmp_path):
    path = tmp_path / "x.bib"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CitationError, match="not UTF-8"):
        read_bibliography(path)
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(CitationError, match="larger than"):
        read_bibliography(path)


# ------------------------------------------------------------------ what versions ship


def test_every_toggle_has_a_row():
    assert list(shipped_features()) == TOGGLES


@pytest.mark.parametrize(
    ("qemu", "linux", "driver", "ships"),
    [
        ("5.2", "5.9", "mlx5", "iotlb-batch"),
        ("8.0", "6.0", "mlx5", "iotlb-batch suspend cvq-asid"),
        ("8.2", "6.7", "mlx5", "iotlb-batch suspend cvq-asid parallel-cvq-load"),
        ("8.2", "6.11", "mlx5", "iotlb-batch suspend cvq-asid parallel-cvq-load precreated-vqs"),
        ("10.0.13", "7.3.4", "vdpa_sim", "iotlb-batch suspend cvq-asid parallel-cvq-load"),
        ("11.1.3", "7.3.4", "vdpa_sim", "iotlb-batch suspend cvq-asid parallel-cvq-load early-listener"),
        ("5.1", "5.8", "mlx5", ""),
    ],
)
def test_what_versions_ship(qemu, linux, driver, ships):
    assert shipped_by(qemu, linux, driver) == frozenset(ships.split())


def test_linux_6_12_ships_the_mlx5_series_and_no_version_what_was_only_posted():
    new = shipped_by("10.1", "6.12") - shipped_by("10.1", "6.11.9")
    assert new == {"async-vq", "keep-notifiers", "parallel-mkey", "deferred-mkey-delete"}
    never = {"svq-desc-asid", "iotlb-persist", "svq-map-batch", "map-at-load-setup", "early-listener-kept"}
    assert not (never | {"early-device-state", "resumable-vqs"}) & shipped_by("999", "999")


def test_sides_count():
    assert "suspend" in shipped_by("8.2", "6.7", side="source")
    assert "suspend" not in shipped_by("8.2", "6.7", side="destination")


def test_the_default_toggles_of_a_scenario():
    assert shipped(find_scenario("sim-256-1d-q10")) == (
        "iotlb-batch",
        "suspend",
        "cvq-asid",
        "parallel-cvq-load",
    )
    assert "early-listener" in shipped(find_scenario("sim-256-1d"))
    assert "parallel-mkey" in shipped(find_scenario("tatulea2024"))
    assert "parallel-mkey" not in shipped(find_scenario("sim-256-1d"))


@pytest.mark.parametrize("name", ["listener-unregister-before-status", "reset-unregisters-listener"])
def test_behaviours_that_came_with_10_1(name):
    assert [behaves(name, Host(qemu, "7.3.4")) for qemu in ("10.0.13", "10.1", "11.1.3")] == [
        False,
        True,
        True,
    ]


def test_behaviours_that_ended():
    seen = [behaves("backend-features-reacked", Host(qemu, "7.3.4")) for qemu in ("8.2", "10.0.13", "10.1.0")]
    assert seen == [True, True, False]
    with pytest.raises(FeatureError, match="did you mean 'backend-features-reacked'"):
        behaves("backend-features-reack", Host())


def test_versions_compare_as_numbers():
    assert version("6.9") < version("6.12") < version("6.12.107") < version("10.0")
    for bad in ("6.x", "", "v6", "6.12-rc1", "1" * 9, None):
        with pytest.raises(FeatureError, match="write numbers with points"):
            version(bad)


FEATURE = '[toggle.a]\nneeds = ["linux"]\nlinux = "6.7"\nhosts = ["source"]\nbasis = "guess"\nsource = "x"\n'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("linux =", "linx =", "unknown key 'linx'; did you mean 'linux'"),
        ('["linux"]', '["kernel"]', "needs = ['kernel']; a list of linux, qemu"),
        ('["source"]', "[]", "a list of source, destination"),
        ('"guess"', '"hope"', "basis 'hope'"),
        ('source = "x"\n', "", "lacks source"),
        ('"6.7"', '"six"', "version 'six'"),
        ('"6.7"', "6.7", "has to be a text"),
        ("[toggle.a]", "[togle.a]", "unknown table 'togle'; did you mean 'toggle'"),
        ("[toggle.a]", "[toggle]\na = 1\n[behaviour.b]", "has to be a table"),
        ("[toggle.a]", "[toggle.a", "not valid TOML"),
    ],
)
def test_a_bad_feature_file_is_refused_in_words(old, new, said):
    assert parse_features(FEATURE, "x.toml")[0]["a"].by("1", "6.7")
    with pytest.raises(FeatureError) as caught:
        parse_features(FEATURE.replace(old, new, 1), "x.toml")
    assert said in str(caught.value)


# ------------------------------------------------------------------ the scenarios


@pytest.mark.parametrize("name", scenario_names())
def test_scenarios_name_known_toggles_and_testbeds(name):
    scenario = find_scenario(name)
    assert scenario.name == name
    assert set(scenario.optimizations or ()) <= set(TOGGLES)
    assert scenario.testbed in library.testbed_names()
    assert len(scenario.description) > 80


@pytest.mark.parametrize(
    ("name", "gib", "devices", "pairs"),
    [
        ("talk", 128, 2, 2),
        ("liu2023", 128, 2, 2),
        ("eperezma2023", 128, 2, 2),
        ("tatulea2024", 256, 4, 16),
        ("tatulea2024vq", 256, 1, 16),
        ("tatulea2024precreate", 256, 1, 16),
        ("palmer2025", 39, 1, 8),
        ("palmer2025-128g", 128, 1, 8),
    ],
)
def test_published_scenarios_have_the_published_shape(name, gib, devices, pairs):
    scenario = find_scenario(name)
    assert scenario.guest.memory == gib << 30
    assert (scenario.device.driver, scenario.device.count, scenario.device.queue_pairs) == (
        "mlx5",
        devices,
        pairs,
    )


@pytest.mark.parametrize("figure", [each for each in FIGURES.values() if each.scenario], ids=lambda each: each.name)
def test_a_scenarios_build_is_one_of_its_figures(figure):
    scenario = find_scenario(figure.scenario)
    builds = [set(row.assumes) for each in FIGURES.values() if each.scenario == scenario.name for row in each.rows]
    assert set(scenario.optimizations) in builds


@pytest.mark.parametrize(
    ("name", "features", "ring", "cvq", "qemu"),
    [
        ("sim-256-1d", 0x300830000, 256, 64, "11.1.3"),
        ("sim-256-1d-2qp", 0x300C30000, 256, 64, "11.1.3"),
        ("sim-256-1d-q10", 0x300830000, 1024, 1024, "10.0.13"),
        ("sim-256-1d-svq", 0x300830000, 256, 64, "11.1.3"),
        ("sim-256-2d", 0x300830000, 256, 64, "11.1.3"),
        ("sim-128-1d", 0x300830000, 256, 64, "11.1.3"),
    ],
)
def test_scenarios_of_real_runs(name, features, ring, cvq, qemu):
    scenario = find_scenario(name)
    device, guest = scenario.device, scenario.guest
    assert (device.negotiated_features, device.queue_size, device.cvq_size) == (features, ring, cvq)
    assert (scenario.source.qemu, scenario.source.linux, device.driver) == (qemu, "7.3.4", "vdpa_sim")
    assert [section.size for section in guest.sections] == [
        0xC3000, 0x21000, 0xC000, 0x10000, guest.memory - 0x100000, 0x40000,
    ]  # fmt: skip
    assert [section.perm for section in guest.sections] == ["rw", "ro", "rw", "ro", "rw", "ro"]
