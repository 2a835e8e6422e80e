"""Networks of high-order layers: what they are made of, how they are built, and how many parameters they have."""
