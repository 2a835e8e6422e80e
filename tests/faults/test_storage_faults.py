"""Storage that stutters is borne; storage that goes away costs nothing but the time until it is back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hoir_ray.results.record import trial_of
from hoir_ray.results.unsaved import UNSAVED
from hoir_ray.storage import open_storage
from hoir_ray.storage.manifest import MANIFEST
from tests.faults.gates import Gate
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweedfs import OWNER, READER, STRANGER, SeaweedFS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.long
def test_bursts_of_errors_delays_and_cut_transfers_are_borne(
    tmp_path: Path, s3_server: SeaweedFS, s3_proxy: S3Proxy, s3_bucket: str
) -> None:
    gate = Gate(tmp_path, trial="t0001", attempts=[1])
    sweep = Sweep(
        tmp_path,
        storage=f"s3://{s3_bucket}/sweeps",
        endpoint_url=s3_proxy.endpoint_url,
        faults=[
            gate.fault,
            {"trial": "t0001", "do": "SIGKILL", "epoch": 4, "attempts": [1]},
        ],
        checkpoint_every_s=0,
    )
    process = sweep.start()
    sweep.wait_for(" started", process=process)
    with ExitStack() as stack:
        faults = [
            stack.enter_context(s3_proxy.faulty("truncate_upload", match="PUT .*(last.ckpt|safetensors)", times=2)),
            stack.enter_context(s3_proxy.faulty("truncate_download", match="GET .*last.ckpt", times=1)),
            stack.enter_context(s3_proxy.faulty("slow", match="PUT .*/ledger/", times=2, seconds=12)),
            stack.enter_context(s3_proxy.faulty("lose_answer", match="PUT .*/(models|ledger|lock)", times=3)),
            stack.enter_context(s3_proxy.faulty("reset", match="PUT", times=4)),
            stack.enter_context(s3_proxy.faulty("503", times=12)),
        ]
        behind = open_storage(f"s3://{s3_bucket}/sweeps/tiny", endpoint_url=s3_server.endpoint_url)
        sweep.wait_until(
            lambda: any(o.key.endswith(MANIFEST) for o in behind.list("trials/t0001/checkpoints")), process=process
        )
        gate.open()
        code = process.wait(timeout=600)
    records = check_invariants(sweep, num_trials=4, exit_code=code)
    assert code == 0
    assert [f.hits for f in faults] == [2, 1, 2, 3, 4, 12]
    assert any("resumes after epoch" in line for line in records["t0001"].history)


def test_a_lost_bucket_ends_the_sweep_and_nothing_is_trained_twice(
    tmp_path: Path, s3_proxy: S3Proxy, s3_bucket: str
) -> None:
    gate = Gate(tmp_path)
    gate.open("t0001")
    sweep = Sweep(
        tmp_path,
        storage=f"s3://{s3_bucket}/sweeps",
        endpoint_url=s3_proxy.endpoint_url,
        text=TEXT.replace("max_trials: 4", "max_trials: 6"),
        faults=[gate.fault],
    )
    process = sweep.start()
    sweep.wait_for("t0001 FINISHED", process=process)
    sweep.wait_until(lambda: {"t0002", "t0003"} <= gate.held().keys(), process=process)
    with s3_proxy.faulty("404"):
        gate.open()
        assert process.wait(timeout=400) == 4, sweep.log
    assert s3_bucket in sweep.log
    assert "this saves it: hoir sweep sweep.yaml" in sweep.log
    kept = sorted(p.name.partition("-")[0] for p in (tmp_path / UNSAVED).glob("*/models/*"))
    trained = sweep.epochs()
    assert kept
    code = sweep.run()
    check_invariants(sweep, num_trials=6, exit_code=code)
    assert code == 0
    assert not list((tmp_path / UNSAVED).glob("*"))
    again = {trial for trial, attempt in sweep.epochs() if (trial, attempt) not in trained}
    assert not again & set(kept), "their models were uploaded"


@pytest.mark.long
def test_when_only_the_ledger_is_refused_models_are_kept_and_records_saved_later(
    tmp_path: Path, s3_proxy: S3Proxy, s3_bucket: str
) -> None:
    gate = Gate(tmp_path)
    sweep = Sweep(tmp_path, storage=f"s3://{s3_bucket}/sweeps", endpoint_url=s3_proxy.endpoint_url, faults=[gate.fault])
    process = sweep.start()
    sweep.wait_until(gate.held, process=process)
    with s3_proxy.faulty("403", match="PUT .*/ledger/") as fault:
        gate.open()
        assert process.wait(timeout=400) == 4, sweep.log
    assert fault.hits
    assert "cannot write 'ledger/" in sweep.log
    assert "s3:PutObject" in sweep.log
    kept = sorted(p.stem for p in (tmp_path / UNSAVED).glob("*/ledger/*.json"))
    published = {trial_of(o.key) for o in sweep.opened().storage.list("models") if o.key.endswith("manifest.json")}
    assert kept
    assert published, "what was running trained to its end and was published"
    trained = sweep.epochs()
    code = sweep.run()
    check_invariants(sweep, num_trials=4, exit_code=code, secrets=[OWNER.secret_key])
    assert code == 0
    assert not list((tmp_path / UNSAVED).glob("*"))
    again = {trial for trial, attempt in sweep.epochs() if (trial, attempt) not in trained}
    assert not again & published, "their records were kept"


@pytest.mark.parametrize(
    ("environment", "bucket", "said"),
    [
        (READER.environment, None, "s3:PutObject"),
        (STRANGER.environment, None, "AWS_SECRET_ACCESS_KEY"),
        (OWNER.environment, "no-such-bucket", "there is no bucket 'no-such-bucket'"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_starts(
    tmp_path: Path, s3_server: SeaweedFS, s3_bucket: str, environment: dict[str, str], bucket: str | None, said: str
) -> None:
    name = bucket or s3_bucket
    sweep = Sweep(tmp_path, storage=f"s3://{name}/x", endpoint_url=s3_server.endpoint_url, environment=environment)
    assert sweep.run() == 4
    assert said in sweep.log
    assert name in sweep.log
    assert environment["AWS_SECRET_ACCESS_KEY"] not in sweep.log
    assert " started" not in sweep.log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=130m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
def test_a_full_disk_is_named_and_its_results_are_kept(tmp_path: Path, small_disk: Path) -> None:
    gate = Gate(tmp_path)
    sweep = Sweep(tmp_path, storage=str(small_disk / "runs"), faults=[gate.fault])
    process = sweep.start()
    sweep.wait_until(gate.held, process=process)
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], capture_output=True, check=False)
    gate.open()
    assert process.wait(timeout=400) == 4, sweep.log
    assert "the disk is full" in sweep.log
    filler.unlink()
    code = sweep.run()
    assert code == 0
    check_invariants(sweep, num_trials=4, exit_code=code)
