"""Columns of one kind as numbers, each kind in its own way."""
