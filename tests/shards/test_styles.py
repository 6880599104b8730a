"""Drawing styles end to end: what lies on disk, in a grid and in a torch data set is what the styles draw."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet, frame_poses, synth_poses, write_poses
from flexpose.raster import pixels_from_normalized, rasterize
from flexpose.shards import (
    STYLES,
    RenderStyle,
    list_tar,
    open_dataset,
    plan_render,
    verify_dataset,
    write_grid,
    write_shards,
    write_webdataset,
)
from flexpose.shards.dataset import PoseImages
from flexpose.shards.style import Style
from flexpose.skeleton import load_skeleton
from flexpose.styles import draw_keypointgan, draw_openpose, openpose_poses

if TYPE_CHECKING:
    from pathlib import Path

SIZE, N = 40, 23
POSES = synth_poses(N, seed=3)
CHANNELS = {"flexpose": 3, "openpose": 3, "keypointgan": 1, "gray": 1, "per-bone": 14}


def style(name: str, **options: Any) -> RenderStyle:
    return RenderStyle(style=name, size_px=SIZE, **options)  # type: ignore[arg-type]


def expected(name: str, preset: str = "sd15") -> np.ndarray:
    """The pictures by the functions of each style, after the same framing."""
    poses = openpose_poses(POSES) if name == "openpose" else POSES
    normalized = frame_poses(poses).normalize(poses.keypoints).astype(np.float32)
    pixels, seen = pixels_from_normalized(normalized, SIZE), poses.visibility
    if name == "openpose":
        return draw_openpose(pixels, seen, size_px=SIZE, preset=preset)  # type: ignore[arg-type]
    if name == "keypointgan":
        return draw_keypointgan(pixels, seen, poses.skeleton, size_px=SIZE)
    return rasterize(pixels, seen, poses.skeleton, size_px=SIZE, style=name)  # type: ignore[call-overload, no-any-return]


def render(
    out: Path, name: str, kind: Any = "npy", *, poses: Any = POSES, workers: int = 2, **options: Any
) -> Path:
    plan = plan_render(poses, out, style(name, **options), kind=kind, shard_size=10)
    write_shards(plan, workers=workers)
    return out


def stored(folder: Path) -> np.ndarray:
    return np.concatenate([np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))])


def test_names_of_styles() -> None:
    assert set(STYLES) == set(get_args(Style)) == set(CHANNELS)
    assert {name: style(name).channels(POSES.skeleton) for name in STYLES} == CHANNELS


@pytest.mark.parametrize("name", STYLES)
def test_arrays_on_disk_are_what_the_style_draws(name: str, tmp_path: Path) -> None:
    for workers in (1, 3):
        found = stored(render(tmp_path / str(workers), name, workers=workers))
        np.testing.assert_array_equal(found, expected(name))
        assert found.shape == (N, SIZE, SIZE, CHANNELS[name])
    assert verify_dataset(tmp_path / "1", full=True).complete
    assert not np.array_equal(found, np.zeros_like(found))


@pytest.mark.parametrize("name", [name for name in STYLES if name != "per-bone"])
def test_png_files_are_what_the_style_draws(name: str, tmp_path: Path) -> None:
    render(tmp_path / "png", name, "png")
    files = [path.read_bytes() for path in sorted((tmp_path / "png").rglob("*.png"))]
    write_webdataset(POSES, tmp_path / "a.tar", style(name))
    tar = (tmp_path / "a.tar").read_bytes()
    entries = [entry for entry in list_tar(tmp_path / "a.tar") if entry.name.endswith(".png")]
    assert files == [tar[entry.offset : entry.offset + entry.size] for entry in entries]
    for file, picture in zip(files, expected(name), strict=True):
        with Image.open(io.BytesIO(file)) as image:
            assert image.mode == ("L" if CHANNELS[name] == 1 else "RGB")
            np.testing.assert_array_equal(np.asarray(image).reshape(picture.shape), picture)
    assert verify_dataset(tmp_path / "png", full=True).complete


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("kind", ["npy", "keypoints"])
def test_torch_pictures_are_those_on_disk(name: str, kind: str, tmp_path: Path) -> None:
    folder = render(tmp_path / "out", name, kind)
    write_poses(POSES, tmp_path / "poses.npz")
    pictures = torch.from_numpy(expected(name)).permute(0, 3, 1, 2)
    for source, how in ((folder, None), (POSES, style(name)), (tmp_path / "poses.npz", style(name))):
        dataset = PoseImages(source, how)
        assert dataset.style == style(name)
        assert dataset.skeleton.name == ("openpose18" if name == "openpose" else "body13")
        assert torch.equal(torch.stack([item.image for item in dataset.__getitems__([*range(N)])]), pictures)
    exact = pictures.double() / 127.5 - 1
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        items = PoseImages(folder, dtype=dtype).__getitems__([*range(N)])
        found = torch.stack([item.image for item in items])
        assert found.dtype == dtype
        step = torch.finfo(dtype).eps
        torch.testing.assert_close(
            found.double(), exact, rtol=step / 2, atol=1e-7 if step < 1e-3 else step / 2
        )


def test_a_data_set_of_another_style_is_drawn_anew(tmp_path: Path) -> None:
    folder = render(tmp_path / "out", "flexpose", "keypoints")
    for name in STYLES:
        found = torch.stack(
            [item.image for item in PoseImages(folder, style(name)).__getitems__([*range(N)])]
        )
        again = stored(render(tmp_path / name, name, poses=open_dataset(folder)))
        assert torch.equal(found, torch.from_numpy(again).permute(0, 3, 1, 2))
        if name != "openpose":  # whose joints are means of framed joints here, and framed means there
            np.testing.assert_array_equal(again, expected(name))
    drawn = PoseImages(folder, style("openpose"))
    assert drawn[0].keypoints.shape == (18, 2)
    assert (drawn[0].visibility[14:] == 0).all()


def test_preset(tmp_path: Path) -> None:
    thick = stored(render(tmp_path / "thick", "openpose", preset="sdxl-thick"))
    np.testing.assert_array_equal(thick, expected("openpose", "sdxl-thick"))
    assert thick.any(axis=-1).sum() > 2 * expected("openpose").any(axis=-1).sum()
    assert open_dataset(tmp_path / "thick").plan.config["preset"] == "sdxl-thick"
    assert PoseImages(tmp_path / "thick").style.preset == "sdxl-thick"
    assert "preset" not in open_dataset(render(tmp_path / "plain", "gray")).plan.config
    with pytest.raises(UsageError, match="preset sdxl-thick is for the style openpose, got the style gray"):
        style("gray", preset="sdxl-thick")
    with pytest.raises(UsageError, match="preset must be one of sd15, sdxl-thick, got 'sd3'"):
        style("openpose", preset="sd3")


def test_joints_that_a_skeleton_cannot_have_are_not_missing(tmp_path: Path) -> None:
    """body13 has no eyes and ears; only what it has can be missing."""
    seen = POSES.visibility.copy()
    seen[4, 5] = 0
    some = POSES.replace(visibility=seen, keypoints=np.where(seen[..., None], POSES.keypoints, 0))
    folder = render(tmp_path / "out", "openpose", poses=some, missing="drop-pose")
    assert open_dataset(folder).count == N - 1
    with pytest.raises(DataError, match="record 4: visibility: must have all 14 joints labelled, got 13"):
        render(tmp_path / "error", "openpose", poses=some, missing="error")
    assert open_dataset(render(tmp_path / "skip", "openpose", poses=some)).count == N


def test_poses_that_cannot_be_carried_over(tmp_path: Path) -> None:
    hand = load_skeleton("hand21")
    poses = PoseSet(np.random.default_rng(0).uniform(0, 99, (2, 21, 2)), skeleton=hand)
    with pytest.raises(UsageError, match="hand21 cannot be mapped to openpose18: no source for nose"):
        render(tmp_path / "out", "openpose", poses=poses)
    with pytest.raises(UsageError, match="hand21 cannot be mapped to openpose18"):
        PoseImages(poses, style("openpose"))


@pytest.mark.parametrize("kind", ["webdataset", "png"])
def test_bones_as_channels_are_no_png(kind: str, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=f"kind must be npy or keypoints for style per-bone .*, got '{kind}'"
    ):
        render(tmp_path / "out", "per-bone", kind)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="style must not be per-bone for a grid"):
        write_grid(POSES, tmp_path / "grid.png", style("per-bone"))


def test_a_plan_of_other_channels_is_refused(tmp_path: Path) -> None:
    plan = plan_render(POSES, tmp_path / "out", style("gray"), kind="npy")
    fields = json.loads(plan.fields)
    fields["image"]["channels"] = 3
    wrong = dataclasses.replace(plan, out=tmp_path / "wrong", fields=json.dumps(fields))
    wrong.publish()
    with pytest.raises(UsageError, match=r"image must be \[1, 40, 40\] .*, got \[3, 40, 40\]"):
        write_shards(wrong)


@pytest.mark.parametrize("name", [name for name in STYLES if name != "per-bone"])
def test_grid_by_command(name: str, tmp_path: Path) -> None:
    write_poses(POSES, tmp_path / "poses.npz")
    out = tmp_path / "grid.png"
    options = ["--grid", "--columns", "4", "--limit", "4", "--size", str(SIZE), "--style", name]
    result = CliRunner().invoke(app, ["render", str(tmp_path / "poses.npz"), str(out), *options])
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        grid = np.asarray(image)
    for number, picture in enumerate(expected(name)[:4]):
        left = number * (SIZE + 1)
        np.testing.assert_array_equal(grid[:, left : left + SIZE], np.broadcast_to(picture, (SIZE, SIZE, 3)))


def test_command_names_the_format_for_bones(tmp_path: Path) -> None:
    write_poses(POSES, tmp_path / "poses.npz")
    arguments = ["render", str(tmp_path / "poses.npz"), str(tmp_path / "out"), "--style", "per-bone"]
    result = CliRunner().invoke(app, arguments, prog_name="flexpose")
    assert result.exit_code == 2
    assert "kind must be npy or keypoints" in result.stderr
    result = CliRunner().invoke(app, [*arguments, "--format", "npy", "--size", str(SIZE)])
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(stored(tmp_path / "out"), expected("per-bone"))
