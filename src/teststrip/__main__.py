"""`python -m teststrip` is `teststrip`."""

import sys

from teststrip.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
