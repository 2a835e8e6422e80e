"""Model packs: written, loaded, trained, rendered and evaluated, one at a time."""
