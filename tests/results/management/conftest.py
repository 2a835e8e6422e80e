"""A storage root in a folder and in a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.storage import Storage, open_storage
from tests.servers.seaweedfs import SeaweedFS


def bucket(request: pytest.FixtureRequest) -> Storage:
    server: SeaweedFS = request.getfixturevalue("s3_server")
    return open_storage(f"s3://{request.getfixturevalue('s3_folder')}", endpoint_url=server.endpoint_url)


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "runs")) if request.param == "local" else bucket(request)
