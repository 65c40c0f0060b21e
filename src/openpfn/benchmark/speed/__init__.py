"""Speed of each part, beside its peers."""
