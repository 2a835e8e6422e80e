"""Ray as a place to run on: a private one or a running cluster, its machines and their health."""
