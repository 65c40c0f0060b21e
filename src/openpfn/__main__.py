"""`python -m openpfn` is the command `openpfn`."""

import sys

from openpfn.cli import main

if __name__ == "__main__":
    sys.exit(main())
