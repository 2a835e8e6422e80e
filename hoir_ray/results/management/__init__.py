"""Whole sweeps: listed, compared, copied and removed."""
