"""Types of fields of a sweep YAML that hold their own rules: names, sizes and times, and whom to notify."""
