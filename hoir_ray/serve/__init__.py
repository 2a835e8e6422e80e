"""Pages over a storage root: all its sweeps, their reports and trials, and pictures drawn on demand; read-only."""

from hoir_ray.serve.server import serve

__all__ = ["serve"]
