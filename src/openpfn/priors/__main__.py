"""`python -m openpfn.priors --num_batches …` draws tasks into a file, as `openpfn priors generate`
does."""

import sys

from openpfn.cli import main

if __name__ == "__main__":
    sys.exit(main(["priors", *(sys.argv[1:] or ["generate"])]))
