"""Everything that reads bytes from outside, each as a function of bytes.

The tests walk through it with hypothesis for a few seconds, ``python -m tests.fuzz`` with atheris for as long as is wanted.
"""

from __future__ import annotations

from tests.fuzz import between, files, network

HARNESSES = between.HARNESSES | network.HARNESSES | files.HARNESSES
