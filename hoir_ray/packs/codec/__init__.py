"""A network in as few bytes as its picture allows: steps searched for each tensor, differences, an entropy code."""
