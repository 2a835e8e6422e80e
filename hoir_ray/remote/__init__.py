"""Sweeps on a cluster of somebody else, over Ray's Jobs API."""
