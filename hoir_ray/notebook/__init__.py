"""Sweeps and model packs from Python and in notebooks."""
