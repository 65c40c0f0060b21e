"""Pictures: arrays in, matplotlib Axes or Figures out; no other part of the package imports
matplotlib."""
