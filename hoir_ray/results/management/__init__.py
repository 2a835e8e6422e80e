"""Whole sweeps as things in storage: what belongs to one, how it is removed, and how it is copied."""
