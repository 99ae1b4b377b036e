"""Processes for tests."""

import os
import warnings


def fork():
    """`os.fork` without Python 3.12's warning about threads: cnnfast is safe to fork, which is what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
