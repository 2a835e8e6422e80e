"""Model packs, as folders and as single files: written, loaded, trained, rendered and evaluated, one at a time."""
