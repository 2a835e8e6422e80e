"""Secrets in addresses: refused where they come in, and shown nowhere."""

from __future__ import annotations

import pytest

from hoir_ray.errors import HoirError, RequestError, StorageError, masked
from hoir_ray.machine.addresses import check_bucket_uri, check_web_address
from hoir_ray.remote.access import choose_address
from hoir_ray.results.sweep_results import locate_sweep
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec, override
from hoir_ray.storage import open_storage
from tests.spec.test_spec import GOOD

SECRETS = ["wJalr/XUtn+FEMI", "hunter2", "FwoGZXIvYXdzEXAMPLE"]
BUCKETS = [
    "s3://AKIA:wJalr/XUtn+FEMI@bucket/prefix",
    "s3://AKIA:hunter2@bucket/prefix",
    "s3://bucket/prefix?X-Amz-Security-Token=FwoGZXIvYXdzEXAMPLE",
    "https://user:hunter2@bucket/prefix",
]
SERVERS = [
    "http://user:hunter2@host:9000",
    "https://AKIA:wJalr/XUtn+FEMI@host",
    "http://host:9000/?token=hunter2",
    "http://host?a=b&secret_key=hunter2",
    "user:hunter2@host:9000",
]


def message_of(call, *arguments, **settings):
    with pytest.raises(HoirError) as caught:
        call(*arguments, **settings)
    return str(caught.value)


def shows_no_secret(text):
    return not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize("uri", BUCKETS)
def test_a_bucket_with_a_secret_is_refused_and_not_shown(uri):
    spec = parse_document(GOOD, name="s.yaml")
    for message in (
        message_of(check_bucket_uri, uri, source="storage.uri"),
        message_of(open_storage, uri),
        message_of(locate_sweep, uri),
        message_of(lambda: build_spec(override(spec, [f"storage.uri={uri}"]))),
        message_of(lambda: build_spec(override(spec, [f"warm_start.from={uri}"]))),
    ):
        assert "s3://bucket/prefix" in message
        assert shows_no_secret(message)


@pytest.mark.parametrize("url", SERVERS)
def test_a_server_with_a_secret_is_refused_and_not_shown(url, monkeypatch):
    spec = parse_document(GOOD, name="s.yaml")
    messages = [
        message_of(check_web_address, url, source="storage.endpoint_url"),
        message_of(open_storage, "s3://bucket/x", endpoint_url=url),
        message_of(choose_address, url),
        message_of(lambda: build_spec(override(spec, [f"storage.endpoint_url={url}"]))),
    ]
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    messages.append(message_of(open_storage, "s3://bucket/x"))
    assert "AWS_ENDPOINT_URL" in messages[-1]
    monkeypatch.setenv("WANDB_BASE_URL", url)
    from hoir_ray.trackers.wandb.access import find_access
    from hoir_ray.trackers.wandb.config import Config

    monkeypatch.setenv("WANDB_MODE", "online")
    messages.append(message_of(find_access, Config()))
    for message in messages:
        assert "must be like https://host:port" in message
        assert shows_no_secret(message)


@pytest.mark.parametrize("url", ["host:9000", "//host", "ftp://host", "http://", "http://:80", "http://host:99999"])
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(RequestError, match="X: must be like"):
        check_web_address(url, source="X")


def test_every_error_of_ours_masks_secrets():
    assert str(StorageError("PUT http://user:hunter2@host/x failed")) == "PUT http://***@host/x failed"
    assert (
        masked("at https://host/x?token=hunter2&a=1 and s3://k:s@b/c")
        == "at https://host/x?token=***&a=1 and s3://***@b/c"
    )
    assert masked("a@b.c, http://host/x: plain") == "a@b.c, http://host/x: plain"
