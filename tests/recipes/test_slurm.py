"""The batch script with a real Ray and a real sweep; Slurm's own commands are stood in for by small programs.

They run each task on this machine, one folder per "host": what is tested is the script and Ray, not Slurm.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.gates import Gate
from tests.faults.sweeps import write_plan
from tests.recipes.conftest import PROJECT, Site, write_program

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SRUN = """
hosts="one two"
for argument; do
    case $argument in
    --nodelist=*) hosts=${argument#*=} ;;
    --exclude=*) hosts=${hosts/${argument#*=}/} ;;
    --*) ;;
    *) break ;;
    esac
    shift
done
input=/dev/null
if [ "$2" = token ]; then
    input=$(mktemp)
    cat >"$input"
fi
for host in $hosts; do
    [ "$host" = one ] || export HOIR_RAY_HOME=$HOIR_RAY_HOME-$host
    "$@" <"$input" &
done
trap 'kill $(jobs -p); wait' TERM
wait
"""
SCONTROL = """
case $1 in
show) printf 'one\\ntwo\\n' ;;
*) echo "scontrol $*" ;;
esac
"""


class Allocation:
    """Two hosts of one CPU, and `sbatch` run by hand."""

    def __init__(self, site: Site) -> None:
        self.site = site
        programs = site.folder / "slurm"
        programs.mkdir()
        write_program(programs / "srun", SRUN)
        write_program(programs / "scontrol", SCONTROL)
        self.gate = Gate(site.folder, epoch=2, attempts=[1])
        plan = write_plan(
            site.folder / "faults.json",
            epochs=site.folder / "epochs.txt",
            faults=[self.gate.fault],
            checkpoint_every_s=0,
        )
        self._environment = {
            **site.environment,
            **plan,
            "PATH": f"{programs}:{site.environment['PATH']}",
            "HOIR_RAY_HOME": str(site.home / "job"),
            "HOIR_HEAD_ADDRESS": "127.0.0.4",
            "SLURM_SUBMIT_DIR": str(PROJECT),
            "SLURM_JOB_ID": "712",
            "SLURM_JOB_NODELIST": "[one,two]",
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_GPUS_ON_NODE": "0",
        }

    def start(self) -> subprocess.Popen[bytes]:
        command = ["bash", str(PROJECT / "cluster" / "slurm.sbatch"), "sweep.yaml"]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(command, cwd=self.site.folder, env=self._environment, stdout=log, stderr=log)

    @property
    def log_file(self) -> Path:
        return self.site.folder / "log"

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


def test_preempted_it_saves_and_the_same_command_goes_on(site: Site) -> None:
    allocation = Allocation(site)
    process = allocation.start()
    while not allocation.gate.held():
        assert process.poll() is None, allocation.log
        time.sleep(0.1)
    token = (site.home / "job" / "token").read_text()
    assert (site.home / "job-two" / "token").read_text() == token
    assert token not in allocation.log
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=200) == 130, allocation.log
    assert "scontrol requeue 712" in allocation.log
    assert list(site.home.iterdir()) == []

    assert allocation.start().wait(timeout=400) == 0, allocation.log
    assert site.states() == ["FINISHED", "FINISHED"]
    assert token not in allocation.log
    assert list(site.home.iterdir()) == []
    assert site.left_behind() == []
