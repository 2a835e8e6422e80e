"""What is kept of a trained network: model packs as folders and as single files, and what is drawn from them."""
