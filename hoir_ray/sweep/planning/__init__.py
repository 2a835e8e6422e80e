"""The plan of a sweep, made and checked before anything starts."""
