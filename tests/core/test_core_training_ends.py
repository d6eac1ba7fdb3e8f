"""Ends of a training: a finished one that loses its outputs, signals, leftovers of killed writers, a second one there."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from stages.core.artifacts import writers
from stages.core.artifacts.files import write_text
from stages.core.artifacts.folders import whole_folder
from stages.core.artifacts.writers import beside, process_start, remove_leftovers
from stages.core.networks.weights import save_weights
from stages.core.training.folder import OWNER, owned_folder, settle_trainings
from stages.core.training.statistics import NormStatistics
from stages.core.workflow.signals import StoppedBySignal
from tests.core.test_core_training import Toy, assert_equal, fit, names

ROOT = Path(__file__).parents[2]
OUTPUTS = ("w.safetensors", "c.json", "c.png", "s.safetensors")


def run_toy(body: str, *arguments: str, **options) -> subprocess.Popen:
    """A process of its own that runs `body`, in which `toy` is the module of the toy training."""
    script = "import os, signal, sys, time\nfrom pathlib import Path\nimport tests.core.test_core_training as toy\n"
    command = [sys.executable, "-c", script + textwrap.dedent(body), *arguments]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, **options)


def dead_process() -> int:
    """The number of a process that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


# Finished, and lost


def test_a_finished_training_that_loses_its_outputs_writes_the_same_bytes_at_once(tmp_path):
    """As Snakemake does where a job ends badly after its step was done."""
    fit(tmp_path, snapshots=[4, 7], ema_decay=0.9)
    before = {name: (tmp_path / name).read_bytes() for name in OUTPUTS}
    for name in OUTPUTS:
        (tmp_path / name).unlink()
    task = Toy()
    fit(tmp_path, task, snapshots=[4, 7], ema_decay=0.9)
    assert task.steps == []  # not one pass
    assert {name: (tmp_path / name).read_bytes() for name in OUTPUTS} == before


@pytest.mark.parametrize("lost", OUTPUTS)
def test_one_lost_output_is_enough(tmp_path, lost):
    fit(tmp_path, snapshots=[4])
    before = (tmp_path / lost).read_bytes()
    (tmp_path / lost).unlink()
    task = Toy()
    fit(tmp_path, task, snapshots=[4])
    assert task.steps == []
    assert (tmp_path / lost).read_bytes() == before


def test_killed_while_the_outputs_are_written_nothing_is_trained_again(tmp_path):
    fit(tmp_path / "whole")
    body = """
        import stages.core.training.loop as loop
        loop.save_weights = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        toy.fit(Path(sys.argv[1]))
    """
    assert run_toy(body, str(tmp_path / "cut")).wait() == -signal.SIGKILL
    assert not (tmp_path / "cut" / "w.safetensors").exists()
    task = Toy()
    fit(tmp_path / "cut", task)
    assert task.steps == []
    assert (tmp_path / "cut" / "w.safetensors").read_bytes() == (tmp_path / "whole" / "w.safetensors").read_bytes()


def test_with_whole_outputs_a_start_trains_anew(tmp_path):
    fit(tmp_path)
    task = Toy()
    fit(tmp_path, task)
    assert task.steps[0] == (0, 0)


def test_what_finished_under_other_settings_is_neither_used_nor_kept(tmp_path):
    fit(tmp_path, identity="old", snapshots=[4])
    (tmp_path / "w.safetensors").unlink()
    task = Toy()
    fit(tmp_path, task, identity="new")
    assert task.steps[0] == (0, 0)
    assert names(tmp_path / "checkpoint") == {"checkpoint.pt", "finished.json"}


def test_the_driver_settles_what_is_whole_and_nothing_else(tmp_path, caplog):
    for name in ("whole", "lost", "cut_short", "running"):
        fit(tmp_path / name)
    (tmp_path / "lost" / "w.safetensors").unlink()
    (tmp_path / "cut_short" / "w.safetensors").write_bytes(b"half")
    (tmp_path / "running" / "checkpoint" / "finished.json").unlink()
    (tmp_path / "unreadable" / "checkpoint").mkdir(parents=True)
    (tmp_path / "unreadable" / "checkpoint" / "finished.json").write_text("{")
    folders = ["whole", "lost", "cut_short", "running", "unreadable", "not_there"]
    settle_trainings(str(tmp_path / name / file) for name in folders for file in OUTPUTS)
    left = {name for name in folders if (tmp_path / name / "checkpoint").exists()}
    assert left == {"lost", "cut_short", "running", "unreadable"}
    assert "unreadable/checkpoint is not removed: " in caplog.text


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_the_next_start_ends_with_the_undisturbed_network(tmp_path, number):
    class Stopped(Toy):
        def batch(self, step, micro, generator):
            if (step, micro) == (5, 0):
                os.kill(os.getpid(), number)
            return super().batch(step, micro, generator)

    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(StoppedBySignal, match=f"{number.name} came; a checkpoint of update 6 of 12 is in") as stopped:
        fit(tmp_path / "cut", Stopped())
    assert stopped.value.status == 128 + number
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert names(tmp_path / "cut" / "checkpoint") == {"checkpoint.pt"}
    task = Toy()
    assert_equal(fit(tmp_path / "cut", task), fit(tmp_path / "whole"))
    assert task.steps[0] == (6, 0)


def test_a_signal_in_the_last_update_lets_the_training_end(tmp_path):
    class Late(Toy):
        def batch(self, step, micro, generator):
            if (step, micro) == (11, 1):
                os.kill(os.getpid(), signal.SIGTERM)
            return super().batch(step, micro, generator)

    assert_equal(fit(tmp_path / "late", Late()), fit(tmp_path / "whole"))


def test_a_step_that_is_told_to_stop_says_so_and_exits_with_the_signals_status(tmp_path):
    body = """
        from stages.core.workflow import step
        class Slow(toy.Toy):
            def batch(self, number, micro, generator):
                if number == 3:
                    (folder / "ready").touch()
                    time.sleep(0.5)
                return super().batch(number, micro, generator)
        folder = Path(sys.argv[1])
        def train_toy(*, seed: int) -> None:
            "Trains."
            toy.fit(folder, Slow())
        step.run(train_toy, ["--seed", "1", "--log", str(folder / "log.txt")])
    """
    running = run_toy(body, str(tmp_path), stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "ready").exists():
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.05)
    asked = time.perf_counter()
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert time.perf_counter() - asked < 10
    assert running.returncode == 143
    assert "train_toy stopped: SIGTERM came; a checkpoint of update 4 of 12 is in" in said
    assert "from which the next start goes on" in (tmp_path / "log.txt").read_text()
    assert "Traceback" not in said
    task = Toy()
    fit(tmp_path, task)
    assert task.steps[0] == (4, 0)


def test_a_signal_that_is_ignored_on_purpose_stays_ignored(tmp_path):
    class Signalled(Toy):
        def batch(self, step, micro, generator):
            os.kill(os.getpid(), signal.SIGINT)
            return super().batch(step, micro, generator)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        fit(tmp_path, Signalled())
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "w.safetensors").is_file()


# Two at once


def test_a_second_training_in_the_folder_is_told_of_the_first(tmp_path):
    body = """
        from stages.core.training.folder import owned_folder
        with owned_folder(Path(sys.argv[1])):
            print("here", flush=True)
            sys.stdin.read()
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first = run_toy(body, str(tmp_path / "checkpoint"), **pipes)
    assert first.stdout.readline() == "here\n"
    with pytest.raises(
        ValueError, match=rf"another process trains there \(process {first.pid} on .*, since .*wait for"
    ):
        fit(tmp_path)
    first.communicate("")
    fit(tmp_path)


def test_a_dead_owner_of_this_host_is_taken_over_without_a_word(tmp_path, caplog):
    mark(tmp_path, pid=dead_process())
    fit(tmp_path)
    assert OWNER not in names(tmp_path / "checkpoint")
    assert "has not said" not in caplog.text


def test_another_process_with_the_number_of_a_dead_owner_is_not_it(tmp_path):
    mark(tmp_path, pid=os.getppid(), start="1")
    fit(tmp_path)


def test_an_owner_on_another_host_is_warned_of_with_its_job(tmp_path, caplog):
    mark(tmp_path, host="node7", pid=5, job="4711")
    fit(tmp_path)
    said = "process 5 on node7, job 4711, since yesterday has not said that it ended; if it still trains, end it"
    assert said in caplog.text


@pytest.mark.parametrize("text", ["", "{"], ids=["empty", "cut off"])
def test_a_mark_that_was_cut_off_is_no_owner(tmp_path, text):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / OWNER).write_text(text)
    fit(tmp_path)


def test_a_mark_is_removed_by_its_owner_alone(tmp_path):
    with owned_folder(tmp_path / "checkpoint"):
        mark(tmp_path, host="node7", pid=5)
    assert names(tmp_path / "checkpoint") == {OWNER}


def mark(folder: Path, *, pid: int, host: str | None = None, start: str = "1", job: str | None = None) -> None:
    (folder / "checkpoint").mkdir(exist_ok=True)
    owner = {"host": host or socket.gethostname(), "pid": pid, "start": start, "since": "yesterday", "job": job}
    (folder / "checkpoint" / OWNER).write_text(json.dumps(owner))


# Leftovers, and what new files look like


@pytest.mark.parametrize("name", ["w.safetensors", 'it\'s "<script>".h5', "two\nlines.h5", "Größe [x] {y}.json", ".h5"])
def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path, name):
    dead, living, elsewhere = dead_process(), os.getppid(), "othernode"
    gone = [f".{name}.{writers.host()}.{dead}.unfinished", f".{name}.{writers.host()}.{dead}.older"]
    old = [f".{name}.{elsewhere}.{living}.unfinished", f".{name}.{dead}.unfinished"]  # the second by an older version
    stay = [f".{name}.{writers.host()}.{living}.unfinished", f".{name}.{elsewhere}.{dead}.unfinished", name]
    for one in [*gone, *old, *stay]:
        (tmp_path / one).write_text("half")
    (tmp_path / f".{name}.{writers.host()}.{dead}.unfinished").unlink()
    (tmp_path / f".{name}.{writers.host()}.{dead}.unfinished").mkdir()
    (tmp_path / f".{name}.{writers.host()}.{dead}.unfinished" / "inside").write_text("")
    for one in old:
        os.utime(tmp_path / one, (time.time() - 2 * 86400,) * 2)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == set(stay)


def test_a_writer_clears_its_folder_first(tmp_path):
    left = tmp_path / f".other.json.{writers.host()}.{dead_process()}.unfinished"
    left.write_text("half")
    write_text(tmp_path / "new.txt", "whole")
    assert names(tmp_path) == {"new.txt"}


def test_a_training_clears_its_folder_first(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / f".checkpoint.pt.{writers.host()}.{dead_process()}.unfinished").write_text("half")
    fit(tmp_path)
    assert names(tmp_path / "checkpoint") == {"checkpoint.pt", "finished.json"}


def test_a_process_that_is_gone_has_no_start():
    assert process_start(os.getpid()) == process_start(os.getpid()) is not None
    assert process_start(dead_process()) is None
    zombie = subprocess.Popen([sys.executable, "-c", ""])  # gone, though its number is taken until somebody waits
    deadline = time.perf_counter() + 30
    while process_start(zombie.pid) is not None and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert process_start(zombie.pid) is None
    zombie.wait()


def test_names_of_unfinished_files_tell_their_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "a node.with/odd.name")
    assert beside(tmp_path / "w.h5") == tmp_path / f".w.h5.a-node.{os.getpid()}.unfinished"


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=["022", "002", "077"])
def test_files_get_the_permissions_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        save_weights(tmp_path / "w.safetensors", nn.Linear(2, 2), {})
        write_text(tmp_path / "t.txt", "")
        with whole_folder(tmp_path / "folder") as folder:
            (folder / "file").touch()
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("w.safetensors", "t.txt", "folder/file")}
    assert modes == dict.fromkeys(modes, 0o666 & ~umask)


# Statistics of several processes


def test_merged_statistics_are_those_of_all_passes_in_their_order():
    """Norms that a pass uses twice or not at all, and of other momenta; frozen ones stay."""

    def network() -> nn.ModuleDict:
        torch.manual_seed(0)
        norms = {"a": nn.BatchNorm1d(3), "b": nn.BatchNorm1d(3, momentum=0.3), "frozen": nn.BatchNorm1d(3)}
        return nn.ModuleDict(norms)

    def passed(norms: nn.ModuleDict, number: int) -> None:
        norms["frozen"].eval()
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number)) * (1 + number) + number
        y = norms["a"](norms["a"](x)) if number % 3 == 0 else x
        norms["frozen"](norms["b"](y))

    updates, passes, world = 3, 6, 2
    alone, parts = network(), [network() for _ in range(world)]
    statistics = [NormStatistics(part) for part in parts]
    for update in range(updates):
        for part in (alone, *parts):
            part.train()["frozen"].eval()
        for one in statistics:
            one.start()
        for micro in range(passes):
            passed(alone, update * passes + micro)
            passed(parts[micro % world], update * passes + micro)
            statistics[micro % world].end_pass()
        merge_all(statistics)
    for part in parts:
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(part.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert alone["a"].num_batches_tracked == 2 * sum(n % 3 == 0 for n in range(updates * passes))


def merge_all(statistics: list[NormStatistics]) -> None:
    """What the processes would do at the same time: each asks for the tensors of all, one kind after another."""
    said: list[list[torch.Tensor]] = []
    for one in statistics:
        tensors = [torch.stack(one._decays), torch.stack(one._contributions), one._before[1] - one._first[1]]
        said.append(tensors)
    for one in statistics:
        kinds = iter(range(3))
        one.merge(lambda _, kinds=kinds: torch.stack([tensors[kind] for kind in [next(kinds)] for tensors in said]))


def test_norms_without_a_momentum_are_refused():
    network = nn.BatchNorm1d(3, momentum=None)
    with pytest.raises(ValueError, match="train them with one process"):
        NormStatistics(network).start()


def test_logging_is_as_quiet_as_before(tmp_path, caplog):
    """An undisturbed training has no warning."""
    with caplog.at_level(logging.WARNING):
        fit(tmp_path)
    assert [record.message for record in caplog.records if record.name.startswith("stages")] == []
