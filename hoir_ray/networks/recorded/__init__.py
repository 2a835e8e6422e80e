"""Networks written down as lists of operations, which compiled code runs many steps of in one call."""
