"""Layers on a GPU: their sums of links in three Triton kernels, where torch alone starts some sixty."""
