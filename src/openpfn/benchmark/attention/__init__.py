"""Mechanisms of attention, trained side by side."""
