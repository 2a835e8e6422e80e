"""Pictures: loaded, saved, their coordinates and their quality."""
