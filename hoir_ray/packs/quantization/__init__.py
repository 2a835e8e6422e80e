"""A network in as few bytes as its picture allows: its steps searched, its output layer solved again, fine-tuning."""
