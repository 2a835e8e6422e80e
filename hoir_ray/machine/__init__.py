"""The computer at hand: cache folder, compiler, atomic file writes, signals and processes."""
