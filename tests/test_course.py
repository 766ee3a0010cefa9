"""The course: every solution is right, typical wrong answers are told what is wrong, progress is kept and survives."""

import json
import re
import struct

import nbformat
import numpy as np
import pytest
from conftest import CHECKOUT

import vdpa_lab as vl
from vdpa_lab import course
from vdpa_lab.course import lesson_blackouts, lesson_mkeys, own_file, progress_file
from vdpa_lab.course.catalogue_laws import LAWS
from vdpa_lab.course.exercise import judge_bytes, judge_function, judge_number, judge_table
from vdpa_lab.course.judge_laws import findings
from vdpa_lab.course.message import LONGEST, Message, wrong
from vdpa_lab.course.ring_bench import RingBench, flag_names
from vdpa_lab.library import bibliography
from vdpa_lab.migration import catalogue
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.words import InputError

EXERCISES = course.exercises()
FRAME = (0x2000, 1514, True)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Progress and the students' files are written where the test runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(progress_file.OVERRIDE, raising=False)
    return tmp_path


def solved(name):
    names = {}
    exec(EXERCISES[name].code, names)
    return names["answer"]


# --- Exercises


@pytest.mark.parametrize("name", EXERCISES)
def test_its_solution_is_right_as_it_is_shown(name):
    """What the student is shown is what is run here."""
    said = course.check(name, solved(name))
    assert said.right, str(said)
    assert said.why
    assert EXERCISES[name].code.strip("\n") in str(course.solution(name))


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_come_one_by_one_and_the_last_one_stays(name):
    hints = EXERCISES[name].hints
    assert len(set(hints)) >= 2
    for number, text in enumerate(hints, 1):
        assert f"Hint {number} of {len(hints)}: {text}" in str(course.hint(name))
    assert hints[-1] in str(course.hint(name))


@pytest.mark.parametrize("name", EXERCISES)
def test_what_is_no_answer_is_said_so(name):
    assert course.check(name).state == course.check(name, ...).state == "open"
    assert EXERCISES[name].ask[:40] in str(course.ask(name))
    assert course.check(name, object()).state == "wrong"
    assert "asked for" in str(course.check(name, object()))


def test_lessons_have_two_or_three_exercises_and_a_question():
    counts = [sum(name.startswith(f"{lesson}.") for name in EXERCISES) for lesson in range(1, 10)]
    assert set(counts) == {2, 3}
    assert list(course.questions()) == [str(lesson) for lesson in range(1, 10)]


def descriptor(addr, length, flags, following):
    return struct.pack("<QIHH", addr, length, flags, following)


HEAD, TAIL = descriptor(0x1000, 12, 1, 1), descriptor(0x2000, 1514, 2, 0)
INDICES = {"avail_idx": 3, "used_idx": 2, "free": 6}
PLACES = {"first_ring": 0x1000, "low": 0x9000, "high": 0xA9000}
SPACES = {"ram_passthrough": 0, "cvq_passthrough": 1, "ram_shadowed": 0, "cvq_shadowed": 0}
GATE = {"missing": ["ACCESS_PLATFORM"], "refused": ["RING_PACKED", "IN_ORDER"]}
SENT = [10, 190, 470, 850, 1330]


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("1.1", b"", "0 bytes, and 32"),
        ("1.1", descriptor(0x1000, 12, 0, 1) + TAIL, r"\[0\].flags is 0x0. The chain goes on"),
        ("1.1", descriptor(0x1000, 12, 1, 0x2000) + TAIL, r"\[0\].next is 0x2000. It holds the index"),
        ("1.1", struct.pack(">QIHH", 0x1000, 12, 1, 1) + TAIL, r"4 fields wrong[\s\S]*reversed; virtqueues are little"),
        ("1.1", HEAD + descriptor(0x2000, 1514, 3, 0), r"\[1\].flags is 0x3. The chain ends here"),
        ("1.2", {**INDICES, "avail_idx": 6}, "The index counts entries of the ring"),
        ("1.2", {**INDICES, "avail_idx": 1}, "An index only grows"),
        ("1.2", {**INDICES, "used_idx": 3}, "has taken three and given back two"),
        ("1.2", {**INDICES, "free": 7}, "takes two descriptors"),
        ("1.2", {**INDICES, "free": 2}, "gave their descriptors back"),
        ("1.2", {**INDICES, "free": 8}, "still with the device"),
        ("1.2", {"avail_idx": 3}, "missing: used_idx, free"),
        ("1.2", {**INDICES, "head": 0}, "not asked for: 'head'"),
        ("1.3", 0x82, "flags of the first lap"),
        ("1.3", 0x8000, "so WRITE .2. is set too"),
        ("1.3", 0x8082, r"\*used\* descriptor of the first lap"),
        ("1.3", 2, "used, of the second lap"),
        ("1.3", 7, "too few, by a factor"),
        ("2.1", lambda event, new, old: old <= event < new, r"\(65535, 2, 65530\) yours returns False, and True"),
        ("2.1", lambda event, new, old: True, r"\(5, 3, 0\) yours returns True"),
        ("2.1", lambda event, new, old: 1 // 0, "raises ZeroDivisionError"),
        ("2.1", lambda event: True, "raises TypeError"),
        ("2.2", 65541, "modulo 65536"),
        ("2.2", 65542, "16 bits; and"),
        ("2.2", 6, "waits for 13 buffers"),
        ("2.2", 12, "not a distance"),
        ("2.3", struct.pack("<HH", 5, 2), "wrap counter in bit 15"),
        ("2.3", struct.pack("<HH", 0x8005, 0), "0 enables, 1 disables, 2 asks"),
        ("3.1", {**PLACES, "first_ring": 0}, "never gives out page 0"),
        ("3.1", {**PLACES, "low": 0}, "That is its GPA"),
        ("3.1", {**PLACES, "low": 0x8000}, "one page later"),
        ("3.1", {**PLACES, "high": 0x100000}, "The allocator knows no GPAs"),
        ("3.1", {**PLACES, "high": 0x109000}, "is not kept: first fit"),
        ("3.2", {**SPACES, "cvq_passthrough": 0}, "isolated so that QEMU can map its own"),
        ("3.2", {**SPACES, "cvq_shadowed": 1}, "back with them"),
        ("3.3", 8, "pins all of RAM, and counts it, for itself"),
        ("3.3", 0, "count as locked memory"),
        ("4.1", 524288, "Only the direct MKEY with the stray page suffers"),
        ("4.1", 1024, "without the stray page"),
        ("4.1", 1025, "all MTTs of its MKEY have one size"),
        ("4.1", 262144, "The other GiB"),
        ("4.1", 262656 * 8, "their bytes"),
        ("4.2", lambda lengths: len(lengths), "A greatest common divisor"),
        ("4.2", lambda lengths: sum(lengths) // min(lengths), r"\(\[4, 6\]\) yours returns 2, and 5"),
        ("4.3", {"direct": 4, "klms": 7}, "permissions are overlooked .* or the limit of 1 GiB"),
        ("4.3", {"direct": 7, "klms": 7}, "The gap has no direct MKEY"),
        ("4.3", {"direct": 6, "klms": 6}, "null key"),
        ("5.1", 1024, "takes a whole second"),
        ("5.1", 614, "not how fast the guest writes"),
        ("5.1", "307", "this is a str"),
        ("5.2", lambda bmap, dirty: (bmap | dirty, dirty.bit_count()), "counted once"),
        ("5.2", lambda bmap, dirty: (dirty, (dirty & ~bmap).bit_count()), "Nothing was written; what waits stays"),
        ("5.3", {"passes": 3, "left_mib": 174}, "first pass sends all"),
        ("5.3", {"passes": 4, "left_mib": 307}, "largest that fits"),
        ("6.1", {"last_avail": 6, "again": []}, "would be lost"),
        ("6.1", {"last_avail": 2, "again": [0, 1, 2, 3, 4, 5]}, "sent twice"),
        ("6.1", {"last_avail": 4, "again": [2, 3, 4, 5]}, "not how many are left"),
        ("6.2", {**GATE, "missing": []}, "one bit says so"),
        ("6.2", {**GATE, "refused": ["RING_PACKED"]}, "One more bit"),
        ("6.2", {**GATE, "refused": ["RING_PACKED", "IN_ORDER", "EVENT_IDX"]}, "implemented by SVQ"),
        ("6.2", {**GATE, "refused": ["RING_PACKED", "IN_ORDER", "MRG_RXBUF"]}, "not of the transport"),
        ("6.3", lambda pairs, cvq: 4 * pairs, r"\(1, True\) yours returns 4, and 6"),
        ("7.1", {"first_ms": 133, "second_ms": 134}, "before the destination has a network"),
        ("7.1", {"first_ms": 133, "second_ms": 300}, "how long the guest was away|3 %"),
        ("7.1", {"first_ms": 133, "second_ms": 62}, "the source's part alone"),
        ("7.2", 134, "what QEMU reports"),
        ("7.2", 301, "QEMU did not count"),
        ("7.3", 13, "RAM is gone"),
        ("7.3", 11, "the whole migration"),
        ("7.3", 8, "control virtqueue is shadowed as well"),
        ("9.1", lambda outage, rto: outage, r"\(450, 200\) yours returns 450, and 600"),
        ("9.1", lambda outage, rto: rto, r"\(450, 200\) yours returns 200"),
        ("9.2", {"rx_lost": 102, "tx_lost": 0}, "one before it|first blackout"),
        ("9.2", {"rx_lost": 0, "tx_lost": 0}, "Nobody takes frames"),
        ("9.2", {"rx_lost": 201, "tx_lost": 199}, "it comes late, it is not lost"),
        ("9.3", {"sent": [0, 50, 200, 450, 800], "reach_fabric": 0}, "QEMU's own rounds"),
        ("9.3", {"sent": [10, 60, 210, 460, 810], "reach_fabric": 0}, "does not come on a clock"),
        ("9.3", {"sent": SENT, "reach_fabric": 5}, "a receiver that drops it"),
    ],
)  # fmt: skip
def test_a_typical_wrong_answer_is_told_what_is_wrong(name, answer, said):
    """Traps 2, 3, 5, 6, 8, 10, 12, 14, 17, 21, 26, 28, 29, 36, 37 and 39, as answers."""
    found = course.check(name, answer)
    assert found.state == "wrong", str(found)
    assert re.search(said, str(found)), str(found)


def test_other_forms_of_right_answers_are_taken():
    assert course.check("1.2", {key: np.int64(value) for key, value in INDICES.items()}).right
    assert course.check("1.1", bytearray(HEAD + descriptor(0x2000, 1514, 2, 7))).right, "next without NEXT is not read"
    assert course.check("9.3", {"sent": tuple(SENT), "reach_fabric": 0}).right
    assert course.check("6.2", {key: set(value) for key, value in GATE.items()}).right
    assert not course.check("3.2", {key: bool(value) for key, value in SPACES.items()}).right, "True is no 1"
    assert course.check("1.2", {**INDICES, "free": ...}).state == "open"


def test_functions_that_are_not_written_yet_are_open():
    assert course.check("5.2", lambda bmap, dirty: None).state == "open"


# --- Questions


def test_what_is_revealed_is_what_specification_code_and_logs_say():
    """Traps 8, 12, 2 and 17; 2.7.6; RFC 6298, 5.5. The numbers are those of the sources, not of this package."""
    truths = {name: asked.truth() for name, asked in course.questions().items()}
    assert truths == {
        "1": 1, "2": 1, "3": 262_144, "4": 262_144, "5": "yes", "6": 10, "7": "longer", "8": "refused", "9": 600,
    }  # fmt: skip


def test_one_predicts_before_it_is_revealed():
    assert course.reveal(4).state == "open"
    assert course.predict(4, ...).state == "open"
    assert "You expect 513" in str(course.predict(4, 513))
    assert "It is 262,144; you expected 513." in str(course.reveal(4))
    course.predict("4", "262,144")
    assert course.reveal("4").right
    with pytest.raises(InputError, match="choose one of 'yes', 'no'"):
        course.predict(5, "perhaps")
    assert "Choose one of 'yes', 'no'" in str(course.ask(5))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"no exercise '1\.9'; did you mean '1"):
        course.check("1.9", 3)
    with pytest.raises(InputError, match="no question '10'"):
        course.reveal(10)
    with pytest.raises(InputError, match="no lesson 12"):
        course.figure(12)
    with pytest.raises(AttributeError, match="nothing_such"):
        course.nothing_such  # noqa: B018
    assert "check" in dir(course)
    assert vl.course is course
    assert "course" in dir(vl)


# --- Progress


def test_progress_is_kept_in_a_file(elsewhere):
    course.predict(1, 2)
    course.check("1.3", 0x82)
    course.check("1.3", solved("1.3"))
    course.check("1.3", 0)
    course.hint("1.2")
    course.solution("1.2")
    table = course.progress()
    assert table.loc["question 1", "predicted"] == "2"
    assert table.loc["1.3", "attempts"] == 3
    assert table.loc["1.3", "solved"], "once solved, it stays solved"
    assert table.loc["1.2", "hints"] == 1
    assert table.loc["1.2", "solution shown"]
    assert not table.loc["1.2", "solved"]
    assert len(table) == len(EXERCISES) + 9
    written = json.loads((elsewhere / progress_file.DEFAULT).read_text(encoding="utf-8"))
    assert written["format"] == progress_file.FORMAT
    assert sorted(elsewhere.iterdir()) == [elsewhere / progress_file.DEFAULT], "written whole, nothing left beside it"


def test_another_file_can_be_named(monkeypatch, elsewhere):
    monkeypatch.setenv(progress_file.OVERRIDE, str(elsewhere / "mine.json"))
    course.check("1.3", 1)
    assert (elsewhere / "mine.json").is_file()
    monkeypatch.setenv(progress_file.OVERRIDE, str(elsewhere / "no" / "such" / "folder.json"))
    with pytest.raises(InputError, match="cannot be written"):
        course.check("1.3", 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("\x00\xff", "not JSON"),
        ("[" * 5000, "not JSON"),
        ("[]", "has no format"),
        ('{"format": "another"}', "has no format"),
        ('{"format": "F", "exercises": []}', "exercises has to be a table"),
        ('{"format": "F", "exercises": {"1.1": 3}}', "'1.1' has to be a table"),
        ('{"format": "F", "exercises": {"1.1": {"attempts": true}}}', "'attempts' = True is not what"),
        ('{"format": "F", "exercises": {"1.1": {"script": "x"}}}', "'script' = 'x' is not what"),
        (" " * (progress_file.MOST_BYTES + 1), "larger than"),
    ],
)
def test_a_broken_file_is_named_and_left_as_it_is(content, why, elsewhere):
    path = elsewhere / progress_file.DEFAULT
    content = content.replace('"F"', json.dumps(progress_file.FORMAT))
    path.write_text(content, encoding="latin-1")
    for call in (lambda: course.check("1.3", 1), course.progress, lambda: course.predict(1, 1)):
        with pytest.raises(InputError, match=f"{progress_file.DEFAULT}: .*{why}.*left as it is"):
            call()
    assert path.read_text(encoding="latin-1") == content


def test_a_folder_in_its_place_is_named(elsewhere):
    (elsewhere / progress_file.DEFAULT).mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        course.progress()


# --- Messages


def test_a_message_escapes_what_a_student_wrote_and_bounds_it():
    said = course.check("1.2", {**INDICES, "free": "<script>alert(1)</script>"})
    assert "<script>" in str(said)
    assert "<script>" not in said._repr_html_()
    assert "<script>" not in said._repr_markdown_()
    longest = wrong("x" * 10_000)
    assert len(str(longest)) < LONGEST + 10
    assert repr(longest) == str(longest)


def test_a_solution_is_folded_until_it_is_opened():
    said = course.solution("8.2")
    assert said._repr_html_().count("<details>") == said._repr_markdown_().count("<details>") == 1
    assert "<summary>" in said._repr_markdown_()
    assert "`````python" in said._repr_markdown_()
    assert "<details>" not in Message("note", "a", code="b")._repr_html_()


def test_judges_of_each_sort_say_what_is_asked_for():
    assert "a number of MiB is asked for, and this is a bool" in str(judge_number(True, 1, "MiB", ""))
    assert "too many, by a factor of 2" in str(judge_number(2, 1, "MiB", ""))
    assert judge_number(0, 1, "MiB", "").what.endswith("too few")
    assert "a dict with the keys a is asked for" in str(judge_table([], {"a": 1}, ""))
    assert "a: 2 is not right. so" in str(judge_table({"a": 2}, {"a": 1}, "", reasons={"a": "so"}))
    assert "bytes are asked for" in str(judge_bytes("a", b"a", (), ""))
    assert "a function f(x) is asked for" in str(judge_function(3, abs, (), "", "f(x)"))


# --- The bench


def test_the_bench_shows_the_bytes_of_clause_2_7():
    """Offsets and values by struct, as the clause has them."""
    bench = RingBench("split", 8)
    bench.add((0x1000, 12), FRAME)
    assert bench.take() is None, "not published yet"
    bench.publish()
    assert bench.memory[:32].tobytes() == HEAD + descriptor(0x2000, 1514, 2, 2)
    assert bench.memory[128:134].tobytes() == struct.pack("<HHH", 0, 1, 0)
    assert bench.take() == 0
    assert bench.give(60) == 0
    assert bench.give() is None
    used = bench.at.used
    assert bench.memory[used : used + 12].tobytes() == struct.pack("<HHII", 0, 1, 0, 60)
    assert bench.reap() == (0, 60)
    assert bench.reap() is None
    cells = list(bench.cells())
    assert sum(cell.size for cell in cells) == 16 * 8 + 6 + 2 * 8 + 6 + 8 * 8, "the sizes of 2.7"
    assert [cell.at for cell in cells] == sorted({cell.at for cell in cells})


def test_the_bench_shows_a_packed_ring_through_two_laps():
    """Trap 28: available and used in either lap, 2.8.1."""
    bench, seen = RingBench("packed", 2), []
    for number in range(4):
        bench.add(FRAME)
        place = number % 2
        flags = [next(c.value for c in bench.cells() if c.name == f"[{place}].flags")]
        bench.take()
        bench.give(1)
        flags.append(next(c.value for c in bench.cells() if c.name == f"[{place}].flags"))
        bench.reap()
        seen.append([flag_names(each) for each in flags])
    first, second = ["WRITE AVAIL", "WRITE AVAIL USED"], ["WRITE USED", "WRITE"]
    assert seen == [first, first, second, second]
    assert sum(cell.size for cell in bench.cells()) == 2 * 16 + 8


def test_the_bench_refuses_what_cannot_be():
    with pytest.raises(InputError, match="split or packed, not 'twisted'"):
        RingBench("twisted")
    with pytest.raises(InputError, match="1 to 64"):
        RingBench("split", 128)
    with pytest.raises(InputError, match="power of two"):
        RingBench("split", 3)
    with pytest.raises(ValueError, match=r"2\.7\.4\.2"):
        RingBench("split").add(FRAME, (0x1000, 12))
    with pytest.raises(ValueError, match="not enough free"):
        RingBench("packed", 1).add(FRAME, FRAME)


def test_both_sides_can_ask_for_silence():
    bench = RingBench("packed", 4, event_idx=True)
    bench.ask_available(False)
    bench.add(FRAME)
    assert not bench.notifies()
    bench.ask_used(after=1)
    bench.take()
    bench.give(1)
    assert bench.interrupts()


# --- Recorded runs


def test_a_run_is_named():
    assert lesson_blackouts.RUN in lesson_blackouts.recorded_names()
    with pytest.raises(InputError, match="no recorded run 'v-256'; did you mean 'v-256"):
        lesson_blackouts.recorded("v-256")


def test_the_kernels_log_has_the_sizes_of_traps_2_and_3():
    """Tiny and growing rebuilds at the switch, then one full; full and falling ones at the stop."""
    log = lesson_blackouts.set_maps(lesson_blackouts.TWO_PAIRS)
    switch = log[log.window == "svq_switch"].entries.tolist()
    stop = log[log.window == "source_teardown"].entries.tolist()
    assert switch[-17:-1] == list(range(1, 17))
    assert switch[-1] > 100
    assert stop[:10] == sorted(stop[:10], reverse=True)
    assert min(stop[:10]) > 100 > max(stop[10:])


# --- Laws


def test_a_stray_page_has_to_be_in_the_guest():
    with pytest.raises(InputError, match="512 huge pages; number 512"):
        lesson_mkeys.with_stray(1, 512)


def test_the_catalogue_keeps_the_laws_that_students_are_asked():
    broken = {name: [each for each in findings(one) if not each.holds] for name, one in catalogue().items()}
    assert {name: found for name, found in broken.items() if found} == {}
    assert {each.law for each in findings(catalogue()["svq-map-batch"])} == set(LAWS)


BODIES = {
    "plan.drop(plan.select(path='stop', op='SUSPEND'))": r"Law 2.*stops a device before it unmaps",
    "None": r"Law 2.*has to return a Plan, not a NoneType",
    "plan.missing": "rewrite raises AttributeError",
    "plan.alter(plan.select(op='last RAM'), lambda s: s._replace(work=(*s.work, ('vhost.ioctl', 1))))": "Law [34]",
    "plan.insert([plan.mark('vcpus-paused')._replace(name=f'x{len(plan.steps)}', mark='', work=(('vhost.ioctl', 1),))"
    "], after=plan.mark('vcpus-paused'))": r"Law 3.*adds has no pattern for vhost.ioctl[\s\S]*Law 4.*\+1 steps",
}


@pytest.mark.parametrize(("body", "said"), BODIES.items(), ids=["suspend", "none", "attribute", "work", "again"])
def test_a_file_that_breaks_a_law_is_told_which(body, said, elsewhere):
    text = own_file.TEMPLATE.replace('plan.drop(plan.select(op="GET_STATUS"))', body)
    (elsewhere / "own.py").write_text(text.replace("refs: ClassVar = ()", 'refs: ClassVar = ("talk2024",)'))
    found = course.check("8.1", "own.py")
    assert found.state == "wrong"
    assert re.search(said, str(found)), str(found)


def test_the_template_breaks_law_1_then_law_3_and_is_never_written_over(elsewhere):
    assert "Wrote" in str(course.template())
    path = elsewhere / own_file.FILE
    assert "Law 1" in str(course.check("8.1", own_file.FILE))
    assert "refs names no source" in str(course.check("8.1", path))
    path.write_text(path.read_text().replace("refs: ClassVar = ()", 'refs: ClassVar = ("talk2024",)'))
    said = str(course.check("8.1", path))
    assert "removes has no pattern for vhost.ioctl" in said
    assert "is there already" in str(course.template())
    assert "talk2024" in path.read_text()
    path.write_text(path.read_text().replace("removes: ClassVar = ()", 'removes: ClassVar = ("vhost.*",)'))
    assert course.check("8.1", path).right, "an edit within the same second is seen"
    assert "lawful, but source_teardown" in str(course.check("8.2", path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = (", "line 1: SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("from vdpa_lab.migration.optimization import Optimization", "0 classes derive from Optimization"),
        ("#" * (own_file.MOST_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_taken_is_told_why(content, said, elsewhere):
    (elsewhere / "own.py").write_text(content)
    assert said in str(course.check("8.1", "own.py"))
    assert "there is no file 'nowhere.py'" in str(course.check("8.2", "nowhere.py"))


def test_a_class_or_an_object_is_taken_too():
    class Idle(Optimization):
        """Does nothing."""

        name, title, layer, effect, status, refs = "idle", "Idle", "what-if", "none", "an exercise", ("talk2024",)

    assert "changes nothing" in str(course.check("8.1", Idle))
    assert "changes nothing" in str(course.check("8.1", Idle()))
    Idle.layer, Idle.refs, Idle.after = "attic", ("nobody",), ("no-such",)
    said = str(course.check("8.1", Idle))
    for part in ("layer = 'attic'", "'nobody' is not in", "do not exist: no-such"):
        assert part in said


def test_what_grows_and_what_does_not_commute_is_said():
    class Slow(Optimization):
        """Adds an ioctl where a device stops, and only where rings are not batched."""

        name, title, layer, effect, status, refs = "slow", "Slow", "what-if", "none", "an exercise", ("talk2024",)
        adds = ("vhost.ioctl",)

        def rewrite(self, plan):
            stops = [step for step in plan.select(path="stop", op="SUSPEND") if not step.detail.endswith("!")]
            return plan.alter(
                stops, lambda step: step._replace(detail=step.detail + "!", work=(*step.work, ("vhost.ioctl", 1000)))
            )

    said = str(course.check("8.1", Slow))
    assert "Law 7" in said
    assert "source_teardown of liu2023 grows from" in said
    assert "before and after 'suspend' it makes different plans" in said


# --- Figures, reading, notebooks


def test_every_figure_follows_its_controls():
    for lesson in range(1, 10):
        figure = course.figure(lesson)
        before = figure.page.value
        assert "<table" in before
        name, control = next(iter(figure.controls.items()))
        if hasattr(control, "options"):
            control.index = len(control.options) - 1 if control.index == 0 else 0
        else:
            control.value = control.max
        assert figure.page.value != before, (lesson, name)


def test_figures_show_what_the_lesson_says():
    ring = course.figure(1)
    ring.controls["step"].value = 2
    assert "The driver publishes it." in ring.page.value
    ring.controls["kind"].value = "packed"
    assert "flags have told already" in ring.page.value
    for step in range(ring.controls["step"].max + 1):
        ring.controls["step"].value = step
    assert "4 descriptors are free" in ring.page.value, "all of them are back in the end"
    told = course.figure(2)
    told.controls["event_idx"].value = told.controls["busy"].value = True
    assert "1 notifications for 16" in told.page.value
    addresses = course.figure(3)
    addresses.controls["gpa"].value = 800
    assert "is in no RAM section" in addresses.page.value
    addresses.controls["shadowed"].value = True
    addresses.controls["gpa"].value = 1024
    assert "is IOVA 0xa9000" in addresses.page.value
    keys = course.figure(4)
    keys.controls["stray"].value = 4095
    assert "vdpa-error" in keys.page.value
    keys.controls["stray"].value = 700
    assert "262,656 MTTs" in keys.page.value
    precopy = course.figure(5)
    precopy.controls["rate"].value, precopy.controls["working_set"].value = 600, 8192
    assert "Does not converge" in precopy.page.value
    run = course.figure(7)
    seen = {run.page.value}
    for part in (1, 2):
        run.controls["part"].value = part
        seen.add(run.page.value)
    assert len(seen) == 3
    run.controls["name"].value = "v-256-1d-svq-r1"
    run.controls["part"].value = 1
    assert "show no blackout 1" in run.page.value


def test_reading_lists_link_what_they_name():
    listed = course.reading("virtio13", "runs")
    assert "[virtio13] OASIS" in str(listed) == repr(listed)
    assert '<a href="https://docs.oasis-open.org' in listed._repr_html_()
    with pytest.raises(InputError, match="no source 'virtio14'; did you mean 'virtio13'"):
        course.reading("virtio14")


def lessons():
    paths = sorted((CHECKOUT / "notebooks" / "learn").glob("*.ipynb"))
    return {path.name[0]: nbformat.read(path, as_version=4).cells for path in paths}


def test_notebooks_ask_what_is_checked():
    """Question and exercises of each lesson stand in its notebook word for word."""
    found = lessons()
    assert list(found) == list(course.questions())
    for number, cells in found.items():
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        assert course.questions()[number].ask in prose
        for name, each in EXERCISES.items():
            if name.startswith(f"{number}."):
                assert f"Exercise {name}: {each.title}" in prose
                assert each.ask in prose
                assert f'vl.course.check("{name}"' in code
        assert f"vl.course.figure({number})" in code
        assert "## What would change it?" in prose
        assert len(prose) > 2 * len(code), "more prose than code"


def test_documents_speak_of_what_there_is():
    glossary = (CHECKOUT / "docs" / "glossary.md").read_text(encoding="utf-8")
    notes = (CHECKOUT / "docs" / "instructor_notes.md").read_text(encoding="utf-8")
    for term in ("Virtqueue", "IOTLB", "ASID", "MKEY", "MTT", "KLM", "SVQ", "CVQ", "IOVA", "Precopy", "Switchover"):
        assert f"**{term}" in glossary, term
    for number, cells in lessons().items():
        title = cells[0].source.splitlines()[0].removeprefix(f"# Lesson {number}: ")
        assert f"## {number} " in notes
        assert title.split(",")[0].lower() in notes.lower()
    keys = set(re.findall(r"`([a-z]+\d{4}\w*)`", glossary))
    assert keys <= set(bibliography())
