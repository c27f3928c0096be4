"""``python -m vireid``."""

import sys

from vireid.cli import main

if __name__ == "__main__":
    sys.exit(main())
