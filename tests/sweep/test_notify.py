"""Notifications: real commands, and a real server that hangs, answers 500, redirects or trickles."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import psutil
import pytest

from hoir_ray.errors import SpecError
from hoir_ray.spec.document import dump_document, parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.notify import notify
from hoir_ray.sweep.resume import refuse_other_spec, resolved
from tests.servers.loopback import Fault, Handler, LoopbackServer

TEXT = """\
name: tiny
task: image
data: {image: sample:astronaut, max_side: 8}
metric: {name: val_psnr_db, goal: maximize}
parameters: {network.hidden.width: {min: 4, max: 8}, training.max_epochs: {value: 1}}
budget: {max_trials: 2}
trackers: {}
"""
DATA = b'{"event": "finished"}'


class Listening(LoopbackServer):
    """Keeps the bodies that were posted; what it answers is the fault's mode."""

    def __init__(self) -> None:
        super().__init__()
        self.handler = _Handler
        self.bodies: dict[str, bytes] = {}


class _Handler(Handler):
    def handle_request(self) -> None:
        server: Listening = self.server.owner
        server.bodies[self.path] = self.body()
        fault = server.fault_for(f"{self.command} {self.path}")
        if fault is None:
            self.reply(200, b"ok", kind="text/plain")
        elif fault.mode == "hang":
            server.stopping.wait(fault.seconds)
        elif fault.mode == "trickle":
            while not server.stopping.wait(0.2):
                self.wfile.write(b"H")
        elif fault.mode == "redirect":
            self.send_response_only(302)
            self.send_header("Location", f"{server.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.reply(int(fault.mode), b"", kind="text/plain")


@pytest.fixture
def server():
    with Listening() as listening:
        yield listening


def fault(mode: str) -> Fault:
    return Fault(mode, f"/{mode}", None, 600.0)


def test_a_server_and_commands_get_the_summary(server, tmp_path: Path) -> None:
    copy = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    line = f"{sys.executable} -c \"{copy}\" '{tmp_path / 'a line'}'"
    words = (sys.executable, "-c", copy, str(tmp_path / "$HOME; `words`"))
    assert notify([f"{server.url}/hook", line, words], DATA) == {}
    assert server.bodies == {"/hook": DATA}
    for name in ("a line", "$HOME; `words`"):  # no shell has read it
        assert (tmp_path / name).read_bytes() == DATA


@pytest.mark.parametrize(
    ("mode", "said"),
    [("hang", "no answer"), ("trickle", "no answer"), ("500", "answered 500"), ("302", "answered 302")],
)
def test_a_broken_server_holds_nothing_up(server, mode, said) -> None:
    started = time.monotonic()
    with server.broken(fault(mode)):
        failures = notify([f"{server.url}/{mode}?secret=1", f"{server.url}/well"], DATA, timeout_s=1.0)
    assert time.monotonic() - started < 60  # the server answers never
    assert failures.keys() == {server.url}  # and neither path nor query
    assert said in failures[server.url]
    assert server.bodies["/well"] == DATA


def test_redirects_are_not_followed(server) -> None:
    with server.broken(fault("redirect")):
        failures = notify([f"{server.url}/redirect"], DATA)
    assert "redirects are not followed" in failures[server.url]
    assert server.bodies.keys() == {"/redirect"}


def test_a_proxy_is_not_asked_for_this_machine(server, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert notify([f"{server.url}/hook"], DATA) == {}


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess,sys,os,time; p=subprocess.Popen(['sleep','600']); "
        f"f=open({str(tmp_path / 'pids')!r},'w'); f.write(f'{{os.getpid()}} {{p.pid}}'); f.close(); time.sleep(600)"
    )
    started = time.monotonic()
    assert "was killed" in notify([(sys.executable, "-c", code)], DATA, timeout_s=2.0)[sys.executable]
    assert time.monotonic() - started < 60  # it would sleep for ten minutes
    for pid in (tmp_path / "pids").read_text().split():
        with_it = psutil.Process(int(pid)) if psutil.pid_exists(int(pid)) else None
        assert with_it is None or with_it.status() == psutil.STATUS_ZOMBIE


def test_what_fails_is_said_in_a_line() -> None:
    failing = (sys.executable, "-c", "import sys; sys.exit('no such channel https://me:hunter2@host')")
    found = notify([failing, "no-such-command-here", "$HOIR_NOT_SET"], DATA)
    assert "exit code 1: no such channel" in found[sys.executable]
    assert "hunter2" not in str(found)
    assert found["no-such-command-here"] == "No such file or directory"
    assert "not set" in found["$HOIR_NOT_SET"]


def test_the_environment_holds_an_address(server, monkeypatch) -> None:
    monkeypatch.setenv("HOIR_HOOK", f"{server.url}/secret?token=1")
    assert notify(["$HOIR_HOOK"], DATA) == {}
    assert server.bodies.keys() == {"/secret?token=1"}
    monkeypatch.setenv("HOIR_HOOK", "http://example.org/secret")
    failures = notify(["$HOIR_HOOK"], DATA)
    assert "https" in failures["$HOIR_HOOK"]
    assert "secret" not in str(failures)


@pytest.mark.parametrize(
    "written",
    [
        "http://example.org/hook",
        "ftp://example.org",
        "https://me:pass@example.org/hook",
        "https://example.org/?token=1",
        '"say \\"hello"',
        '""',
        "[[]]",
        '[["", a]]',
        "[1]",
        "[[a, 1]]",
        "{a: b}",
        f"[{', '.join(['a'] * 11)}]",
    ],
)
def test_other_targets_are_refused(written: str) -> None:
    with pytest.raises(SpecError, match="notify") as error:
        build_spec(parse_document(f"{TEXT}notify: {written}\n", name="x.yaml"))
    assert "x.yaml:" in str(error.value)
    assert "pass@" not in str(error.value)
    assert "token=1" not in str(error.value)


def test_targets_are_kept_with_the_sweep_and_may_change() -> None:
    written = "[echo 'a b', [echo, a b], https://example.org/hook/, http://localhost:9/x, 'http://[::1]:9/', $HOOK]"
    spec = build_spec(parse_document(f"{TEXT}notify: {written}\n", name="x.yaml"))
    assert spec.notify[:3] == ("echo 'a b'", ("echo", "a b"), "https://example.org/hook/")
    again = build_spec(parse_document(dump_document(resolved(spec)), name="again"))
    assert again.notify == spec.notify
    bare = build_spec(parse_document(TEXT, name="x.yaml"))
    assert "notify" not in resolved(bare)  # earlier versions read it then
    refuse_other_spec(spec, bare, where="here")
    assert build_spec(parse_document(f"{TEXT}notify: echo a\n", name="x.yaml")).notify == ("echo a",)


@pytest.mark.slow
def test_a_sweep_tells_how_it_ended(hoir, server, tmp_path: Path, caplog) -> None:
    targets = dump_document({"notify": [f"{server.url}/hook", f"{server.url}/500", "$HOIR_NOT_SET"]})
    (tmp_path / "tiny.yaml").write_text(TEXT + targets)
    with server.broken(fault("500")), caplog.at_level(logging.WARNING, "hoir_ray"):
        ended = hoir("sweep", "tiny.yaml")
    assert ended.code == 0, ended.err
    assert [r.getMessage() for r in caplog.records if "notify" in r.getMessage()] == [
        f"notify: {server.url}: the server answered 500",
        "notify: $HOIR_NOT_SET: is not set in the environment of this machine",
    ]
    told = json.loads(server.bodies["/hook"])
    assert (told["event"], told["sweep"], told["num_trials"]) == ("finished", "tiny", 2)
    assert told["trials"] == {"FINISHED": 2}
    assert told["best"]["metrics"]["val_psnr_db"] > 0
    server.bodies.clear()
    assert hoir("sweep", "tiny.yaml").code == 0  # nothing was run, so nothing is told
    assert server.bodies == {}
    reached = hoir("sweep", "tiny.yaml", "--set", "budget.stop_at=val_psnr_db >= 0", "--set", "name=second")
    assert reached.code == 0
    told = json.loads(server.bodies["/hook"])
    assert (told["event"], told["sweep"]) == ("target", "second")
    assert "budget.stop_at" in told["reason"]
    failing = ("--set", "name=third", "--set", "failures.memory_limit=16MiB", "--set", "failures.on_oom=fail")
    assert hoir("sweep", "tiny.yaml", *failing).code == 1
    told = json.loads(server.bodies["/hook"])
    assert (told["event"], told["best"]) == ("failed", None)
