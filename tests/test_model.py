"""The nouns of a scenario: checked on construction, read from TOML and written to it without loss."""

import pickle
import tomllib
from dataclasses import FrozenInstanceError, fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdpa_lab.model import (
    UNSET,
    Change,
    Dirty,
    Feature,
    Guest,
    Host,
    Link,
    Migration,
    Scenario,
    ScenarioError,
    Section,
    Traffic,
    VdpaDevice,
    Workload,
    feature_mask,
    feature_names,
    find_scenario,
    parse_scenario,
    read_scenario,
    save_scenario,
    scenario_file,
    scenario_names,
    scenario_path,
    write_scenario,
)
from vdpa_lab.model.features import NEED_CTRL_VQ
from vdpa_lab.model.toml_text import toml_table
from vdpa_lab.units import GIB, MIB, MS, PAGE_SIZE, SECOND, TIB, US

# The scenario file that other programs rely on; a change here is a "Breaking" line in CHANGELOG.md.
EXAMPLE = """\
name = "talk"
description = "looking at …"
testbed = "liu2023"                     # a calibration in data/calibration
optimizations = ["iotlb-batch"]         # names as `list` prints them; absent = what the named versions ship
[source]                                # and [destination]; absent destination = like source
qemu = "8.2"
linux = "6.7"
[guest]
memory = "128GiB"
machine = "q35"
vcpus = 8
backing = "4k"                          # 4k | thp | 2M | 1G
firmware = "seabios"                    # seabios | none
vga = false
sections = [["0x0","0xc3000","rw"]]     # absent = derived from machine, firmware, memory
zero_pages = 0.45                       # share of RAM that is zero at the start
[device]                                # all devices of the VM are alike
count = 2
driver = "mlx5"                         # mlx5 | vdpa_sim | iommu (a parent without dma_map and set_map)
queue_pairs = 2
queue_size = 256                        # as negotiated by the guest driver, not as the command line asks
cvq_size = 64
features = "0x300830000"                # negotiated; absent = what this driver and mq give
active_pairs = 2                        # what the guest uses; absent = queue_pairs
vlans = 0
cvq = true
svq = "auto"                            # auto = shadow during migration; on = always (x-svq=on)
[migration]
max_bandwidth = "128MiB/s"              # absent = QEMU's default; "unlimited" too
downtime_limit = "300ms"
return_path = false
changes = [{ after = "15s", downtime_limit = "60s", max_bandwidth = "unlimited" }]   # while it runs
[workload]
dirty = { pattern = "sequential", rate = 1000, working_set = "256MiB" }      # or random, hot; pages/s
traffic = { rx_pps = 100000, tx_pps = 100000, packet = 1500, tcp_rto = "200ms" }
"""
SMALL = 'name = "small"\n[guest]\nmemory = "1GiB"\n'


def example() -> Scenario:
    host = Host("8.2", "6.7")
    return Scenario(
        "talk",
        Guest(128 * GIB, vcpus=8, sections=(Section(0, 0xC3000, "rw"),), zero_pages=0.45),
        VdpaDevice(2, queue_pairs=2, features=0x300830000, active_pairs=2),
        host,
        host,
        Link(),
        Migration(128 * MIB, 300 * MS, changes=(Change(15 * SECOND, 60 * SECOND, None),)),
        Workload(Dirty("sequential", 1000, 256 * MIB), Traffic(100_000, 100_000, 1500, 200 * MS)),
        "looking at …",
        "liu2023",
        ("iotlb-batch",),
    )


def refusal(text: str) -> str:
    """What is said of TOML `text`, which must be refused."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "file.toml")
    message = str(caught.value)
    assert message.startswith("file.toml: ")
    assert "\n" not in message
    assert len(message) < 700
    return message.removeprefix("file.toml: ")


# The example, defaults, writing


def test_the_example_is_read():
    assert parse_scenario(EXAMPLE) == example()


def test_the_example_is_written_as_it_stands():
    bare = [line.split("#")[0].split() for line in EXAMPLE.replace('","', '", "').splitlines()]
    assert [line.split() for line in write_scenario(example()).splitlines()] == bare


def test_a_small_file_has_the_defaults():
    small = parse_scenario(SMALL)
    assert small == Scenario("small", Guest(GIB), VdpaDevice())
    assert small.source == small.destination == Host("11.1.3", "7.3.4")
    assert small.migration == Migration(128 * MIB, 300 * MS, False, ())
    assert small.link == Link(12_500_000_000, 50 * US)
    assert small.workload == Workload(None, None)
    assert (small.optimizations, small.guest.sections, small.device.features) == (None, None, None)
    assert (small.testbed, small.description) == ("liu2023", "")


def test_an_absent_destination_is_like_the_source():
    text = SMALL + '[source]\nqemu = "8.2"\n'
    assert parse_scenario(text).destination == Host("8.2", "7.3.4")
    other = parse_scenario(text + '[destination]\nlinux = "6.7"\n')
    assert other.destination == Host("11.1.3", "6.7")
    assert "[destination]" in write_scenario(other)


def test_link_and_unlimited_rates():
    text = SMALL + '[link]\nbandwidth = "25Gbit/s"\nlatency = "0s"\n[migration]\nmax_bandwidth = "unlimited"\n'
    scenario = parse_scenario(text)
    assert scenario.link == Link(3_125_000_000, 0)
    assert scenario.migration.max_bandwidth is None
    assert parse_scenario(write_scenario(scenario)) == scenario


def test_an_unset_change_is_not_an_unlimited_one():
    unset, none = (Migration(changes=(Change(SECOND, 60 * SECOND, rate),)) for rate in (UNSET, None))
    assert unset != none
    assert repr(unset.changes[0].max_bandwidth) == "UNSET"
    for migration in (unset, none):
        scenario = replace(parse_scenario(SMALL), migration=migration)
        assert parse_scenario(write_scenario(scenario)) == scenario


def test_no_optimizations_is_not_the_shipped_ones():
    stock = replace(parse_scenario(SMALL), optimizations=())
    assert "optimizations = []" in write_scenario(stock)
    assert parse_scenario(write_scenario(stock)) == stock != parse_scenario(SMALL)


def test_numbers_may_be_hexadecimal_text_or_integers():
    sections = 'sections = [[0, "0xA0000", "rw"], [0xC0000, 0x1000, "ro"]]\n'
    guest = parse_scenario(SMALL + sections).guest
    assert guest.sections == (Section(0, 0xA0000, "rw"), Section(0xC0000, 0x1000, "ro"))
    assert guest.sections[0].end == 0xA0000


# Nouns


def test_everything_is_frozen_hashable_and_travels():
    one, two = example(), pickle.loads(pickle.dumps(example()))
    assert one == two
    assert hash(one) == hash(two)
    assert one.migration.changes[0].max_bandwidth is two.migration.changes[0].max_bandwidth
    assert not hasattr(one, "__dict__")
    with pytest.raises(FrozenInstanceError):
        one.name = "other"
    change = pickle.loads(pickle.dumps(Change(0, 1)))
    assert change.max_bandwidth is UNSET


def test_queues_and_pairs():
    device = VdpaDevice(queue_pairs=16)
    assert (device.data_vqs, device.pairs_in_use) == (32, 16)
    assert replace(device, active_pairs=3).pairs_in_use == 3


def test_versions_compare_as_numbers():
    host = Host("10.0.13", "6.12")
    assert host.qemu_version == (10, 0, 13) > (9, 2)
    assert host.linux_version == (6, 12) > (6, 7)


def test_notes_say_what_the_hosts_must_grant():
    assert parse_scenario(SMALL).notes == ()
    notes = replace(example(), device=VdpaDevice(2, queue_size=1024)).notes
    assert "RLIMIT_MEMLOCK must allow 256 GiB" in notes[0]
    assert "256 entries" in notes[1]


# Features


def test_feature_words_seen_in_runs():
    one, more = VdpaDevice(driver="vdpa_sim"), VdpaDevice(driver="vdpa_sim", queue_pairs=2)
    assert one.negotiated_features == 0x300830000
    assert more.negotiated_features == 0x300C30000
    assert replace(one, features=0x308830028).negotiated_features == 0x308830028


def test_mlx5_features():
    device = VdpaDevice(queue_pairs=2)
    names = "CSUM GUEST_CSUM MTU MAC HOST_TSO4 HOST_TSO6 MRG_RXBUF STATUS CTRL_VQ CTRL_VLAN MQ CTRL_MAC_ADDR"
    assert feature_names(device.negotiated_features) == (*names.split(), "VERSION_1", "ACCESS_PLATFORM")
    assert not device.has(Feature.CTRL_RX)
    assert not VdpaDevice().has(Feature.MQ)


@pytest.mark.parametrize("driver", ["mlx5", "vdpa_sim", "iommu"])
def test_without_a_control_virtqueue_nothing_needs_one(driver):
    features = VdpaDevice(driver=driver, cvq=False).negotiated_features
    assert not features & feature_mask(Feature.CTRL_VQ, *NEED_CTRL_VQ)
    assert VdpaDevice(driver=driver, cvq=False, features=features).negotiated_features == features


def test_the_features_that_need_a_control_virtqueue():
    """VIRTIO 1.3, 5.1.3.1, and two features that add commands to the control virtqueue."""
    required = "CTRL_RX CTRL_VLAN GUEST_ANNOUNCE MQ CTRL_MAC_ADDR NOTF_COAL RSS VQ_NOTF_COAL HASH_TUNNEL"
    commands = "CTRL_GUEST_OFFLOADS CTRL_RX_EXTRA"
    assert {feature.name for feature in NEED_CTRL_VQ} == {*required.split(), *commands.split()}
    word = feature_mask(Feature.VERSION_1, Feature.ACCESS_PLATFORM)
    for feature in NEED_CTRL_VQ:
        with pytest.raises(ScenarioError, match=f"{feature.name} need a control virtqueue"):
            VdpaDevice(cvq=False, features=word | feature.mask)


def test_feature_names_and_masks():
    assert Feature.RING_PACKED.mask == 1 << 34
    assert feature_mask(Feature.CSUM, Feature.MQ, Feature.MQ) == 0x400001
    assert feature_names(1 << 25 | 1) == ("CSUM", "bit 25")


def test_names_of_features_agree_with_their_masks():
    assert feature_names(feature_mask(*Feature)) == tuple(feature.name for feature in Feature)


@pytest.mark.parametrize("name", ["INDIRECT_DESC", "RING_PACKED", "IN_ORDER", "NOTIFICATION_DATA", "RING_RESET"])
def test_a_device_with_other_transport_features_cannot_be_shadowed(name):
    word = 0x300830000 | Feature[name].mask
    message = refusal(SMALL + f'[device]\nfeatures = "{word:#x}"\n')
    assert message.startswith(f'device.features = "{word:#x}": {name} blocks migration: shadow virtqueues')
    assert "ANY_LAYOUT, EVENT_IDX, VERSION_1, ACCESS_PLATFORM" in message


def test_an_unnamed_transport_feature_blocks_too():
    assert "bit 42 blocks migration" in refusal(SMALL + f'[device]\nfeatures = "{0x300830000 | 1 << 42:#x}"\n')


@pytest.mark.parametrize("name", ["VERSION_1", "ACCESS_PLATFORM"])
def test_shadowing_needs(name):
    word = 0x300830000 & ~Feature[name].mask
    assert f"shadow virtqueues need {name}" in refusal(SMALL + f'[device]\nfeatures = "{word:#x}"\n')


def test_shadowing_leaves_two_transport_features_to_the_device():
    word = feature_mask(Feature.ANY_LAYOUT, Feature.EVENT_IDX) | 0x300830000
    assert VdpaDevice(features=word).features == word


# Refusals

BAD_VALUES = [
    ("name", '""', "a name"),
    ("name", '"../talk"', "a name"),
    ("name", '"talk\\n"', "a name"),
    ("name", "7", "a name"),
    ("description", "[]", "a text"),
    ("testbed", '"a b"', "a name"),
    ("optimizations", '["a", "a"]', "different values"),
    ("optimizations", '"iotlb-batch"', "a list"),
    ("optimizations", "[1]", "a list"),
    ("source", "7", "a table of qemu, linux"),
    ("source.qemu", '"eight"', 'a version such as "8.2"'),
    ("source.qemu", '"8"', "a version"),
    ("source.linux", "6.7", "a version"),
    ("destination.linux", '"6.12.107-1"', "a version"),
    ("guest.memory", '"128Gib"', "a unit of B, KiB"),
    ("guest.memory", "137438953472", "a size such as"),
    ("guest.memory", '"3MiB"', "from 4MiB to 4TiB"),
    ("guest.memory", '"5TiB"', "from 4MiB to 4TiB"),
    ("guest.memory", '"4194305B"', "a multiple of 4KiB"),
    ("guest.memory", '"-1GiB"', "not negative"),
    ("guest.machine", '"microvm"', "must be q35"),
    ("guest.vcpus", "0", "from 1 to 1024"),
    ("guest.vcpus", "true", "a whole number"),
    ("guest.vcpus", "1.0", "a whole number"),
    ("guest.backing", '"2m"', "4k | thp | 2M | 1G"),
    ("guest.firmware", '"ovmf"', "seabios | none"),
    ("guest.vga", "1", "true or false"),
    ("guest.zero_pages", "1.01", "from 0 to 1"),
    ("guest.zero_pages", "nan", "from 0 to 1"),
    ("guest.zero_pages", "true", "from 0 to 1"),
    ("guest.sections", "[]", "at least one section"),
    ("guest.sections", '"all"', "a list of"),
    ("device.count", "65", "from 1 to 64"),
    ("device.driver", '"pds"', "mlx5 | vdpa_sim | iommu"),
    ("device.queue_pairs", "0", "from 1 to 256"),
    ("device.queue_pairs", "257", "from 1 to 256"),
    ("device.queue_size", "255", "a power of two from 2 to 1024"),
    ("device.queue_size", "2048", "a power of two from 2 to 1024"),
    ("device.cvq_size", "1", "a power of two"),
    ("device.features", '"300830000"', "a number such as"),
    ("device.features", '"0x1ffffffffffffffff"', "below 0x10000000000000000"),
    ("device.features", "-1", "below 0x10000000000000000"),
    ("device.active_pairs", "2", "at most queue_pairs = 1"),
    ("device.vlans", "4095", "from 0 to 4094"),
    ("device.cvq", '"yes"', "true or false"),
    ("device.svq", '"never"', "auto | on | off"),
    ("link.bandwidth", '"100Gbit"', "a rate such as"),
    ("link.bandwidth", '"0B/s"', "a rate such as"),
    ("link.latency", '"11s"', "from 0ns to 10s"),
    ("migration.max_bandwidth", '"fast"', '"unlimited"'),
    ("migration.downtime_limit", '"2001s"', "from 0ns to 2000s"),
    ("migration.downtime_limit", "300", "a duration such as"),
    ("migration.return_path", "0", "true or false"),
    ("migration.changes", "{}", "a list of"),
    ("workload.dirty", '{ pattern = "linear", rate = 1, working_set = "4KiB" }', "sequential | random | hot"),
    ("workload.dirty", '{ pattern = "hot", rate = -1, working_set = "4KiB" }', "from 0 to 1000000000"),
    ("workload.traffic", "{ packet = 0 }", "from 1 to 65550"),
    ("workload.traffic", '{ tcp_rto = "0s" }', "from 1ms to 120s"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), BAD_VALUES)
def test_a_bad_value_names_file_key_value_and_what_is_allowed(key, value, allowed):
    table, _, name = key.rpartition(".")
    lines = {"name": '"small"', "guest": {"memory": '"1GiB"'}}
    (lines.setdefault(table, {}) if table else lines)[name] = value
    text = "\n".join(f"{each} = {of}" for each, of in lines.items() if isinstance(of, str)) + "\n"
    for each, of in lines.items():
        if isinstance(of, dict):
            text += f"[{each}]\n" + "".join(f"{inner} = {given}\n" for inner, given in of.items())
    message = refusal(text)
    assert message.startswith(key)
    assert " = " in message.split(": ")[0] or key == "guest.sections"
    assert allowed in message


def test_a_bad_value_inside_a_list_names_its_place():
    assert refusal(SMALL + 'sections = [["0x0", "0x1000", "rx"]]').startswith(
        "guest.sections[0].perm = 'rx': must be rw | ro"
    )
    assert refusal(SMALL + 'sections = [["0x0", "0x1000"]]').startswith(
        "guest.sections[0] = ['0x0', '0x1000']: must be a row [gpa, size, perm]"
    )
    assert "must be a row" in refusal(SMALL + "sections = [7]")
    assert refusal(SMALL + 'sections = [["0x1", "0x1000", "rw"]]').startswith("guest.sections[0].gpa = '0x1'")
    assert refusal(SMALL + '[migration]\nchanges = [{ after = "1 day" }]').startswith("migration.changes[0].after")


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ('[["0x0", "0x0", "rw"]]', "at least one page"),
        ('[["0xffffffffff000", "0x2000", "rw"]]', "ends below 0x10000000000000"),
        ('[["0x2000", "0x1000", "rw"], ["0x0", "0x1000", "rw"]]', "sorted by address"),
        ('[["0x0", "0x2000", "rw"], ["0x1000", "0x1000", "rw"]]', "0x1000 comes after 0x0 .. 0x2000"),
    ],
)
def test_sections_are_sorted_and_apart(sections, why):
    assert why in refusal(SMALL + f"sections = {sections}")


def test_changes_are_in_order_and_change_something():
    table = SMALL + "[migration]\nchanges = "
    assert refusal(table + '[{ after = "1s" }]').startswith('migration.changes[0].after = "1s": a change must set')
    late, early = (f'{{ after = "{after}", downtime_limit = "1s" }}' for after in ("2s", "1s"))
    assert "in order of time" in refusal(table + f"[{late}, {early}]")
    assert "in order of time" in refusal(table + f"[{late}, {late}]")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[migration]\npostcopy = true", "postcopy is not possible with vhost-vdpa: guest RAM is pinned"),
        ("[migration]\npostcopy_ram = false", "stale ones"),
        ("viommu = true", "guest.viommu: a virtual IOMMU is not modelled"),
        ("[device]\npacked = true", "shadow virtqueues are split rings"),
        ("[device]\nindirect = true", "indirect descriptors block migration"),
        ("[device]\ncvq_isolated = false", "passed through"),
        (
            "[device]\nqueue_pairs = 2\ncvq = false",
            "device.cvq = false: several queue pairs need a control virtqueue",
        ),
        (
            '[device]\nfeatures = "0x300810000"',
            "CTRL_VQ must be among them if and only if device.cvq is true",
        ),
        ('[device]\ncvq = false\nfeatures = "0x300030000"', "it is False"),
        ('[device]\ncvq = false\nfeatures = "0x300810000"', "CTRL_MAC_ADDR need a control virtqueue"),
        ("[device]\nvlans = 3\ncvq = false", "device.vlans = 3: VLAN filters need the feature CTRL_VLAN"),
        ('[device]\nvlans = 3\ndriver = "vdpa_sim"', "CTRL_VLAN"),
    ],
)
def test_what_blocks_migration_is_refused_in_words(text, why):
    assert why in refusal(SMALL + text)


def test_the_working_set_is_within_memory():
    dirty = '[workload]\ndirty = { pattern = "hot", rate = 1, working_set = "2GiB" }'
    message = refusal(SMALL + dirty)
    assert message == 'workload.dirty.working_set = "2GiB": must be at most guest.memory = 1GiB'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[device]\nqueue_pair = 2", "device.queue_pair: no such key; the nearest is device.queue_pairs"),
        ("[devices]\ncount = 2", "devices: no such key; the nearest is device"),
        ("queue_size = 64", "guest.queue_size: no such key; the nearest is device.queue_size"),
        (
            "[migration]\nbandwith = 1",
            "migration.bandwith: no such key; the nearest is migration.max_bandwidth",
        ),
        ("[device]\nlatncy = 1", "device.latncy: no such key; the nearest is link.latency"),
        ("[link]\nzzz = 1", "link.zzz: no such key; known here: bandwidth, latency, guest_traffic"),
        ('[link]\n"a b\\n" = 1', r"link.'a b\n': no such key; known here: bandwidth, latency, guest_traffic"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(text, message):
    assert refusal(SMALL + text) == message


def test_a_missing_key_is_named():
    assert refusal('name = "x"') == "guest: is missing; must be a table (Guest)"
    assert refusal('name = "x"\n[guest]').startswith("guest.memory: is missing; must be a size such as")
    assert refusal('[guest]\nmemory = "1GiB"').startswith("name: is missing")
    assert refusal(SMALL + "[workload]\ndirty = {}").startswith("workload.dirty.pattern: is missing")


@pytest.mark.parametrize(
    "text", ["name", 'name = "x"\nname = "y"', "x = [[" * 100_000, "x = " + "9" * 5000, "x = 1\x00"]
)
def test_what_is_not_toml_is_refused(text):
    assert refusal(text).startswith("is not TOML: ")


def test_bad_toml_names_its_line():
    assert "line 2" in refusal('name = "x"\nguest\nsource = 1')


def test_a_long_value_is_cut_in_the_message():
    assert "..." in refusal(SMALL + f"[device]\ndriver = {'x' * 10_000!r}")
    assert "..." in refusal(f"name.{'a.' * 200}b = 1\n[guest]\nmemory = '1GiB'")
    assert "..." in refusal(f"{'x' * 10_000} = 1")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Guest(0), "guest.memory = 0: must be a size"),
        (lambda: Guest("1GiB"), "guest.memory = '1GiB': must be a size"),
        (lambda: Guest(GIB, sections=[Section(0, 4096, "rw")]), "guest.sections = [Section("),
        (lambda: VdpaDevice(queue_pairs=0), "device.queue_pairs = 0: must be a whole number from 1 to 256"),
        (lambda: Section(0, 1, "rw"), "section.size = 1: must be"),
        (lambda: Host("x"), "host.qemu = 'x': must be a version"),
        (lambda: Change(0), 'change.after = "0ns": a change must set'),
        (lambda: Migration(downtime_limit=None), "migration.downtime_limit = None"),
        (lambda: Dirty("hot", 1, 1), "workload.dirty.working_set = 1"),
        (lambda: Traffic(rx_pps=-1), "workload.traffic.rx_pps = -1"),
        (lambda: Workload(dirty=1), "workload.dirty = 1: must be a table (Dirty)"),
        (lambda: Scenario("x", None, VdpaDevice()), "guest = None: must be a table (Guest)"),
        (lambda: Scenario("x", Guest(GIB), description="\ud800"), r"description = '\ud800'"),
        (lambda: Scenario("x", Guest(GIB), description="x" * 10_001), "description = 'x"),
    ],
)
def test_construction_is_checked_too(make, message):
    with pytest.raises(ScenarioError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_an_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(ScenarioError("device.count", "0", "must be more", "f.toml")))
    assert str(error) == "f.toml: device.count = 0: must be more"
    assert (error.where, error.key, error.value, error.why) == ("f.toml", "device.count", "0", "must be more")


# Round trip

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
VERSIONS = st.lists(st.integers(0, 999), min_size=2, max_size=3).map(lambda n: ".".join(map(str, n)))
HOSTS = st.builds(Host, VERSIONS, VERSIONS)
RATES = st.none() | st.integers(1, TIB)
LIMITS = st.integers(0, 2000 * SECOND)
PAGES = st.integers(4 * MIB // PAGE_SIZE, 4 * TIB // PAGE_SIZE).map(lambda pages: pages * PAGE_SIZE)


@st.composite
def section_tuples(draw):
    cuts = sorted(draw(st.sets(st.integers(0, 2**40 - 1), min_size=2, max_size=8)))
    perms = st.sampled_from(["rw", "ro"])
    return tuple(Section(a * PAGE_SIZE, (b - a) * PAGE_SIZE, draw(perms)) for a, b in pairwise(cuts))


@st.composite
def devices(draw):
    pairs = draw(st.integers(1, 256))
    driver = draw(st.sampled_from(["mlx5", "vdpa_sim", "iommu"]))
    cvq = pairs > 1 or draw(st.booleans())
    features = None
    if draw(st.booleans()):
        optional = draw(st.sets(st.sampled_from(["CSUM", "ANY_LAYOUT", "EVENT_IDX", "MRG_RXBUF", "RSC_EXT"])))
        features = VdpaDevice(driver=driver, cvq=cvq).negotiated_features
        features |= feature_mask(*map(Feature.__getitem__, optional))
    sizes = st.integers(1, 10).map(lambda log: 1 << log)
    return VdpaDevice(
        draw(st.integers(1, 64)),
        driver,
        pairs,
        draw(sizes),
        draw(sizes),
        features,
        draw(st.none() | st.integers(1, pairs)),
        draw(st.integers(0, 4094)) if cvq and driver != "vdpa_sim" else 0,
        cvq,
        draw(st.sampled_from(["auto", "on"])),
    )


@st.composite
def migrations(draw):
    times = sorted(draw(st.sets(st.integers(0, 86_400 * SECOND), max_size=3)))
    setting = st.tuples(LIMITS, RATES | st.just(UNSET)) | st.tuples(st.none(), RATES)
    changes = tuple(Change(after, *draw(setting)) for after in times)
    return Migration(draw(RATES), draw(LIMITS), draw(st.booleans()), changes)


@st.composite
def scenarios(draw):
    guest = Guest(
        draw(PAGES),
        vcpus=draw(st.integers(1, 1024)),
        backing=draw(st.sampled_from(["4k", "thp", "2M", "1G"])),
        firmware=draw(st.sampled_from(["seabios", "none"])),
        vga=draw(st.booleans()),
        sections=draw(st.none() | section_tuples()),
        zero_pages=draw(st.floats(0, 1) | st.sampled_from([0, 1])),
    )
    page = st.integers(1, guest.memory // PAGE_SIZE).map(lambda pages: pages * PAGE_SIZE)
    counts = st.integers(0, 10**9)
    patterns = st.sampled_from(["sequential", "random", "hot"])
    dirty = st.none() | st.builds(Dirty, patterns, counts, page)
    rto = st.integers(MS, 120 * SECOND)
    traffic = st.none() | st.builds(Traffic, counts, counts, st.integers(1, 65_550), rto)
    return Scenario(
        draw(NAMES),
        guest,
        draw(devices()),
        draw(HOSTS),
        draw(st.none() | HOSTS),
        draw(st.builds(Link, RATES, st.integers(0, 10 * SECOND))),
        draw(migrations()),
        draw(st.builds(Workload, dirty, traffic)),
        draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=50)),
        draw(NAMES),
        draw(st.none() | st.lists(NAMES, max_size=4, unique=True).map(tuple)),
    )


@given(scenarios())
def test_reading_gives_back_what_was_written(scenario):
    text = write_scenario(scenario)
    again = parse_scenario(text)
    assert again == scenario
    assert hash(again) == hash(scenario)
    assert write_scenario(again) == text


@given(scenarios())
def test_written_keys_are_fields(scenario):
    for name, value in tomllib.loads(write_scenario(scenario)).items():
        holder = getattr(scenario, name)
        if isinstance(value, dict):
            assert set(value) <= {each.name for each in fields(holder)}


# Files


def test_files_are_written_whole_and_read_back(tmp_path):
    path = tmp_path / "talk.toml"
    save_scenario(example(), path)
    assert read_scenario(path) == example()
    save_scenario(parse_scenario(SMALL), str(path))
    assert read_scenario(str(path)).name == "small"
    assert [each.name for each in tmp_path.iterdir()] == ["talk.toml"]


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "link.toml").symlink_to(tmp_path / "real.toml")
    save_scenario(example(), tmp_path / "link.toml")
    assert (tmp_path / "link.toml").is_symlink()
    assert read_scenario(tmp_path / "real.toml") == example()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "talk.toml"
    save_scenario(example(), path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(scenario_file.os, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        save_scenario(parse_scenario(SMALL), path)
    assert read_scenario(path) == example()
    assert [each.name for each in tmp_path.iterdir()] == ["talk.toml"]


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "x.toml"
    for prepare, why in [
        (lambda: None, "cannot be read: No such file"),
        (lambda: path.write_bytes(b"name = '\xff'"), "is not UTF-8 at byte 8"),
        (lambda: path.write_bytes(b"#" * (MIB + 1)), "is longer than a scenario may be: 1 MiB"),
        (lambda: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
    ]:
        prepare()
        with pytest.raises(ScenarioError) as caught:
            read_scenario(path)
        assert str(caught.value).startswith(f"{path}: {why}")


def test_a_path_with_a_null_byte_is_refused():
    with pytest.raises(ScenarioError, match="null"):
        read_scenario("a\0b")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A data folder with the scenarios `talk` and `small`."""
    folder = tmp_path / "data" / "scenarios"
    folder.mkdir(parents=True)
    save_scenario(example(), folder / "talk.toml")
    save_scenario(parse_scenario(SMALL), folder / "small.toml")
    monkeypatch.setenv("VDPA_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return folder


def test_scenarios_are_found_by_name_or_path(shelf, tmp_path):
    assert scenario_names() == ("small", "talk")
    assert find_scenario("talk") == example()
    assert find_scenario(example()) == example()
    assert scenario_path("talk") == shelf / "talk.toml"
    save_scenario(replace(example(), name="mine"), tmp_path / "mine.toml")
    assert find_scenario("mine.toml").name == find_scenario(tmp_path / "mine.toml").name == "mine"
    (tmp_path / "talk").write_text("not read: the name of a scenario comes first")
    assert find_scenario("talk") == example()


def test_an_unknown_scenario_is_refused_with_the_nearest(shelf):
    with pytest.raises(ScenarioError) as caught:
        find_scenario("tlak")
    refused = "tlak: no such scenario and no such file; the nearest is talk; known: small, talk"
    assert str(caught.value) == refused
    with pytest.raises(ScenarioError, match=r"^zzz: no such scenario and no such file; known: small, talk$"):
        find_scenario("zzz")
    for path in ("talk/../x", "x.toml", "../scenarios/none.toml"):
        with pytest.raises(ScenarioError, match="cannot be read"):
            find_scenario(path)


@pytest.mark.parametrize("part", ["a", '"a b"', "'a.b'", "a "])
def test_a_name_of_very_many_parts_is_refused_before_it_costs_memory(part):
    """tomllib takes memory by the square of the parts: 200,000 of them, 0.4 MB, would be 160 GB."""
    name = ".".join([part] * 50_000)
    for text in (f"{name} = 1", f"[{name}]", f"x = {{ {name} = 1 }}"):
        with pytest.raises(ScenarioError, match="a name of more than 256 parts"):
            parse_scenario("# a comment\n" + text)


def test_many_dots_that_are_no_name_are_none():
    assert toml_table(f"x = [{', '.join(['0.5'] * 10_000)}]") == {"x": [0.5] * 10_000}
    assert toml_table('x = "' + "..." * 1000 + '"') == {"x": "..." * 1000}
    assert toml_table(f"{'.'.join('a' * 20)} = 1")
    with pytest.raises(ValueError, match="nested too deeply"):
        toml_table("x = " + "[" * 100_000)
    with pytest.raises(ValueError, match=r"at line 3"):
        toml_table("\n\n" + ".".join(["a"] * 257) + "=1")
    assert toml_table("x = " + "1" * 4000 + "\n")  # one long word is looked at once
