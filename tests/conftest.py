"""What all tests share: threads, signals, a meta file."""

import os
import signal

import pytest

from tests.voxceleb import META

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported; children inherit it
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def interruptible():
    """A suite started in the background ignores interrupts, and its children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def meta_csv(tmp_path):
    """VoxCeleb's meta file, of three people."""
    (tmp_path / "vox1_meta.csv").write_text(META)
    return tmp_path / "vox1_meta.csv"
