"""Files that are written whole or not at all."""

import errno

import pytest

from ffbench_data.atomic import replacing


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: .*numbers\.txt'"), replacing(tmp_path / "numbers.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())
