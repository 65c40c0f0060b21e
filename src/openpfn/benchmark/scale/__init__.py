"""How training, generation and fitting grow with cores and rows, and what training would cost."""
