"""An exported library beside the network it came from: on the host, emulated cores and boards."""
