"""How fast each part runs, beside its peers."""
