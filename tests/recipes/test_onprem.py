"""Hosts reached by ssh: a real sshd on loopback, two hosts of which are two of its addresses."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipes.conftest import PROJECT, Site
from tests.servers.ports import free_ports

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(SSHD is None, reason="no sshd here; scripts/ci-prepare installs openssh-server"),
]
HEAD, WORKER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def ssh(site: Site) -> Iterator[str]:
    """The ssh command that reaches both hosts, each with a folder of its own for its node."""
    folder = site.folder / "ssh"
    folder.mkdir(mode=0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "user.pub").rename(folder / "authorized_keys")
    (port,) = free_ports(1)
    options = f"Port={port} ListenAddress={HEAD} ListenAddress={WORKER} HostKey={folder}/host PidFile=none UsePAM=no"
    options += f" StrictModes=no AuthorizedKeysFile={folder}/authorized_keys AcceptEnv=HOIR_* PasswordAuthentication=no"
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (folder / "config").write_text(
        f"Host *\n Port {port}\n IdentityFile {folder}/user\n IdentitiesOnly yes\n LogLevel ERROR\n"
        " StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
        f"Host {HEAD}\n SetEnv HOIR_RAY_HOME={site.home}/1 HOIR_VENV={site.folder}/venv\n"
        f"Host {WORKER}\n SetEnv HOIR_RAY_HOME={site.home}/2 HOIR_VENV={site.folder}/venv\n"
    )
    assert SSHD is not None
    words = [word for option in options.split() for word in ("-o", option)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", *words], stderr=log)
    try:
        wait_for_port(port, server=server, log=folder / "log")
        yield f"ssh -F {folder}/config"
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for_port(port: int, *, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        with socket.socket() as connection:
            if connection.connect_ex((HEAD, port)) == 0:
                return
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_up_a_sweep_and_down(site: Site, ssh: str) -> None:
    gcs, dashboard, client = free_ports(3)
    hosts = site.folder / "hosts"
    hosts.write_text(
        f"# a comment\n{HEAD} {HEAD} --dashboard-port={dashboard} --ray-client-server-port={client}\n\n"
        f"{WORKER} {WORKER} --num-cpus=1 --num-gpus=0\n"
    )
    environment = {**site.environment, "HOIR_SSH": ssh, "HOIR_PORT": str(gcs), "HOIR_FOLDER": str(PROJECT)}

    def recipe(name: str) -> subprocess.CompletedProcess[str]:
        command = [PROJECT / "cluster" / "onprem" / name, hosts]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    try:
        up = recipe("up")
        assert up.returncode == 0, up.stderr
        tokens = [site.home / number / "token" for number in ("1", "2")]
        assert [token.stat().st_mode & 0o777 for token in tokens] == [0o600, 0o600]
        assert tokens[0].read_text().strip() not in up.stdout + up.stderr
        assert {host.stat().st_mode & 0o777 for host in site.home.iterdir()} == {0o700}
        assert listeners(dashboard) == {"127.0.0.1"}

        again = recipe("up")
        assert again.returncode != 0
        assert "runs in" in again.stderr, "the token of a running node is left alone"

        sweep = f"cd {site.folder} && {PROJECT}/cluster/node run hoir sweep sweep.yaml --address auto"
        ran = subprocess.run([*ssh.split(), HEAD, sweep], capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert site.states() == ["FINISHED", "FINISHED"]
    finally:
        down = recipe("down")
    assert down.returncode == 0, down.stderr
    assert site.left_behind() == []
    assert list(site.home.iterdir()) == []


def listeners(port: int) -> set[str]:
    """Addresses that somebody listens at, from the kernel's own table."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        address, hexadecimal = fields[1].split(":")
        if fields[3] == "0A" and int(hexadecimal, 16) == port:
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found
