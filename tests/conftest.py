"""Fixtures for every test; the servers start only for tests that ask for them."""

pytest_plugins = ["tests.servers.fixtures", "tests.command"]
