"""Context rows as a network holds them: read once, kept, taken apart for files."""
