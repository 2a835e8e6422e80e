"""Portfolios: few configurations that together lead on many data sets, tried first by new sweeps."""
