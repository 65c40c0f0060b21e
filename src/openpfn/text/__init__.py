"""Tables with text: cells as sentences, encoders of strings, a cache of vectors, corpora."""
