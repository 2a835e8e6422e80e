"""Reaching a cluster's Jobs API: which address, with which token, and whether both sides run the same versions."""

from __future__ import annotations

import http.client
import json
import logging
import os
import platform
import urllib.error
import urllib.request
from typing import Any

from hoir_ray.errors import RequestError
from hoir_ray.machine.addresses import check_web_address
from hoir_ray.remote.client import ANSWER_S, CHUNK, bounded_client, read_bounded
from hoir_ray.remote.jobs import Jobs

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
HOME_TOKEN = "~/.ray/auth_token"  # noqa: S105 - where Ray looks for one


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for this address and no other."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def choose_address(given: str | None) -> str:
    """The Jobs API's address: as given, or from Ray's own variables, or on this machine.

    Raises:
        RequestError: If it is not the address of a web server.
    """
    from_ray = os.environ.get("RAY_ADDRESS", "")
    address = (
        given
        or os.environ.get("RAY_API_SERVER_ADDRESS")
        or (from_ray if from_ray.startswith("http") else None)
        or DEFAULT_ADDRESS
    )
    full = address if "://" in address else f"http://{address}"
    return check_web_address("auto" if address == "auto" else full, source="--address")


def connect(given: str | None) -> Jobs:
    """The jobs of the cluster at an address, once it has let us in.

    Raises:
        RequestError: If nothing answers there, if what answers is not Ray, or if it refuses the token.
    """
    address = choose_address(given)
    _ask(address, "/api/version")  # says more, and sooner, than Ray's client would
    for name in ("ray.dashboard", "ray._private.runtime_env"):
        _quiet(name)
    # The client takes this variable, or RAY_ADDRESS, for more than its own argument.
    before = os.environ.get("RAY_API_SERVER_ADDRESS")
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    try:
        return Jobs(bounded_client(address), address=address)
    except (OSError, RuntimeError, ValueError) as error:
        raise RequestError(f"--address {address}: {str(error).splitlines()[0]}") from None
    finally:
        if before is None:
            del os.environ["RAY_API_SERVER_ADDRESS"]
        else:
            os.environ["RAY_API_SERVER_ADDRESS"] = before


def _quiet(name: str) -> None:
    """Silence a logger of Ray's client; each has its own level."""
    for logger in [name, *logging.root.manager.loggerDict]:
        if logger.startswith(name):
            logging.getLogger(logger).setLevel(logging.WARNING)


def check_versions(jobs: Jobs) -> None:
    """Ray's must be the same on both sides, and Python's but for its last number: what is sent is pickled.

    Raises:
        RequestError: Naming both.
    """
    there = _versions_there(jobs.address)
    here = versions_here()
    if there != here:
        shown = [f"Ray {v['ray']} and Python {v['python']}" for v in (there, here)]
        raise RequestError(
            f"the cluster at {jobs.address} runs {shown[0]}, this machine {shown[1]}; install the same here "
            f"(pip install ray=={there['ray']}, in a Python {there['python']}) or there, or try it with --any-version"
        )


def versions_here() -> dict[str, str]:
    import ray

    return {"ray": ray.__version__, "python": _minor(platform.python_version())}


def _versions_there(address: str) -> dict[str, str]:
    ray = _ask(address, "/api/version").get("ray_version", "unknown")
    python = _ask(address, "/api/v0/cluster_metadata").get("data", {}).get("pythonVersion", "unknown")
    return {"ray": ray, "python": _minor(python)}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _ask(address: str, path: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{address}{path}", headers=_token(address))  # noqa: S310 - http(s), checked
    place = f"--address {address}"
    try:
        with _OPENER.open(request, timeout=ANSWER_S) as answer:
            found = json.loads(read_bounded(iter(lambda: answer.read1(CHUNK), b"")))
            if not isinstance(found, dict):
                raise ValueError("no JSON object")
            return found
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            raise RequestError(f"{place}: {_refusal(error.code)}") from None
        raise RequestError(f"{place}: {_not_ray(f'HTTP {error.code} for {path}')}") from None
    except (ValueError, http.client.HTTPException, ConnectionResetError) as error:
        raise RequestError(f"{place}: {_not_ray(type(error).__name__)}") from None
    except OSError as error:
        why = getattr(error, "reason", None) or error
        raise RequestError(f"{place}: nothing answers there: {getattr(why, 'strerror', None) or why}") from None


def _not_ray(sign: str) -> str:
    return f"something answers there, but not Ray's dashboard ({sign}), which is usually on port 8265"


def _token(address: str) -> dict[str, str]:
    from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    Config.initialize("")  # the environment as it is now, not as it was when ray was first imported
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        return dict(get_auth_headers_if_auth_enabled({}))
    except AuthenticationError:
        raise RequestError(f"--address {address}: RAY_AUTH_MODE is 'token', and {_no_token()}") from None


def _no_token() -> str:
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path:
        return f"RAY_AUTH_TOKEN_PATH names {path}, which is not a file that can be read and holds a token"
    return f"there is no token: set RAY_AUTH_TOKEN_PATH to a file with the cluster's, or put it into {HOME_TOKEN}"


def _refusal(code: int) -> str:
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return (
            "the cluster wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the token "
            "(or RAY_AUTH_TOKEN to the token itself)"
        )
    if os.environ.get("RAY_AUTH_TOKEN"):
        source = "RAY_AUTH_TOKEN"
    else:
        source = os.environ.get("RAY_AUTH_TOKEN_PATH") or HOME_TOKEN
    return f"the cluster refuses the token in {source} (HTTP {code}); it must be the one that its head was started with"
