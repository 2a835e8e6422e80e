"""Trials of several workers: Ray Train's worker group, its messages and its process group."""
