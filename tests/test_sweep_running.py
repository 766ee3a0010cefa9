"""Sweeps over processes: workers and schedulers that die, parents that are killed, two sweeps on one folder."""

import csv
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack
from threading import Event, Timer

import pytest
from conftest import CHECKOUT
from distributed import Client

from vdpa_lab.cli import main
from vdpa_lab.sweep import estimate, sweep
from vdpa_lab.sweep.evaluate import evaluate
from vdpa_lab.sweep.store import ROWS
from vdpa_lab.units import format_bytes
from vdpa_lab.words import InputError

SPEC = {"name": "guests", "scenario": "sim-128-1d", "axes": {"guest.vcpus": list(range(1, 41))}}
BOUND = 60  # s until whatever still runs is ended


def quiet(source, **options):
    return sweep(source, show=lambda text: None, **{"workers": 0, **options})


@pytest.fixture
def one_run_a_batch(monkeypatch):
    monkeypatch.setattr("vdpa_lab.sweep.engine.MOST_IN_BATCH", 1)


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "guests.toml"
    path.write_text(f'scenario = "{SPEC["scenario"]}"\n[axes]\nguest.vcpus = {SPEC["axes"]["guest.vcpus"]}\n')
    return path


@pytest.fixture
def start():
    """Starts a process; all that were started are ended with the test, or when they take too long."""
    with ExitStack() as clean:

        def begin(*command, **options):
            options = {"text": True, "cwd": CHECKOUT, "start_new_session": True, **options}
            process = clean.enter_context(subprocess.Popen([sys.executable, *map(str, command)], **options))
            clean.callback(kill, process)
            bound = Timer(BOUND, kill, [process])
            bound.start()
            clean.callback(bound.cancel)
            return process

        yield begin


def kill(process):
    """It and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


# --- a cluster of real processes --------------------------------------------------------------------------------


class Cluster:
    """A scheduler, and as many workers as are asked for, by dask's own commands; on the loopback only."""

    def __init__(self, start, folder):
        self.start, self.folder = start, folder
        self.scheduler = self._dask("scheduler")
        self.address = next(line for line in self.scheduler.stderr if "Scheduler at:" in line).split()[-1]

    def _dask(self, *command, **options):
        place = ["--host", "127.0.0.1", "--no-dashboard"]
        options["env"] = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}  # to look for a dead worker
        if command[0] == "scheduler":
            place += ["--port", "0"]
            options["stderr"] = subprocess.PIPE
        else:
            place += ["--nthreads", "1", "--no-nanny", "--local-directory", self.folder]
            options["stderr"] = subprocess.DEVNULL
        return self.start("-m", "dask", *command, *place, **options)

    def workers(self, count, **options):
        """New ones, all there."""
        with Client(self.address, set_as_default=False) as client:
            there = len(client.ncores())
            started = [self._dask("worker", self.address, **options) for _ in range(count)]
            client.wait_for_workers(there + count, timeout=BOUND)
        return started


@pytest.fixture
def cluster(start, tmp_path):
    return Cluster(start, tmp_path)


def at(count, do):
    """Progress that does something once so many runs are done and more are left."""

    def progress(seen):
        if seen.done == count < seen.total:
            do()

    return progress


def test_a_worker_that_is_killed_in_the_middle_costs_nothing_of_the_result(cluster, one_run_a_batch):
    first, second = cluster.workers(2)
    found = quiet(SPEC, scheduler=cluster.address, progress=at(1, lambda: (first.kill(), first.wait())))
    assert first.returncode == -signal.SIGKILL
    assert second.poll() is None
    assert found.complete
    assert found.table.equals(quiet(SPEC).table)


def test_a_cluster_whose_workers_are_all_new_goes_on(cluster, one_run_a_batch, tmp_path):
    before = cluster.workers(2)

    def renew():
        for worker in before:
            worker.kill()
            worker.wait()
        cluster.workers(1)

    found = quiet(SPEC, scheduler=cluster.address, out=tmp_path / "out", progress=at(2, renew))
    assert found.complete
    assert found.table.equals(quiet(SPEC).table)


def test_a_cluster_that_has_no_workers_any_more_is_told(cluster, one_run_a_batch, monkeypatch):
    monkeypatch.setattr("vdpa_lab.sweep.dask_pool.LOOK", 0.1)
    monkeypatch.setattr("vdpa_lab.sweep.dask_pool.DESERTED", 0.2)
    (worker,) = cluster.workers(1)
    with pytest.raises(InputError, match=r"scheduler tcp://.*: has had no workers for 0.2 s; start some$"):
        quiet(SPEC, scheduler=cluster.address, progress=at(1, lambda: (worker.kill(), worker.wait())))


def test_a_scheduler_that_is_lost_is_told_with_what_is_kept(cluster, one_run_a_batch, tmp_path, caplog):
    cluster.workers(1)
    lose = at(3, lambda: (cluster.scheduler.kill(), cluster.scheduler.wait()))
    with pytest.raises(InputError, match=r"was lost.*; \d+ runs are kept in .*: go on with --resume \(resume=True\)"):
        quiet(SPEC, scheduler=cluster.address, out=tmp_path / "out", progress=lose)
    assert [each.getMessage() for each in caplog.records if each.levelname in ("ERROR", "CRITICAL")] == []
    assert quiet(SPEC, out=tmp_path / "out", resume=True).table.equals(quiet(SPEC).table)


@pytest.fixture
def other_package(tmp_path):
    """A folder with a vdpa_lab that is empty, or has this code for sweeps; where a worker starts comes first."""

    def write(code=None):
        (tmp_path / "vdpa_lab").mkdir()
        (tmp_path / "vdpa_lab" / "__init__.py").write_text("")
        if code:
            (tmp_path / "vdpa_lab" / "sweep.py").write_text(code)
        return tmp_path

    return write


def test_a_worker_without_the_package_or_with_an_old_one_is_told_and_lives(cluster, other_package):
    (worker,) = cluster.workers(1, cwd=other_package())
    with pytest.raises(InputError, match=r"ModuleNotFoundError: .*vdpa_lab.*; install the same vdpa_lab") as told:
        quiet(SPEC, scheduler=cluster.address)
    assert isinstance(told.value.__cause__, ModuleNotFoundError), "for who looks further"
    assert worker.poll() is None


def test_a_batch_over_which_workers_die_is_told(start, tmp_path, other_package, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    cluster = Cluster(start, tmp_path)
    cluster.workers(1, cwd=other_package("import os; os._exit(1)"))
    with pytest.raises(InputError, match="workers died over a batch, again and again"):
        quiet(SPEC, scheduler=cluster.address)


@pytest.mark.parametrize("address", ["foo", "tcp://127.0.0.1", "nowhere://x:1"])
def test_what_is_no_address_is_told_before_anything_is_tried(address, monkeypatch):
    monkeypatch.setattr("distributed.Client", lambda *_, **__: pytest.fail("a client was made"))
    with pytest.raises(InputError, match=f"scheduler {address}: is no address: .*; give one as tcp://host:8786"):
        quiet(SPEC, scheduler=address)


# --- processes here ---------------------------------------------------------------------------------------------

SCRIPT = """
import multiprocessing, os, signal, sys
from vdpa_lab.sweep import sweep
import vdpa_lab.sweep.engine as engine
engine.MOST_IN_BATCH = 1

def progress(seen):
    print(seen.done, *(child.pid for child in multiprocessing.active_children()), flush=True)
    sys.stdin.readline()

if __name__ == "__main__":
    sweep(sys.argv[1], out=sys.argv[2] or None, workers=int(sys.argv[3]), progress=progress)
elif sys.argv[4:]:  # a worker that imports this file
    os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture
def script(start, tmp_path, spec_file):
    """Starts a sweep that says after each batch how many runs there are and which its workers are, and waits."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)

    def begin(out, workers, *more):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return start(path, spec_file, out, workers, *more, **pipes)

    return begin


def test_two_sweeps_do_not_write_into_one_folder(script, spec_file, tmp_path):
    out = tmp_path / "out"
    other = script(out, 0)
    assert other.stdout.readline() == "1\n"
    for resume in (True, False):
        with pytest.raises(InputError, match="out is being written by another sweep: wait until it ends, or name"):
            quiet(spec_file, out=out, resume=resume)
    other.communicate("\n" * 40)
    assert other.returncode == 0
    with open(out / ROWS, newline="") as file:
        assert [int(row["run"]) for row in csv.DictReader(file)] == list(range(40))
    assert quiet(spec_file, out=out, resume=True).table.equals(quiet(spec_file).table)


def test_workers_end_with_a_parent_that_is_killed(script):
    parent = script("", 2)
    done, *workers = parent.stdout.readline().split()
    assert (done, len(workers)) == ("1", 2)
    os.kill(parent.pid, signal.SIGKILL)
    ended, *_ = select.select([parent.stdout], [], [], 20)  # a pipe ends when all who could write into it are gone
    assert ended
    assert parent.stdout.read() == ""


def test_ctrl_c_does_not_reach_a_worker_that_is_still_importing(script):
    """A worker gets it in its first lines; a terminal sends it to all."""
    running = script("", 2, "interrupt")
    out, error = running.communicate("\n" * 40)
    assert running.returncode == 0
    assert out.splitlines()[-1].split()[0] == "40"
    assert error.count("\n") == 1, "the estimate"


def test_ctrl_c_reaches_the_parent_after_it_has_started_workers(monkeypatch):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    seen = []
    quiet(SPEC, workers=1, progress=lambda _: seen.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    assert set(map(frozenset, seen)) == {frozenset(blocked)}


# --- what is said -----------------------------------------------------------------------------------------------


def test_the_estimate_and_the_choice_of_workers_are_of_what_is_left(tmp_path, one_run_a_batch, monkeypatch):
    """Half of what takes 1.5 times as long as is worth a pool is not worth one."""
    told, out = [], tmp_path / "out"
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    whole = estimate(SPEC)._replace(seconds=6.0, batch=1)
    monkeypatch.setattr("vdpa_lab.sweep.engine.estimate", lambda spec: whole)
    monkeypatch.setattr("vdpa_lab.sweep.pools.processes", lambda *_: pytest.fail("a pool was started"))
    with pytest.raises(KeyboardInterrupt):
        quiet(SPEC, out=out, progress=at(20, lambda: os.kill(os.getpid(), signal.SIGINT)))
    sweep(SPEC, out=out, resume=True, show=told.append)
    size = format_bytes(whole.size / 2)
    assert told == [
        f"guests: 20 runs are there; left: 20 runs of at most 20 plans: about 3 s on one core, {size} of CSV"
    ]


@pytest.mark.parametrize(
    ("stop", "status", "said"),
    [(InputError("enough"), 2, "vdpa-lab: enough{}"), (KeyboardInterrupt(), 130, "vdpa-lab: interrupted{}")],
)
def test_a_message_has_a_line_of_its_own_and_says_what_is_kept_where_something_is(
    spec_file, tmp_path, one_run_a_batch, monkeypatch, capsys, stop, status, said
):
    done = []

    def one_only(spec, numbers):
        if done:
            raise stop
        done.append(numbers)
        return evaluate(spec, numbers)

    monkeypatch.setattr("vdpa_lab.sweep.pools.evaluate", one_only)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    out = tmp_path / "out"
    kept = {
        2: f"; 1 runs are kept in {out}: go on with --resume (resume=True)",
        130: f"; what was written to {out} stays",
    }
    for options, more in (((), ""), (("--out", str(out)), kept[status])):
        done.clear()
        assert main(["sweep", str(spec_file), "--workers", "0", *options]) == status
        estimated, progress, message, _ = capsys.readouterr().err.split("\n")
        assert (estimated.partition(":")[0], progress.strip().partition(",")[0]) == ("guests", "1 of 40 runs")
        assert message == said.format(more)


def test_a_killed_worker_here_is_told_with_what_is_kept_where_something_is(tmp_path, one_run_a_batch):
    def end_workers():
        for child in multiprocessing.active_children():
            child.kill()

    for options, more in (({}, ""), ({"out": tmp_path / "out"}, r"; \d+ runs are kept in .*: go on with --resume.*")):
        with pytest.raises(InputError, match=rf'under `if __name__ == "__main__":`\){more}$'):
            quiet(SPEC, workers=1, progress=at(2, end_workers), **options)


def test_what_is_left_is_looked_through_in_stretches(tmp_path, monkeypatch):
    monkeypatch.setattr("vdpa_lab.sweep.engine.MOST_IN_BATCH", 2)
    monkeypatch.setattr("vdpa_lab.sweep.engine.STRETCH", 5)
    seen, cancel = [], Event()
    quiet(SPEC, out=tmp_path, cancel=cancel, progress=at(2, cancel.set))
    found = quiet(SPEC, out=tmp_path, resume=True, progress=lambda far: seen.append(far.done))
    assert seen == [4, 5, *(5 * stretch + each for stretch in range(1, 8) for each in (2, 4, 5))]
    assert found.table.equals(quiet(SPEC).table)
