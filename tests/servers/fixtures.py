"""Pytest fixtures over the servers. A process has one S3 server and one proxy; each test has a bucket of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweedfs import OWNER, SeaweedFS
from tests.servers.wandb_backend import WandbBackend


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS]:
    with SeaweedFS() as server:
        yield server


@pytest.fixture
def s3_proxy(s3_server: SeaweedFS) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def s3_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who this process and its children are for AWS; the endpoint is not set."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in OWNER.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_bucket(s3_server: SeaweedFS, s3_owner: None) -> str:
    """A fresh bucket."""
    bucket = f"hoir-{uuid.uuid4().int % 10**12}"
    s3_server.client().create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture
def s3_folder(s3_server: SeaweedFS, s3_owner: None) -> str:
    """`bucket/prefix` of a fresh prefix in a bucket that tests share, which starts a second faster than a bucket."""
    if "shared" not in [b["Name"] for b in s3_server.client().list_buckets()["Buckets"]]:
        s3_server.client().create_bucket(Bucket="shared")
    return f"shared/{uuid.uuid4().int}"


@pytest.fixture
def wandb_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbBackend]:
    """The backend that the SDK of this process and its children talk to, with their folders in the test's own."""
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    with WandbBackend() as backend:
        for name, value in backend.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            monkeypatch.setenv(name, str(tmp_path / "wandb-folders"))
        yield backend
        import wandb  # here, because it takes most of a second

        wandb.teardown()  # the SDK keeps its settings and its service for the process
