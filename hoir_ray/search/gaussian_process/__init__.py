"""Bayesian optimisation with a Gaussian process over a conditional space, on numpy and scipy alone."""
