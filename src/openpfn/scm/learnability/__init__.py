"""How well the target of a synthetic task can be told from its columns."""
