"""A trained table network as a C library that fits and predicts on a microcontroller."""
