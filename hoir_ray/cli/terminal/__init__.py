"""Printed output of the commands. The only home of rich."""
