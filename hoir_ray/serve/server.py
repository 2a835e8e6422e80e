"""The server of the pages: on loopback, or beyond it with a token."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import read_regular, reason
from hoir_ray.machine.loopback import ADDRESS, IDLE_S, is_loopback
from hoir_ray.results.management.storage_root import StorageRoot
from hoir_ray.storage import open_storage

MIN_TOKEN, MAX_TOKEN = 16, 4096  # characters
PORT = 8787


class Show(Protocol):
    """Tells the address of the pages."""

    def __call__(self, address: str, *, needs_token: bool) -> None: ...


def read_token(file: Path) -> str:
    """The token that a file holds, without the space around it.

    Raises:
        RequestError: If it cannot be read, is too short or holds what an address cannot.
    """
    try:
        token = read_regular(file, max_bytes=MAX_TOKEN).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "is not text"
        raise RequestError(f"--token-file {file}: {why}") from None
    if len(token) < MIN_TOKEN or not re.fullmatch(r"[A-Za-z0-9_-]+", token):
        raise RequestError(
            f"--token-file {file}: holds no token of {MIN_TOKEN} or more letters, digits, - and _; "
            f"'openssl rand -hex 24 > {file}' makes one"
        )
    return token


def serve(
    uri: str,
    *,
    endpoint_url: str | None = None,
    host: str = ADDRESS,
    port: int = PORT,
    names: Sequence[str] = (),
    token: str | None = None,
    show: Show = lambda address, *, needs_token: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve the sweeps of a folder or `s3://bucket/prefix` until interrupted or `stop` is set.

    Args:
        host: Address to listen on; beyond loopback only with a token.
        port: 0 takes a free one.
        names: Under which the pages are asked for, beyond those of loopback and `host` itself.
        show: Told the address once the pages can be opened.

    Raises:
        RequestError: If the address is not one of a storage, the port is taken, or a token is missing.
        StorageError: If the root cannot be listed.
    """
    import uvicorn

    from hoir_ray.serve.access import Access
    from hoir_ray.serve.app import build_app

    _check(host, token)
    root = StorageRoot(open_storage(uri, endpoint_url=endpoint_url))
    root.sweeps()  # what cannot be listed is said here, not in a browser
    bound = _listen(host, port)
    known = frozenset(name.lower() for name in (*names, host, _name_of(host)))
    app = Access(build_app(root), hosts=known, token=token)
    config: Any = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=1,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    if stop is not None:
        threading.Thread(target=_stop_with, args=(server, stop), daemon=True).start()
    with bound:
        show(f"http://{_name_of(host)}:{bound.getsockname()[1]}/", needs_token=token is not None)
        server.run(sockets=[bound])


def _check(host: str, token: str | None) -> None:
    if token is None and not is_loopback(host):
        raise RequestError(
            f"--host {host}: others could read these pages; beyond this machine they need a token: "
            "--token-file FILE, whose content 'openssl rand -hex 24' may be"
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise RequestError(
            f"--host {host} --port {port}: cannot be used: {error.strerror or error}; --port 0 takes a free one"
        ) from error


def _name_of(host: str) -> str:
    return socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104


def _stop_with(server: Any, stop: threading.Event) -> None:
    stop.wait()
    server.should_exit = True
