"""`python -m cnnfast` is the command `cnnfast`."""

import sys

from .cli import main

sys.exit(main())
