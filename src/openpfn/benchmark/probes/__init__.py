"""Tables of known structure: what a network has learnt to see, and what it is blind to."""
