"""The recipes for places that cannot be had here, checked by their own tools as far as those reach."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hoir_ray.cli import main as cli
from tests.recipes.conftest import PROJECT

CLUSTER = PROJECT / "cluster"
SECRET = re.compile(r"(?i)(secret_access_key|api_key|password|auth_token)\s*[:=]\s*[\"']?[A-Za-z0-9+][A-Za-z0-9/+]{7,}")


def locked(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_no_recipe_holds_a_secret() -> None:
    for file in CLUSTER.rglob("*"):
        if file.is_file():
            assert not SECRET.search(file.read_text()), file


def test_scripts_are_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here; scripts/ci-prepare installs it")
    files = [file for folder in (CLUSTER, PROJECT / "scripts") for file in folder.rglob("*") if file.is_file()]
    scripts = [file for file in files if file.read_bytes().startswith(b"#!/usr/bin/env bash")]
    assert {"node", "up", "down", "slurm.sbatch", "setup"} <= {file.name for file in scripts}
    for file in scripts:
        assert file.suffix == ".sbatch" or file.stat().st_mode & stat.S_IXUSR, f"{file} is not executable"
    checked = subprocess.run(["shellcheck", "-x", *scripts], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_aws_is_what_rays_launcher_accepts() -> None:
    # In a process of its own: the launcher brings warnings, and settings, of many clouds.
    program = (
        "import sys, yaml; from ray.autoscaler._private.util import prepare_config, validate_config;"
        "config = yaml.safe_load(open(sys.argv[1])); validate_config(config); validate_config(prepare_config(config))"
    )
    command = [sys.executable, "-c", program, CLUSTER / "aws.yaml"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_aws_costs_nothing_when_idle_and_opens_nothing_but_ssh() -> None:
    config = yaml.safe_load((CLUSTER / "aws.yaml").read_text())
    head = config["available_node_types"].pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    for workers in config["available_node_types"].values():
        assert workers["min_workers"] == 0
        assert workers["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert workers["node_config"]["IamInstanceProfile"] != head["node_config"]["IamInstanceProfile"]
    assert config["idle_timeout_minutes"] <= 10
    assert "security_group" not in config["provider"], "Ray's own opens port 22 alone"
    commands = [command for name, value in config.items() if name.endswith("_commands") for command in value]
    for command in commands:
        assert "dashboard-host" not in command
        subprocess.run(["bash", "-n", "-c", command], check=True)
    assert config["file_mounts"] == {"~/hoir_ray": ".", "~/.hoir-ray/token": "~/.hoir-ray/token"}


def kuberay() -> dict[str, Any]:
    (cluster,) = yaml.safe_load_all((CLUSTER / "kuberay/cluster/cluster.yaml").read_text())
    return cluster


def test_kuberay_keeps_trials_off_the_head_and_secrets_out_of_the_file() -> None:
    spec = kuberay()["spec"]
    assert spec["rayVersion"] == locked("ray")
    assert spec["authOptions"] == {"mode": "token", "secretName": "hoir-token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = spec["workerGroupSpecs"]
    assert [(group["minReplicas"], group["replicas"]) for group in groups] == [(0, 0)] * len(groups)
    for group in [spec["headGroupSpec"], *groups]:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert {"configMapRef": {"name": "hoir-ray-env"}} in container["envFrom"]
        assert "env" not in container, "settings are in cluster/ray.env, secrets in a Secret"
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])


def built(name: str) -> dict[str, dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here, whose kustomize puts the YAML together")
    command = ["kubectl", "kustomize", CLUSTER / "kuberay" / name]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return {thing["kind"]: thing for thing in yaml.safe_load_all(made.stdout)}


def test_kuberay_overlays_are_the_same_cluster() -> None:
    plain, redis, sweep = built("cluster"), built("redis"), built("sweep")
    assert set(plain) == {"ServiceAccount", "NetworkPolicy", "RayCluster"}
    tables = redis["RayCluster"]["spec"].pop("gcsFaultToleranceOptions")
    assert set(tables["redisPassword"]["valueFrom"]) == {"secretKeyRef"}
    assert redis == plain
    assert set(sweep) == {"ServiceAccount", "NetworkPolicy", "RayJob"}
    job = sweep["RayJob"]["spec"]
    (workers,) = job["rayClusterSpec"]["workerGroupSpecs"]
    assert 0 < workers.pop("replicas") <= workers["maxReplicas"], "the sweep counts the workers when it starts"
    plain["RayCluster"]["spec"]["workerGroupSpecs"][0].pop("replicas")
    assert job["rayClusterSpec"] == plain["RayCluster"]["spec"]
    assert job["backoffLimit"] > 0


def test_units_are_what_systemd_accepts(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    units = []
    for file in (CLUSTER / "onprem").glob("*.service"):
        units.append(tmp_path / file.name.replace("@", "@quickstart"))
        # systemd looks whether the program is there: it is, in this checkout.
        units[-1].write_text(file.read_text().replace("/opt/hoir_ray", str(PROJECT)))
    assert len(units) == 3
    checked = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if str(tmp_path) in line or "hoir" in line]
    assert (checked.returncode, complaints) == (0, []), checked.stderr


def test_a_driver_is_restarted_for_what_gets_better_by_it() -> None:
    unit = (CLUSTER / "onprem/hoir-sweep@.service").read_text()
    assert "Restart=on-failure" in unit
    assert "RestartPreventExitStatus=2 3" in unit
    assert f"SuccessExitStatus={cli.INTERRUPTED}" in unit


def dockerfile() -> list[str]:
    """Its instructions, one a line, without comments."""
    text = (CLUSTER / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_set_up_by_the_script_that_everybody_uses(tmp_path: Path) -> None:
    """And from the files that it copies beforehand; as one that is not root."""
    lines = dockerfile()
    assert not any("pip install" in line for line in lines)
    (setup,) = [number for number, line in enumerate(lines) if line.endswith("scripts/setup")]
    assert any(line.startswith("USER 1000") for line in lines[:setup])
    assert not [line for line in lines if line.startswith("ENV") and "PATH" not in line], "settings come from outside"
    for line in [line for line in lines[:setup] if line.startswith("COPY")]:
        *sources, target = line.split()[2:]
        for source in sources:
            kept = tmp_path / target / Path(source).name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / source, kept)
    program = (
        "import setuptools.build_meta as build, sys; print(build.prepare_metadata_for_build_editable(sys.argv[1]))"
    )
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    needed = {"requirements.lock", "pyproject.toml", "scripts/setup"}
    assert all((tmp_path / name).exists() for name in needed)
    sent = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    assert sent[1] == "*"
    assert {f"!{name}" for name in needed} <= set(sent)


def test_the_readme_names_what_is_there() -> None:
    text = (CLUSTER / "README.md").read_text()
    for name in set(re.findall(r"(?<![/\w])cluster/[\w./@-]*\w(?!\S*[*])", text)):
        assert (PROJECT / name).exists() or name == "cluster/local.sh", name
    for file in CLUSTER.rglob("*"):
        if file.is_file() and file.name not in ("README.md", "kustomization.yaml", "Dockerfile.dockerignore"):
            assert file.name in text or file.parent.name in text, f"{file.name} is not in the README"
