"""The real parts that tests run against: an S3 server, a proxy that breaks its connections, and a backend for W&B.

Each is a context manager on loopback with ports of its own, usable without pytest; `fixtures` offers them to tests.
"""
