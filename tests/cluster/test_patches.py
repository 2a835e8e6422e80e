"""Changes to Ray's private functions: they end with their block, and a Ray without the function does without."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module

import pytest

from hoir_ray.cluster.patches import (
    few_processes,
    no_callback_statistics,
    patched,
    quiet_raylets,
    separate_process_groups,
)

PATCHES: dict[Callable[[], AbstractContextManager[None]], str] = {
    few_processes: "ray._private.parameter RayParams",
    no_callback_statistics: "ray.air._internal.usage tag_callbacks",
    quiet_raylets: "ray._private.worker print_to_stdstream",
    separate_process_groups: "ray._private.services ConsolePopen",
}


@pytest.mark.parametrize("patch", PATCHES)
def test_a_change_lasts_as_long_as_its_block(patch: Callable[[], AbstractContextManager[None]]) -> None:
    module, name = PATCHES[patch].split()
    original = getattr(import_module(module), name)
    with patch():
        assert getattr(import_module(module), name) is not original
    assert getattr(import_module(module), name) is original


@pytest.mark.parametrize("patch", PATCHES)
def test_a_ray_without_the_function_does_without(
    patch: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = PATCHES[patch].split()
    monkeypatch.delattr(import_module(module), name)
    with patch():
        assert not hasattr(import_module(module), name)


def test_a_ray_without_the_module_does_without() -> None:
    with patched("ray.no_such_module", "anything", lambda original: None):
        pass
