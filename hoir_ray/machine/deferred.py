"""Modules that Lightning and its libraries import and training does not use: loaded when something is asked of them.

Each costs a process a second. `torch._dynamo` is torch's compiler, which Lightning and torch's optimizers import to ask
whether it is at work; `scipy.signal` is imported by torchmetrics to add a name to it.

Python's own `importlib.util.LazyLoader` would load both at once: an attribute of each is looked at on import. These
attributes are known here, and mean the same as the real ones while the module is not loaded.
"""

from __future__ import annotations

import importlib.machinery
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

DYNAMO, SIGNAL = "torch._dynamo", "scipy.signal"
_loading = threading.RLock()


def defer() -> None:
    """Defer both from now on; one that is loaded already stays as it is."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder({DYNAMO: _dynamo_names, SIGNAL: _signal_names}))


class _Deferred(ModuleType):
    """Becomes the real module, the same object, when an attribute is asked for that it does not know."""

    def __getattr__(self, name: str) -> Any:
        # Inspection of all modules asks for the like of __wrapped__; what an import needs is there from the start.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        _load(self)
        return getattr(self, name)


def _load(module: ModuleType) -> None:
    with _loading:
        if not isinstance(module, _Deferred):  # another thread did it
            return
        spec = module.__spec__
        assert spec is not None
        assert isinstance(spec.loader, _DeferringLoader)
        module.__class__ = ModuleType  # type: ignore[assignment]
        module.__loader__ = spec.loader = spec.loader.real
        spec.loader.exec_module(module)  # which puts its own names in the place of the known ones


class _DeferringLoader(Loader):
    def __init__(self, real: Loader, names: Callable[[], Mapping[str, Any]]) -> None:
        self.real, self._names = real, names

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self._names())


class _LoadedLoader(Loader):
    """Gives back a module that its package has loaded meanwhile."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self._spec


class _Finder(MetaPathFinder):
    def __init__(self, deferred: Mapping[str, Callable[[], Mapping[str, Any]]]) -> None:
        self._deferred = deferred

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self._deferred:
            return self._deferring(name, path)
        package = next((p for p in self._deferred if name.startswith(f"{p}.")), None)
        module = sys.modules.get(package) if package else None
        return _load_package(name, module) if isinstance(module, _Deferred) else None

    def _deferring(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader, self._deferred[name])
        return spec


def _load_package(name: str, package: ModuleType) -> ModuleSpec | None:
    """Load a deferred package for one of its modules, which that often loads too: nothing is to run twice."""
    _load(package)
    module = sys.modules.get(name)
    if module is None:
        return None
    spec = importlib.machinery.ModuleSpec(name, _LoadedLoader(module))
    vars(module)["__spec__"] = spec  # importlib takes the spec of a module that appeared while it looked for it
    return spec


def _dynamo_names() -> Mapping[str, Any]:
    return {"OptimizedModule": OptimizedModule, "disable": disable, "graph_break": graph_break}


def _real(name: str, *, known: object) -> Any:
    """Return the attribute of `torch._dynamo` itself, or None while it is not loaded."""
    found = vars(sys.modules[DYNAMO]).get(name)
    return None if found is known else found


class _IfLoaded(type):
    def __instancecheck__(cls, instance: object) -> bool:
        real = _real("OptimizedModule", known=cls)
        return real is not None and isinstance(instance, real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        real = _real("OptimizedModule", known=cls)
        return real is not None and issubclass(subclass, real)


class OptimizedModule(metaclass=_IfLoaded):
    """Stand-in for the class that torch.compile returns; no module is one before `torch._dynamo` is loaded."""


def disable(fn: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
    """`fn`, which the compiler leaves alone once it is loaded."""
    disabled: list[Callable[..., Any]] = []

    def run(*args: Any, **kwargs: Any) -> Any:
        real = None if disabled else _real("disable", known=disable)
        if real is not None:
            disabled.append(real(fn, *arguments, **options))
        return (disabled[0] if disabled else fn)(*args, **kwargs)

    return run


def graph_break(*arguments: Any, **options: Any) -> None:
    """Do nothing, since nothing is being compiled."""


def _signal_names() -> Mapping[str, Any]:
    def hamming(*arguments: Any, **options: Any) -> Any:
        from scipy.signal.windows import hamming as real

        return real(*arguments, **options)

    return {"hamming": hamming}
