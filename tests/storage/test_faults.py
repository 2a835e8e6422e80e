"""An S3 server that is slow, silent, refusing or cut off: rows 10 to 16 of the fault matrix, at the storage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hoir_ray.errors import HoirError, StorageError
from hoir_ray.storage import BackgroundUploader, MissingObjectError, Storage, check_storage, open_storage
from tests.servers.s3_proxy import Mode, S3Proxy
from tests.servers.seaweedfs import NARROW, OWNER, READER, STRANGER, SeaweedFS, User
from tests.storage.backends import impatient


@pytest.mark.parametrize("mode", ["500", "503", "reset", "truncate_upload", "lose_answer"])
def test_burst_of_faults_is_survived_by_writes(s3_proxy: S3Proxy, faulty_storage: Storage, mode: Mode) -> None:
    with s3_proxy.faulty(mode, match="PUT", times=2) as fault:
        assert faulty_storage.put("k", b"x" * 10_000)
    assert fault.hits == 2
    assert faulty_storage.get("k") == b"x" * 10_000


@pytest.mark.parametrize("mode", ["500", "503", "reset", "truncate_download"])
def test_burst_of_faults_is_survived_by_reads(
    s3_proxy: S3Proxy, faulty_storage: Storage, tmp_path: Path, mode: Mode
) -> None:
    faulty_storage.put("k", b"x" * 3_000_000)
    with s3_proxy.faulty(mode, match="GET", times=2):
        assert faulty_storage.get("k") == b"x" * 3_000_000
    with s3_proxy.faulty(mode, match="GET", times=2):
        faulty_storage.get_file("k", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"x" * 3_000_000
    with s3_proxy.faulty(mode, match="GET", times=1):
        assert [o.key for o in faulty_storage.list()] == ["k"]


def test_slow_answers_are_waited_for(s3_proxy: S3Proxy, faulty_storage: Storage) -> None:
    with s3_proxy.faulty("slow", seconds=0.6):
        faulty_storage.put("k", b"x")
        assert faulty_storage.get("k") == b"x"


@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        ("500", "the server answered InternalError until the attempts were used up"),
        ("503", "asked to slow down"),
        ("403", "access denied; the credentials need s3:PutObject there"),
        ("404", "there is no bucket"),
        ("hang", "the server did not answer in time"),
        ("reset", "the connection broke off"),
    ],
)
def test_faults_without_end_become_one_line(s3_proxy: S3Proxy, s3_folder: str, mode: Mode, cause: str) -> None:
    storage = impatient(s3_proxy, s3_folder)
    with s3_proxy.faulty(mode), pytest.raises(StorageError) as caught:
        storage.put("ledger/t1.json", b"x")
    message = str(caught.value)
    assert cause in message
    assert message.startswith(f"s3://{s3_folder} at {s3_proxy.endpoint_url}: cannot write 'ledger/t1.json': ")
    assert "\n" not in message


def test_download_cut_every_time_leaves_no_file(s3_proxy: S3Proxy, s3_folder: str, tmp_path: Path) -> None:
    storage = impatient(s3_proxy, s3_folder)
    storage.put("k", b"x" * 3_000_000)
    with s3_proxy.faulty("truncate_download", match="GET"):
        with pytest.raises(StorageError, match="the connection broke off"):
            storage.get_file("k", tmp_path / "copy")
        with pytest.raises(StorageError, match="the connection broke off"):
            storage.get("k")
    assert list(tmp_path.iterdir()) == []


def test_upload_in_parts_that_fails_is_aborted(
    s3_server: SeaweedFS, s3_proxy: S3Proxy, s3_bucket: str, tmp_path: Path
) -> None:
    storage = impatient(s3_proxy, s3_bucket)
    source = tmp_path / "source"
    source.write_bytes(b"x" * (17 << 20))
    with (
        s3_proxy.faulty("500", match="PUT .*partNumber=2"),
        pytest.raises(StorageError, match="cannot write 'large': the server answered InternalError"),
    ):
        storage.put_file("large", source)
    assert s3_server.client().list_multipart_uploads(Bucket=s3_bucket).get("Uploads", []) == []
    assert storage.list() == []
    with s3_proxy.faulty("truncate_upload", match="PUT .*partNumber=2", times=1):
        storage.put_file("large", source)
    assert storage.get("large") == source.read_bytes()


def test_write_whose_answer_was_lost_is_known_as_our_own(s3_proxy: S3Proxy, faulty_storage: Storage) -> None:
    with s3_proxy.faulty("lose_answer", match="PUT", times=1):
        assert faulty_storage.put("claim", b"ours", if_absent=True)
    _, etag = faulty_storage.get_version("claim")
    with s3_proxy.faulty("lose_answer", match="PUT", times=1):
        assert faulty_storage.swap("claim", b"renewed", etag=etag) is not None
    assert faulty_storage.get("claim") == b"renewed"


def test_reading_needs_no_right_beyond_the_prefix(s3_proxy: S3Proxy, faulty_storage: Storage) -> None:
    """Without s3:ListBucket on the whole bucket, S3 answers 403 and not 404 for an object that is not there."""
    faulty_storage.put("there", b"x")
    with s3_proxy.faulty("403", match=r"(GET|HEAD) [^?]*$"):
        with pytest.raises(MissingObjectError):
            faulty_storage.get("absent")
        with pytest.raises(StorageError, match="cannot read 'there': access denied; the credentials need s3:GetObject"):
            faulty_storage.get("there")
    assert not [r for r in s3_proxy.log if r.method == "HEAD" or r.path.endswith("list-type=2&prefix=")]


def test_user_of_one_prefix_can_do_everything_there(
    s3_server: SeaweedFS, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    buckets = [b["Name"] for b in s3_server.client().list_buckets()["Buckets"]]
    if "narrow" not in buckets:
        s3_server.client().create_bucket(Bucket="narrow")
    _become(NARROW, monkeypatch)
    storage = open_storage("s3://narrow/allowed/runs", endpoint_url=s3_server.endpoint_url)
    check_storage(storage)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "weights").write_bytes(b"x" * (9 << 20))
    storage.put_folder("models/t1", tmp_path / "pack")
    storage.get_folder("models/t1", tmp_path / "copy")
    storage.delete_all("")
    with pytest.raises(StorageError, match=r"s3://narrow/elsewhere .*need s3:PutObject there"):
        check_storage(open_storage("s3://narrow/elsewhere", endpoint_url=s3_server.endpoint_url))


@pytest.mark.parametrize(
    ("user", "cause"),
    [(READER, "the credentials need s3:PutObject there"), (STRANGER, "the secret key does not fit the access key")],
)
def test_wrong_credentials_fail_the_preflight_without_being_shown(
    s3_server: SeaweedFS, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, user: User, cause: str
) -> None:
    _become(user, monkeypatch)
    with pytest.raises(StorageError) as caught:
        check_storage(open_storage(f"s3://{s3_bucket}/x", endpoint_url=s3_server.endpoint_url))
    shown = "".join(str(e) for e in _chain(caught.value))
    assert cause in str(caught.value)
    assert s3_bucket in str(caught.value)
    assert not [u.secret_key for u in (OWNER, user) if u.secret_key in shown]


def test_no_credentials_at_all(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="no AWS credentials were found; set AWS_ACCESS_KEY_ID"):
        check_storage(open_storage("s3://some-bucket/x", endpoint_url=s3_server.endpoint_url))


def test_server_that_is_not_there(s3_bucket: str) -> None:
    from hoir_ray.storage.s3 import RetryPolicy, S3Backend

    nowhere = S3Backend(s3_bucket, "x", endpoint_url="http://127.0.0.1:9", retry_policy=RetryPolicy(attempts=2))
    with pytest.raises(StorageError, match=r"cannot be reached; check storage.endpoint_url"):
        check_storage(Storage(nowhere))


def test_bucket_missing_at_start_and_deleted_midway(s3_server: SeaweedFS, s3_bucket: str, tmp_path: Path) -> None:
    endpoint = s3_server.endpoint_url
    with pytest.raises(StorageError, match=r"there is no bucket 'hoir-not-there'; make it or mend storage.uri"):
        check_storage(open_storage("s3://hoir-not-there/x", endpoint_url=endpoint))
    storage = open_storage(f"s3://{s3_bucket}", endpoint_url=endpoint)
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "weights").write_bytes(b"x")
    client = s3_server.client()
    client.delete_bucket(Bucket=s3_bucket)
    uploads = BackgroundUploader(storage, attempts=1)
    uploads.put_folder("models/t1", pack, remove=True)
    with pytest.raises(StorageError, match=f"there is no bucket '{s3_bucket}'"):
        uploads.close()
    assert (pack / "weights").exists(), "what could not be uploaded must stay on the disk"
    client.create_bucket(Bucket=s3_bucket)
    with BackgroundUploader(storage, attempts=1) as uploads:
        uploads.put_folder("models/t1", pack, remove=True)
    storage.get_folder("models/t1", tmp_path / "copy")
    assert not pack.exists()


def test_endpoint_may_come_from_the_environment(
    s3_proxy: S3Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_proxy.endpoint_url)
    storage = open_storage(f"s3://{s3_bucket}/x")
    check_storage(storage)
    assert s3_proxy.endpoint_url in storage.describe()
    assert {r.path.split("/")[1].split("?")[0] for r in s3_proxy.log} == {s3_bucket}


@pytest.mark.parametrize("endpoint", ["localhost:9000", "ftp://x", "http://key:planted-canary@x", "http://x/?a=b"])
def test_endpoint_that_is_not_one(endpoint: str) -> None:
    with pytest.raises(HoirError, match=r"storage.endpoint_url: must be like https://host:port") as caught:
        open_storage("s3://bucket/x", endpoint_url=endpoint)
    assert "planted-canary" not in str(caught.value)


def _become(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in user.environment.items():
        monkeypatch.setenv(name, value)


def _chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_chain(error.__cause__ or error.__context__)]
