"""Uploads beside training: one thread, a bounded queue, and only the newest version of each key."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from hoir_ray.errors import HoirError, StorageError
from hoir_ray.storage.store import Storage


class BackgroundUploader:
    """Writes in the order given, while the caller continues; a queued older version of a key is never uploaded.

    A key that fails stays failed until a later version of it succeeds, and `flush` says so. The files of a failed
    upload are kept, so that they can be uploaded by hand or by the next start.
    """

    def __init__(self, storage: Storage, *, max_queued: int = 16, attempts: int = 3, backoff_s: float = 1.0) -> None:
        self.failures: dict[str, HoirError] = {}
        self._storage = storage
        self._max_queued = max_queued
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._queued: dict[str, tuple[Callable[[], object], Path | None]] = {}
        self._busy: str | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="hoir-uploads", daemon=True)
        self._thread.start()

    def __enter__(self) -> BackgroundUploader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put_file(self, key: str, path: Path, *, remove: bool = False) -> None:
        """Upload a file that must not change until then.

        Args:
            remove: Delete the file once it is uploaded, or once a newer version makes it superfluous.
        """
        self.submit(key, lambda: self._storage.put_file(key, path), remove=path if remove else None)

    def put_folder(self, prefix: str, folder: Path, *, remove: bool = False) -> None:
        """Upload a folder, its manifest last; see `put_file` and `Storage.put_folder`."""
        self.submit(prefix, lambda: self._storage.put_folder(prefix, folder), remove=folder if remove else None)

    def delete_all(self, prefix: str) -> None:
        """Delete a folder of the storage, after everything that was queued before."""
        self.submit(f"delete {prefix}", lambda: self._storage.delete_all(prefix))

    def submit(self, key: str, action: Callable[[], object], *, remove: Path | None = None) -> None:
        """Queue any other action under a key, in place of one that is still queued under it.

        Args:
            remove: A file or folder to delete once the action is done or superfluous.
        """
        with self._changed:
            if self._closing:
                raise StorageError(f"{self._storage.describe()}: '{key}' came after the uploads were closed")
            self._changed.wait_for(lambda: key in self._queued or len(self._queued) < self._max_queued)
            _, older = self._queued.pop(key, (None, None))
            self._queued[key] = (action, remove)
            self._changed.notify_all()
        if older is not None and older != remove:
            _remove(older)

    def flush(self, *, timeout_s: float | None = None) -> None:
        """Wait until everything queued so far is uploaded.

        Raises:
            StorageError: The first failure that no later version has mended, or that time ran out.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._queued and self._busy is None, timeout=timeout_s):
                waiting = ", ".join(self._queued) or "one upload"
                raise StorageError(f"{self._storage.describe()}: not uploaded after {timeout_s} s: {waiting}")
            if self.failures:
                raise next(iter(self.failures.values()))

    @property
    def missing(self) -> set[str]:
        """Keys whose newest version is not in storage, or not yet."""
        with self._changed:
            return {*self.failures, *self._queued, *([self._busy] if self._busy is not None else [])}

    def abandon(self) -> None:
        """Forget what is queued and take nothing more, because somebody else writes there now."""
        with self._changed:
            self._queued.clear()
            self._closing = True
            self._changed.notify_all()

    def close(self, *, timeout_s: float | None = None) -> None:
        """Upload what is queued and end the thread. Raises like `flush`."""
        try:
            self.flush(timeout_s=timeout_s)
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queued or self._closing)
                if not self._queued:
                    return
                key = next(iter(self._queued))
                upload, path = self._queued.pop(key)
                self._busy = key
                self._changed.notify_all()
            failure = self._try(key, upload)
            with self._changed:
                self.failures.pop(key, None)
                if failure is not None:
                    self.failures[key] = failure
                self._busy = None
                self._changed.notify_all()
            if path is not None and failure is None:
                _remove(path)

    def _try(self, key: str, upload: Callable[[], object]) -> HoirError | None:
        for attempt in range(1, self._attempts + 1):
            try:
                upload()
                return None
            except HoirError as error:
                failure = error
            except Exception as error:  # the thread must outlive whatever an upload meets
                failure = StorageError(f"{self._storage.describe()}: '{key}': {type(error).__name__}: {error}")
            if attempt < self._attempts and self._newer_comes(key, within_s=self._backoff_s * 2 ** (attempt - 1)):
                break
        return failure

    def _newer_comes(self, key: str, *, within_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: key in self._queued, timeout=within_s)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
