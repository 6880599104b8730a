"""The layouts in which owners give their data sets, and how a file or folder of one is recognised."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flexpose.errors import UsageError
from flexpose.poses.formats import (
    human36m,
    lsp,
    mpi_inf_3dhp,
    mpii,
    penn_action,
    pts,
    simple_human36m,
    surreal,
    wflw,
)
from flexpose.poses.formats.gathered import Gathered
from flexpose.poses.formats.mat import mat_variables
from flexpose.poses.formats.npz_arrays import member_names
from flexpose.skeleton import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flexpose.poses.bad import BadRecords
    from flexpose.poses.poseset import PoseSet

__all__ = ["Layout", "layout_of_file", "layout_of_folder", "read_files"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How an owner gives poses.

    Attributes:
        name: of the data set.
        skeleton: name of its skeleton.
        add: adds the poses of a file.
        files: pattern of the files' paths in a folder.
        variable: the variable that a MATLAB file of it has; "" if there is none.
    """

    name: str
    skeleton: str
    add: Callable[[Path, Gathered], None]
    files: str
    variable: str = ""


_POINTS = Layout("300-W or 300-VW", "face68", pts.add, r"\.pts$")
_WFLW = Layout("WFLW", "wflw98", wflw.add, r"/list_98pt_rect_attr_(train|test)\.txt$")
_H36M_NPZ = Layout("Human3.6M", "h36m17", human36m.add_npz, r"/h36m_(train|test)\.npz$")
_H36M_H5 = Layout("Human3.6M", "h36m17", human36m.add_h5, r"/annot\.h5$")
_LAYOUTS = (
    _POINTS,
    _WFLW,
    _H36M_NPZ,
    _H36M_H5,
    Layout("S-H3.6M", "h36m17", simple_human36m.add, r"/Landmarks/.*\.mat$", "keypoints_2d"),
    Layout("MPI-INF-3DHP", "mpi_inf_3dhp", mpi_inf_3dhp.add, r"/annot\.mat$", "annot2"),
    Layout("SURREAL", "smpl24", surreal.add, r"_info\.mat$", "joints2D"),
    Layout("MPII", "mpii16", mpii.add, r"/mpii_human_pose_v1_u12_1\.mat$", "RELEASE"),
    Layout("Penn Action", "penn13", penn_action.add, r"/labels/\d+\.mat$", "visibility"),
    Layout("LSP", "lsp14", lsp.add, r"/joints\.mat$", "joints"),
)
_BY_ENDING = {".pts": _POINTS, ".txt": _WFLW, ".h5": _H36M_H5, ".hdf5": _H36M_H5}


def layout_of_file(path: Path) -> Layout | None:
    """Recognise a file by its ending, or by its content where the ending does not tell.

    Args:
        path: a regular file.

    Returns:
        The layout; None for another ending, or a npz of the package's own layout.

    Raises:
        UsageError: the file holds pickles, 3D joints, or variables of no known data set.
        DataError: the file is not what its ending says.
    """
    ending = path.suffix.lower()
    if ending == ".npz":
        return _layout_of_npz(path)
    if ending != ".mat":
        return _BY_ENDING.get(ending)
    variables = mat_variables(path)
    for layout in _LAYOUTS:
        if layout.variable and layout.variable in variables:
            return layout
    known = ", ".join(layout.variable for layout in _LAYOUTS if layout.variable)
    raise UsageError(
        f"{path}: must hold one of the variables {known}, got {', '.join(sorted(variables)) or 'none'}"
    )


def _layout_of_npz(path: Path) -> Layout | None:
    names = member_names(path)
    for name in ("positions_2d", "positions_3d"):
        if name in names:
            raise human36m.refuse_pickled(path, name)
    if "keypoints3d" in names and "keypoints" not in names:
        raise UsageError(f"{path}: 3D joints need a camera first, see: flexpose poses project --help")
    return _H36M_NPZ if "part" in names and "imgname" in names else None


def layout_of_folder(folder: Path) -> tuple[Layout, list[Path]]:
    """Recognise a folder by the files in it and below it; links to folders are not followed.

    Args:
        folder: a folder as its owner gives it, or a part of it.

    Returns:
        The layout, and its files in natural order (9 before 10).

    Raises:
        UsageError: there are no files of a known layout, or files of several.
    """
    found: dict[Layout, list[Path]] = {}
    start = folder.absolute()
    for parent, _, names in os.walk(start):
        for name in names:
            # Names count from the folder itself on, so that `labels` or `Landmarks` may be what is given.
            path = Path(parent) / name
            tail = "/" + path.relative_to(start.parent).as_posix()
            for layout in _LAYOUTS:
                if re.search(layout.files, tail):
                    found.setdefault(layout, []).append(path)
                    break
    if len(found) != 1:
        names = sorted({layout.name for layout in found})
        what = f"files of {', '.join(names)} in several layouts: give one of them" if names else "none"
        raise UsageError(
            "path must be a file, or a folder with the files of one known data set, "
            f"got {str(folder)!r} with {what}"
        )
    layout, paths = next(iter(found.items()))
    return layout, sorted(paths, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def read_files(layout: Layout, paths: Sequence[Path], origin: Path, bad: BadRecords | None = None) -> PoseSet:
    """Read files of one layout, one after the other.

    Args:
        layout: of all of them.
        paths: the files.
        origin: what the user gave: the file or the folder.
        bad: see ``read_poses``.

    Returns:
        All their poses.

    Raises:
        DataError: a file or a record is wrong; ``path`` is that file.
    """
    gathered = Gathered(load_skeleton(layout.skeleton), bad)
    for path in paths:
        layout.add(path, gathered)
    return gathered.poses(origin)
