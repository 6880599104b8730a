"""The data sets of the paper and their like: what file to give, where its owner gives it, and reading by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexpose.errors import DataError, UsageError
from flexpose.poses.files import read_poses
from flexpose.poses.formats.layouts import layout_of_folder, read_files
from flexpose.poses.formats.npz_arrays import read_arrays, read_texts
from flexpose.poses.formats.penn_action import in_reach, is_training

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from numpy.typing import NDArray

    from flexpose.poses.poseset import PoseSet

__all__ = ["Dataset", "dataset_file", "list_datasets", "read_dataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A data set, and how to come by it.

    Attributes:
        name: as ``read_dataset`` takes it.
        give: what file or folder to give, in words.
        owner: where its owner gives it.
        licence: its terms in a word.
        paths: where it is looked for below the data folder, the best first; ``{}`` stands for the part.
        splits: for each of its owner's parts, whether a file belongs to it: by its path, and by where that lies
            in the folder. Of data sets that are one file, the rows tell.
    """

    name: str
    give: str
    owner: str
    licence: str
    paths: tuple[str, ...]
    splits: Mapping[str, Callable[[Path, str], bool]] = field(default_factory=dict)


def _where(pattern: str) -> Callable[[Path, str], bool]:
    return lambda _, tail: re.search(pattern, tail) is not None


# The test videos of 300-VW, its three categories one after the other.
_300VW_TEST = (
    "114|124|125|126|150|158|401|402|505|506|507|508|509|510|511|514|515|518|519|520|521|522|524|525|537|538|540|541"
    "|546|547|548|203|208|211|212|213|214|218|224|403|404|405|406|407|408|409|412|550|551|553|410|411|516|517|526|528"
    "|529|530|531|533|557|558|559|562"
)
_HALVES = {"train": _where(""), "test": _where("")}  # by row

_DATASETS = (
    Dataset(
        name="coco",
        give="person_keypoints_train2017.json",
        owner="cocodataset.org",
        licence="CC BY 4.0",
        paths=(
            "coco/annotations/person_keypoints_{}2017.json",
            "annotations/person_keypoints_{}2017.json",
            "person_keypoints_{}2017.json",
            "person_keypoints_{}2017_body13.json",
            "coco_{}2017.npz",
        ),
        splits={"train": _where(""), "val": _where("")},
    ),
    Dataset(
        name="h36m",
        give="MMPose's h36m_train.npz and h36m_test.npz, or the folder `processed` of h36m-fetch (annot.h5)",
        owner="vision.imar.ro/human3.6m",
        licence="registration, research",
        paths=("h36m/annotation_body3d/fps50", "h36m/annotation_body3d/fps10", "h36m", "h36m.npz"),
        splits={
            "train": _where(r"/S[15678]/|/h36m_train\.npz$"),
            "test": _where(r"/S(9|11)/|/h36m_test\.npz$"),
        },
    ),
    Dataset(
        name="s-h36m",
        give="the folder human_images with S1/Landmarks/... and so on",
        owner="ytzhang.net/projects/lmdis-rep",
        licence="as Human3.6M",
        paths=("s-h36m", "simple_human36m", "human_images", "s-h36m.npz"),
        splits={"train": _where(r"/S[156789]/"), "test": _where(r"/S11/")},
    ),
    Dataset(
        name="3dhp",
        give="the folder with S1/Seq1/annot.mat and so on",
        owner="vcai.mpi-inf.mpg.de/3dhp-dataset",
        licence="non-commercial research",
        paths=("3dhp", "mpi_inf_3dhp", "3dhp.npz"),
    ),
    Dataset(
        name="surreal",
        give="the folder with cmu/train/run0/<sequence>/<sequence>_c0001_info.mat and so on",
        owner="di.ens.fr/willow/research/surreal/data",
        licence="registration, research",
        paths=("surreal", "SURREAL/data", "SURREAL", "surreal.npz"),
        splits={part: _where(f"/{part}/") for part in ("train", "val", "test")},
    ),
    Dataset(
        name="300vw",
        give="the folder with 001/annot/000001.pts and so on",
        owner="ibug.doc.ic.ac.uk/resources/300-VW",
        licence="research",
        paths=("300vw", "300VW_Dataset_2015_12_14", "300vw.npz"),
        splits={
            "train": _where(rf"/(?!(?:{_300VW_TEST})/)\d{{3}}/annot/"),
            "test": _where(rf"/(?:{_300VW_TEST})/annot/"),
        },
    ),
    Dataset(
        name="wflw",
        give="the folder WFLW_annotations with list_98pt_rect_attr_train.txt and list_98pt_rect_attr_test.txt",
        owner="wywu.github.io/projects/LAB/WFLW.html",
        licence="research",
        paths=("wflw", "WFLW_annotations", "WFLW/WFLW_annotations", "wflw.npz"),
        splits={part: _where(rf"_{part}\.txt$") for part in ("train", "test")},
    ),
    Dataset(
        name="300w",
        give="the folder with helen, lfpw, afw and ibug (.pts), or ibug300w_afw_helen.npz",
        owner="ibug.doc.ic.ac.uk/resources/300-W",
        licence="research",
        paths=("300w", "ibug300w_afw_helen.npz"),
    ),
    Dataset(
        name="youtube_faces",
        give="youtube_faces68.npz: keypoints [N, 68, 2] and joint_names as face68 has them",
        owner="cs.tau.ac.il/~wolf/ytfaces",
        licence="research",
        paths=("youtube_faces68.npz",),
    ),
    Dataset(
        name="mpii",
        give="mpii_human_pose_v1_u12_1.mat",
        owner="human-pose.mpi-inf.mpg.de",
        licence="Simplified BSD",
        paths=("mpii", "mpii_human_pose_v1_u12_2", "mpii_human_pose_v1_u12_1.mat", "mpii.npz"),
    ),
    Dataset(
        name="lsp",
        give="joints.mat of lsp_dataset",
        owner="sam.johnson.io/research/lsp.html",
        licence="research, cite",
        paths=("lsp/joints.mat", "lsp_dataset/joints.mat", "lsp.npz"),
        splits=_HALVES,
    ),
    Dataset(
        name="lsp_extended",
        give="joints.mat of lspet_dataset",
        owner="sam.johnson.io/research/lspet.html",
        licence="research, cite",
        paths=("lsp_extended/joints.mat", "lspet_dataset/joints.mat", "lsp_extended.npz"),
    ),
    Dataset(
        name="penn_action",
        give="the folder Penn_Action with labels/0001.mat and so on",
        owner="dreamdragon.github.io/PennAction",
        licence="research",
        paths=("penn_action/labels", "Penn_Action/labels", "penn_action.npz"),
        splits={"train": lambda path, _: is_training(path), "test": lambda path, _: not is_training(path)},
    ),
    Dataset(
        name="lab_cmu",
        give="lab_cmu.npz, made of BVH files by: flexpose poses project",
        owner="mocap.cs.cmu.edu",
        licence="free, not to be resold",
        paths=("lab_cmu.npz",),
    ),
    Dataset(
        name="lab_bandai",
        give="lab_bandai.npz, made of BVH files by: flexpose poses project",
        owner="github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset",
        licence="non-commercial",
        paths=("lab_bandai.npz",),
    ),
)


def list_datasets() -> tuple[Dataset, ...]:
    """The data sets that are known by name."""
    return _DATASETS


def dataset_file(name: str, data_root: str | PathLike[str], split: str | None = None) -> Path:
    """Find a data set below a folder.

    Args:
        name: one of ``list_datasets()``.
        data_root: the folder with the user's data sets.
        split: part that is wanted, where parts are files of their own (COCO). None: ``train``.

    Returns:
        The file, or the folder with its files.

    Raises:
        UsageError: there is no such data set or part, or it is not there: the message says what to give, and
            where its owner gives it.
    """
    dataset = next((known for known in _DATASETS if known.name == name), None)
    if dataset is None:
        raise UsageError(f"name must be one of {', '.join(d.name for d in _DATASETS)}, got {name!r}")
    if split is not None and split not in dataset.splits:
        parts = ", ".join(dataset.splits) or "none: it has no parts"
        raise UsageError(f"split of {name} must be one of {parts}, got {split!r}")
    root = Path(data_root)
    places = [place.format(split or "train") for place in dataset.paths]
    for place in places:
        if (root / place).exists():
            return root / place
    raise UsageError(
        f"{name} is not below {root}: give {dataset.give} at {' or '.join(places)}. Its owner gives it at "
        f"{dataset.owner} ({dataset.licence})"
    )


def read_dataset(name: str, data_root: str | PathLike[str], split: str | None = None) -> PoseSet:
    """Read a data set that lies below a folder.

    Args:
        name: one of ``list_datasets()``.
        data_root: the folder with the user's data sets.
        split: one of the owner's parts. None: all (of COCO, whose parts are files of their own, ``train``).

    Returns:
        Its poses, with its own skeleton; of Penn Action those in which no joint was lost.

    Raises:
        UsageError: see ``dataset_file``; the files do not tell what belongs to the part.
        DataError: a file holds what it must not.
    """
    path = dataset_file(name, data_root, split)
    part = None if path.name in {place.format(split) for place in _part_files(name)} else split
    if part is not None and path.is_dir():
        dataset = next(known for known in _DATASETS if known.name == name)
        layout, files = layout_of_folder(path)
        start, belongs = path.absolute().parent, dataset.splits[part]
        chosen = [file for file in files if belongs(file, "/" + file.relative_to(start).as_posix())]
        if not chosen:
            raise UsageError(f"{path}: none of its {len(files)} files belongs to the part {part!r} of {name}")
        return read_files(layout, chosen, path)
    poses = read_poses(path)
    kept = np.zeros(len(poses), bool)
    kept[slice(None) if part is None else _rows(path, len(poses), part)] = True
    if name == "penn_action" and path.suffix == ".npz":
        kept &= _in_reach(path, poses)
    return poses if kept.all() else poses[kept]


def _in_reach(path: Path, poses: PoseSet) -> NDArray[np.bool_]:
    """Which poses of an npz file are in reach of their boxes; all, where it has none."""
    box = read_arrays(path, ("bbox_xyxy",)).get("bbox_xyxy")
    if box is None:
        return np.ones(len(poses), bool)
    if box.shape != (len(poses), 4):
        raise DataError(f"must be [{len(poses)}, 4], got {list(box.shape)}", path=path, field="bbox_xyxy")
    return in_reach(poses.keypoints, poses.visibility, box)


def _part_files(name: str) -> list[str]:
    """Names of files that hold one part, with ``{}`` for the part."""
    return [Path(place).name for d in _DATASETS if d.name == name for place in d.paths if "{}" in place]


def _rows(path: Path, n: int, split: str) -> slice | NDArray[np.bool_]:
    """The rows of a part in a single file: npz says it row by row, LSP has the parts as halves."""
    if path.suffix.lower() != ".npz":
        return slice(0, n // 2) if split == "train" else slice(n // 2, n)
    arrays = read_arrays(path, ("split", "split_names", "split_train"))
    if "split_train" in arrays:
        member = (arrays["split_train"] == 1) == (split == "train")
    elif "split" in arrays and "split_names" in arrays:
        names = read_texts(path, "split_names", arrays["split_names"])
        member = arrays["split"] == (names.index(split) if split in names else -1)
    else:
        raise UsageError(f"{path}: must have split and split_names to tell what belongs to {split!r}")
    if member.shape != (n,):
        raise DataError(f"must be [{n}], got {list(member.shape)}", path=path, field="split")
    return np.asarray(member)
