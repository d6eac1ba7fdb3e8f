"""A throw-away Slurm on this machine's loopback: two CPU nodes and two with two pretended GPUs each.

    python -m tests.cluster.slurm -- snakemake --profile profiles/slurm    # up, the command, down again

Needs root, and Debian's packages slurm-wlm and munge (`make cluster-test` installs them). Nothing outlives it: daemons,
keys and logs are in a folder of its own, and the links under /etc/slurm are removed. A cluster that is there is not touched.

The partition `gpu` has one of the GPU nodes, as most tests look at that one; `gpus` has both. A GPU is a device file of the kernel; jobs that were given one are told to hide it, and compute on the CPU.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

NODES = {"cpu1": "", "cpu2": "", "gpu1": "Gres=gpu:2", "gpu2": "Gres=gpu:2"}
CPUS, MEMORY_MB = 4, 64000  # of a node, whatever the machine has: rules ask for what real data needs
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")
PLACE = Path("/etc/slurm")  # jobs of Snakemake's plugin look for the configuration here alone
FILES = ("slurm.conf", "gres.conf")
PREFIX = "throwaway-slurm-"
PR_SET_PDEATHSIG = 1
SECONDS = 30.0  # within which the nodes must be up

SLURM_CONF = """\
ClusterName=throwaway
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
TaskProlog={folder}/etc/hide_gpus
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory,CR_LLN
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
DefMemPerCPU=500
GresTypes=gpu
ReturnToService=2
MinJobAge=3600
KillWait=5
{nodes}
PartitionName=cpu Nodes=cpu1,cpu2 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=INFINITE State=UP
PartitionName=gpus Nodes=gpu1,gpu2 MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Job:
    """A job in Slurm's records.

    Attributes:
        number: its id.
        rule: the rule that it runs, by the comment that Snakemake's plugin gives it.
        partition, state, node: as Slurm has them.
        gpus: GPUs that it was given, on all its nodes.
        nodes: how many it was given.
        cpus: CPU threads.
        restarts: how often Slurm has put it back into the queue by itself.
        start, end: None where it has none yet.
    """

    number: int
    rule: str
    partition: str
    state: str
    node: str
    gpus: int
    nodes: int
    cpus: int
    restarts: int
    start: datetime | None
    end: datetime | None

    def beside(self, other: Self) -> bool:
        """Whether the two ran at the same time."""
        if None in (self.start, self.end, other.start, other.end):
            return False
        return self.start < other.end and other.start < self.end  # type: ignore[operator]


def why_not() -> str | None:
    """What keeps the cluster from starting here; None: nothing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)} missing); `make cluster-test` installs it"
    if os.geteuid() != 0:
        return "daemons of several nodes on one machine need root"
    there = [str(PLACE / name) for name in FILES if os.path.lexists(PLACE / name) and not _left(PLACE / name)]
    if there:
        return f"there is a cluster already: {', '.join(there)}"
    return None


class Slurm:
    """A context manager: the cluster runs within it. RuntimeError where it cannot, with what the daemons have said."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "etc" / "slurm.conf")}

    def __enter__(self) -> Self:
        reason = why_not()
        if reason:
            raise RuntimeError(reason)
        try:
            self._write()
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run("scancel", "--user=root", check=False)
        self._stop()

    def run(self, *command: str, check: bool = True) -> str:
        """What one of Slurm's programs prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self, rule: str | None = None) -> list[Job]:
        """All jobs so far, or those of a rule, in the order in which they were submitted."""
        found = []
        for line in self.run("scontrol", "show", "job", "-o").splitlines():
            said = dict(re.findall(r"(\w+)=(\S*)", line))
            if "JobState" not in said:
                continue  # no jobs in the system
            name = said.get("Comment", "").removeprefix("rule_").partition("_wildcards_")[0]
            nodes = int(said["NumNodes"].partition("-")[0])
            job = Job(
                number=int(said["JobId"]),
                rule=name,
                partition=said["Partition"],
                state=said["JobState"],
                node=said["NodeList"],
                gpus=_count(said.get("TresPerJob", "")) or nodes * _count(said.get("TresPerNode", "")),
                nodes=nodes,
                cpus=int(said["NumCPUs"]),
                restarts=int(said["Restarts"]),
                start=_time(said["StartTime"]),
                end=_time(said["EndTime"]),
            )
            if rule in (None, name):
                found.append(job)
        return sorted(found, key=lambda job: job.number)

    def steps(self, job: int) -> list[int]:
        """Processes by which nodes watch a job's steps; a node that comes back with one of them starts no second copy."""
        found = subprocess.run(["pgrep", "-f", rf"^slurmstepd: \[{job}\."], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def kill(self, job: int) -> None:
        """End all processes of a job, as a node does that goes away."""
        own, found = f"SLURM_JOB_ID={job}".encode(), self.steps(job)
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # of one that has ended by itself
                if own in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _write(self) -> None:
        for name in ("etc", "run", "state", "spool", "log", "munge"):
            (self.folder / name).mkdir(mode=0o755)
        self.folder.chmod(0o755)
        ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().partition(".")[0]
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} RealMemory={MEMORY_MB} {extra}"
            for (name, extra), port in zip(NODES.items(), ports[1:], strict=True)
        ]
        text = SLURM_CONF.format(host=host, port=ports[0], folder=self.folder, nodes="\n".join(nodes))
        (self.folder / "etc" / "slurm.conf").write_text(text)
        (self.folder / "etc" / "gres.conf").write_text(
            "NodeName=gpu1 Name=gpu File=/dev/tty[1-2]\nNodeName=gpu2 Name=gpu File=/dev/tty[3-4]\n"
        )
        hide = self.folder / "etc" / "hide_gpus"
        hide.write_text("#!/bin/sh\necho export CUDA_VISIBLE_DEVICES=\n")
        hide.chmod(0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        PLACE.mkdir(exist_ok=True)
        for name in FILES:
            (PLACE / name).unlink(missing_ok=True)
            (PLACE / name).symlink_to(self.folder / "etc" / name)

    def _start(self) -> None:
        munge = self.folder / "munge"
        self._daemon(
            "munged", "--force", "--foreground", f"--key-file={munge / 'key'}", f"--socket={munge / 'socket'}",
            f"--pid-file={munge / 'pid'}", f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}",
        )  # fmt: skip
        self._wait("munged", lambda: (munge / "socket").exists())
        self._daemon("slurmctld", "-D", "-c", "-f", self.environment["SLURM_CONF"])
        for name in NODES:
            self._daemon("slurmd", "-D", "-f", self.environment["SLURM_CONF"], "-N", name)
        self._wait("the nodes", self.idle)

    def idle(self) -> bool:
        """Whether all nodes are up, without a job."""
        lines = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False).splitlines()
        return set(lines) == {f"{name} idle" for name in NODES}  # one line for each partition of a node

    def _daemon(self, *command: str) -> None:
        with (self.folder / "log" / f"{command[0]}.{len(self.daemons)}.said").open("wb") as said:
            self.daemons.append(
                subprocess.Popen(
                    command,
                    env=self.environment,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                    preexec_fn=_with_parent,
                )
            )

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS
        while not ready():
            died = next((daemon for daemon in self.daemons if daemon.poll() is not None), None)
            if died is not None or time.monotonic() > until:
                logs = sorted([*self.folder.glob("log/*"), self.folder / "munge" / "log"])
                said = "\n".join(f"{path.name}: {path.read_text()[-500:]}" for path in logs if path.is_file())
                raise RuntimeError(f"{what} did not come up: {said}")
            time.sleep(0.1)

    def _stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for daemon in reversed(self.daemons):
                if daemon.poll() is None:
                    daemon.send_signal(number)
            until = time.monotonic() + 5
            while any(daemon.poll() is None for daemon in self.daemons) and time.monotonic() < until:
                time.sleep(0.05)
        for name in FILES:
            place = PLACE / name
            if place.is_symlink() and place.readlink() == self.folder / "etc" / name:
                place.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)


def _left(place: Path) -> bool:
    """Whether a configuration is a link that a killed process of this module has left: its daemons died with it."""
    if not place.is_symlink() or not place.readlink().parents[1].name.startswith(PREFIX):
        return False
    daemon = place.readlink().parents[1] / "run" / "slurmctld.pid"
    return not daemon.is_file() or not Path("/proc", daemon.read_text().strip()).exists()


def _with_parent() -> None:
    """In a child before it runs: let it end when its parent does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _count(asked: str) -> int:
    """GPUs of what a job asks for, such as gres:gpu:2; 0 without any."""
    return int(asked.rpartition(":")[2]) if "gpu" in asked else 0


def _time(text: str) -> datetime | None:
    return None if text in ("N/A", "Unknown") else datetime.fromisoformat(text)


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main() -> None:
    """Run a command on a cluster of its own, and exit as it does."""
    command = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if not command:
        raise SystemExit("usage: python -m tests.cluster.slurm -- COMMAND ...")
    reason = why_not()
    if reason:
        raise SystemExit(reason)
    with Slurm() as cluster:
        raise SystemExit(subprocess.call(command, env=cluster.environment))


if __name__ == "__main__":
    main()
