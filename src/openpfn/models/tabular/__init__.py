"""The two-way table network."""
