"""Shared fixtures. Real reference data lies beside the checkout, never in it."""

import os
import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background: tests press Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real reference data slices; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("FFBENCH_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("real reference data (../shared/data) is not beside this checkout")
    return folder
