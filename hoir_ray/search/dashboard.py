"""Optuna's dashboard over a sweep: its ledger written out as a study, shown on this machine alone."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages.journal import JournalFileBackend

from hoir_ray.errors import RequestError
from hoir_ray.machine.loopback import ADDRESS, IDLE_S, is_own_name
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.search.evidence import past_trial
from hoir_ray.spec.space import build_space
from hoir_ray.tasks import load_task


def export_study(sweep: SweepResults, file: Path) -> optuna.Study:
    """Write the sweep's ended trials as a study of Optuna's into a new journal file.

    Names of trials, seeds and reasons become user attributes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        backend = JournalFileBackend(str(file))
        storage = optuna.storages.JournalStorage(backend)
    spec = sweep.spec
    study = optuna.create_study(storage=storage, study_name=spec.name, directions=[m.goal for m in spec.metrics])
    study.set_metric_names([m.name for m in spec.metrics])
    space = build_space(spec, load_task(spec.task).config)
    ended = [r for r in sweep.records if r.ended and not r.is_replicate]
    for record in ended:
        trial = past_trial(record, spec=spec, space=space)
        trial.user_attrs = {"trial": record.trial, "reason": record.reason, "seed": record.seed}
        if record.started_at and record.ended_at:
            trial.datetime_start = datetime.fromisoformat(record.started_at).replace(tzinfo=None)
            trial.datetime_complete = datetime.fromisoformat(record.ended_at).replace(tzinfo=None)
        study.add_trial(trial)
    return study


def serve_dashboard(
    sweep: SweepResults,
    *,
    port: int = 0,
    show: Callable[[str], None] = lambda address: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve the dashboard on loopback until interrupted or `stop` is set; what is changed in it changes no sweep.

    Raises:
        RequestError: If the extra `dashboard` is not installed, or the port is taken.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise RequestError(
            "optuna-dashboard is not installed; 'pip install hoir-ray[dashboard]' brings it, "
            "and 'hoir report' needs nothing more"
        ) from None
    with temporary_folder("dashboard") as folder:
        study = export_study(sweep, folder / "study.log")
        application: Any = wsgi(study._storage)
        try:
            server = make_server(ADDRESS, port, _read_only(application), server_class=_Threaded, handler_class=_Quiet)
        except OSError as error:
            raise RequestError(f"--port {port}: cannot be used: {error.strerror or error}") from error
        thread = threading.Thread(target=server.serve_forever, daemon=True, name="dashboard")
        thread.start()
        try:
            show(f"http://127.0.0.1:{server.server_address[1]}/dashboard/")
            (stop or threading.Event()).wait()
        finally:
            server.shutdown()
            server.server_close()


def _read_only(application: Any) -> Any:
    """The application for those who look, from this machine: its own means to change or delete a study are shut."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        status = None
        if not is_own_name(environ.get("HTTP_HOST", "")):
            status = "421 Misdirected Request"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status = "405 Method Not Allowed"
        if status is None:
            return application(environ, start_response)
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return [b""]

    return answer


class _Threaded(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that an idle one keeps nobody waiting."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = IDLE_S

    def log_message(self, format: str, *args: object) -> None:
        """Requests of one's own browser are nothing to report."""
