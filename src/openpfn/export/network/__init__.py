"""The network as the C code holds it: mechanisms, weights, and their integers."""
