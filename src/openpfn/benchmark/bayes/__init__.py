"""Sequence networks against exact posteriors."""
