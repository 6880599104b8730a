"""MATLAB files: both containers, wrong ones, broken ones, and ones that unpack to more than memory."""

from __future__ import annotations

import contextlib

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from flexpose.errors import DataError, UsageError
from flexpose.poses import read_poses
from flexpose.poses.formats.mat import mat_variables, read_mat


def lsp(n=2):
    joints = np.random.default_rng(0).uniform(1, 90, (3, 14, n))
    joints[2] = 0
    return joints


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.95])
def test_cut_off(tmp_path, packed, share):
    savemat(tmp_path / "whole.mat", {"joints": lsp(40)}, do_compression=packed)
    whole = (tmp_path / "whole.mat").read_bytes()
    (tmp_path / "joints.mat").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"joints\.mat: must be") as error:
        read_poses(tmp_path / "joints.mat")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a MATLAB file", b"PK\x03\x04" + b"\0" * 600, b"\xff" * 4096])
def test_another_file(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match="must be a MATLAB file"):
        read_poses(tmp_path / "a.mat")


@pytest.mark.parametrize("position", range(128, 400, 7))
def test_flipped_bytes_never_crash(tmp_path, position):
    savemat(tmp_path / "a.mat", {"joints": lsp()})
    data = bytearray((tmp_path / "a.mat").read_bytes())
    data[position] ^= 0xFF
    (tmp_path / "a.mat").write_bytes(data)
    with contextlib.suppress(DataError, UsageError):
        assert read_poses(tmp_path / "a.mat").keypoints.shape[1:] == (14, 2)


def test_a_small_file_that_unpacks_to_much_more(tmp_path, monkeypatch):
    monkeypatch.setattr("flexpose.poses.formats.mat5.MAX_BYTES", 1 << 20)
    savemat(tmp_path / "a.mat", {"joints": np.zeros((3, 14, 4000))}, do_compression=True)
    assert (tmp_path / "a.mat").stat().st_size < 10_000
    with pytest.raises(DataError, match="at most 1048576 bytes when unpacked"):
        read_poses(tmp_path / "a.mat")


def test_variables_of_no_data_set(tmp_path):
    savemat(tmp_path / "a.mat", {"weights": np.ones(3)})
    with pytest.raises(UsageError, match=r"one of the variables keypoints_2d, annot2, .* got weights"):
        read_poses(tmp_path / "a.mat")


def test_version_7_3_has_the_same_axes(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["joints"] = lsp().T  # MATLAB's columns come first in HDF5
    with (tmp_path / "a.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    assert mat_variables(tmp_path / "a.mat") == {"joints"}
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", ["joints"])["joints"], lsp())
    assert read_poses(tmp_path / "a.mat").skeleton.name == "lsp14"
