"""The sweep YAML: read with its lines, checked against a schema, and turned into a search space."""
