"""`storage` is every backend in turn, freshly opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.storage import Storage, open_storage
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.backends import impatient


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "runs"))
    server: SeaweedFS = request.getfixturevalue("s3_server")
    folder: str = request.getfixturevalue("s3_folder")
    return open_storage(f"s3://{folder}/deeper", endpoint_url=server.endpoint_url)


@pytest.fixture
def faulty_storage(s3_proxy: S3Proxy, s3_folder: str) -> Storage:
    """S3 through the proxy, with four attempts that a busy machine has time for."""
    return impatient(s3_proxy, s3_folder, attempts=4, timeout_s=10)
