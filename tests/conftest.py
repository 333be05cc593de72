"""What every test may rely on."""

from __future__ import annotations

import os
import signal

import torch

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# With a process a core, more threads in each would only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


def pytest_runtest_setup() -> None:
    """Each test has the same random numbers, whichever tests its process has run before."""
    torch.manual_seed(0)
