"""Sampling: the same sample whatever its company, files that others read, sources that move."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from flexpose.adapt import read_adapter
from flexpose.adapt.adapter import save_adapter
from flexpose.checkpoint import read_header
from flexpose.errors import DataError, Interrupted, UsageError
from flexpose.metrics import KinematicLimits
from flexpose.models import Generator, Regressor, RegressorConfig
from flexpose.poses import read_poses
from flexpose.pretrain import load_beta, load_generator, pretrain
from flexpose.runs import Progress
from flexpose.sample import SampleConfig, draw_images, latents, load_sampler, read_keypoints, sample
from flexpose.sample.loop import Sampler

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flexpose.poses import PoseSet


def config(**changes: Any) -> SampleConfig:
    return SampleConfig(**({"n": 100, "dtype": "float32"} | changes))


@pytest.fixture(scope="module")
def many(adapted: Path) -> PoseSet:
    return sample(adapted, config(n=200))


def test_poses(many: PoseSet) -> None:
    assert len(many) == 200
    assert many.ids.tolist() == list(range(1, 201))
    assert many.skeleton.name == "body13"
    assert (many.visibility == 2).all()
    assert (many.image_size == 256).all()
    assert np.isfinite(many.keypoints).all()
    assert (many.keypoints > -0.06 * 256).all()
    assert (many.keypoints < 1.06 * 256).all()
    assert len(np.unique(many.keypoints.reshape(200, -1), axis=0)) == 200


def test_poses_are_what_beta_reads_in_what_the_adapted_generator_draws(adapted: Path, source: Path) -> None:
    """Eq. 8 by its parts, tau folded into A."""
    generator, _, _ = load_generator(source)
    beta, *_ = load_beta(source)
    folded = read_adapter(adapted)[0].folded(generator)
    images = draw_images(folded, folded.map(latents(100, 8, seed=4)))
    expected = (read_keypoints(beta, images) + 1) / 2 * 256
    got = sample(adapted, config(seed=4)).keypoints
    # Folding rounds otherwise, which can move single pixels by one level.
    assert np.median(np.abs(got - expected)) < 0.05
    assert np.abs(got - expected).max() < 3


@pytest.mark.parametrize("n", [1, 63, 64, 65])
def test_a_sample_does_not_depend_on_how_many_there_are(adapted: Path, many: PoseSet, n: int) -> None:
    np.testing.assert_array_equal(sample(adapted, config(n=n)).keypoints, many.keypoints[:n])


def test_nor_on_the_chunks_of_the_work(adapted: Path, many: PoseSet, monkeypatch: pytest.MonkeyPatch) -> None:
    from flexpose.sample import loop

    monkeypatch.setattr(loop, "_CHUNK", 64)
    np.testing.assert_array_equal(sample(adapted, config(n=200)).keypoints, many.keypoints)


def test_codes_are_the_same_bit_for_bit_in_a_wide_network() -> None:
    """Rounding to grey levels would hide that a matrix product of another size rounds otherwise."""
    torch.manual_seed(0)
    generator = Generator(size_px=16, z_dim=96, w_dim=80, channel_base=128, channel_max=24).requires_grad_(
        False
    )
    beta = Regressor(RegressorConfig(size_px=16, num_keypoints=13, width=8)).requires_grad_(False)
    sampler = Sampler(generator, beta, None, None, {})  # type: ignore[arg-type]
    seen: list[torch.Tensor] = []
    original = Generator.styles

    def spy(self: Generator, w: torch.Tensor) -> list[torch.Tensor]:
        seen.append(w.clone())
        return original(self, w)

    def codes(n: int, begin: int = 0) -> torch.Tensor:
        seen.clear()
        sampler.draw(n, 0, begin=begin, dtype=torch.float32)
        return torch.cat(seen)[:n]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Generator, "styles", spy)
        whole = codes(200)
        for n in (1, 3, 63, 65):
            assert torch.equal(codes(n), whole[:n])
        assert torch.equal(codes(50, begin=64), whole[64:114])


def test_a_copy_without_its_transfer_draws_the_source(adapted: Path, source: Path) -> None:
    sampler = load_sampler(adapted)
    drawn = sampler.draw(3, 0, dtype=torch.float32)[0]
    plain = replace(sampler, transfer=None).draw(3, 0, dtype=torch.float32)[0]
    np.testing.assert_array_equal(plain, load_sampler(source).draw(3, 0, dtype=torch.float32)[0])
    assert not np.array_equal(plain, drawn)


def test_seeds_differ(adapted: Path, many: PoseSet) -> None:
    other = sample(adapted, config(seed=1))
    assert not np.isclose(other.keypoints, many.keypoints[:100]).all((1, 2)).any()


def test_random_state_of_the_process_does_not_matter(adapted: Path, many: PoseSet) -> None:
    torch.manual_seed(1234)
    before = torch.get_rng_state()
    np.testing.assert_array_equal(sample(adapted, config()).keypoints, many.keypoints[:100])
    assert torch.equal(torch.get_rng_state(), before)


def limited(
    run: Path, adapted: Path, generator_header: dict[str, Any], quantile: float, poses: PoseSet
) -> Path:
    """The same adapter with limits that some of these poses of it do not stay within."""
    transfer, header = read_adapter(adapted)
    normalized = poses.keypoints / 128 - 1
    limits = KinematicLimits.from_reference(normalized, poses.skeleton, tail=quantile, widen=0.01)
    source = (adapted / header["source"]).resolve()
    save_adapter(
        run / "adapter.safetensors",
        transfer,
        source_hash=generator_header["hash"],
        source=source,
        facts={"nearest_shot": 0.5, "note": 1},
        limits=limits,
    )
    return run


def test_samples_beyond_the_adapters_limits_are_brought_in(
    tmp_path: Path, adapted: Path, source: Path, many: PoseSet
) -> None:
    run = limited(tmp_path / "run", adapted, load_generator(source)[2], 0.01, many)
    sampler = load_sampler(run)
    assert sampler.limits is not None
    drawing = sampler.drawing
    normalized = many.keypoints.astype(np.float64) / 128 - 1
    bad = sampler.limits.violated(normalized)
    assert 0.05 < bad.mean() < 0.95
    _, inside = sampler.limits.clamped(normalized)
    count = int(inside.sum())
    assert count > 0.9 * len(many)
    got = sample(run, config(n=count), tmp_path / "out.json").keypoints
    np.testing.assert_array_equal(got[~bad[inside]], many.keypoints[~bad])
    assert not sampler.limits.violated(got).any()
    moved = got[bad[inside]]
    assert np.abs(moved - many.keypoints[bad & inside]).max() > 0
    # What is moved fills a frame as data do.
    again = drawing.reframed(moved.astype(np.float64) / 128 - 1)
    np.testing.assert_allclose(moved, (again + 1) * 128, atol=1e-3)
    info = json.loads((tmp_path / "out.json.info.json").read_text())
    assert info["drawn"] >= info["kept"] == count
    assert info["variety"] == {"nearest_shot": 0.5}
    # As drawn if that is asked for, and at another strength, where the limits are not the target's.
    np.testing.assert_array_equal(sample(run, config(n=200, plausible=False)).keypoints, many.keypoints)
    assert load_sampler(run, strength=0.5).limits is None


@pytest.fixture
def few_within(
    tmp_path: Path, adapted: Path, source: Path, many: PoseSet, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], Path]:
    """An adaptation with limits into which nothing moves, drawn by 128; the share of each chunk that is within."""
    from flexpose.sample import loop

    def run(share: float) -> Path:
        def clamped(_: KinematicLimits, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return np.asarray(poses), np.arange(len(poses)) < share * len(poses)

        monkeypatch.setattr(loop, "_CHUNK", 128)
        monkeypatch.setattr(KinematicLimits, "clamped", clamped)
        return limited(tmp_path / "run", adapted, load_generator(source)[2], 0.01, many)

    return run


def test_samples_that_cannot_be_brought_in_are_drawn_again(
    few_within: Callable[[float], Path], many: PoseSet
) -> None:
    got = sample(few_within(0.5), config(n=100)).keypoints
    np.testing.assert_array_equal(got[:64], many.keypoints[:64])
    np.testing.assert_array_equal(got[64:], many.keypoints[128:164])


def test_limits_that_keep_next_to_nothing_are_told(few_within: Callable[[float], Path]) -> None:
    with pytest.raises(DataError, match=r"only \d of \d+ samples can be brought into the adapter's ranges"):
        sample(few_within(0.001), config(n=10))


def test_strength_goes_from_the_source_to_the_target(adapted: Path, source: Path, many: PoseSet) -> None:
    plain = sample(source, config()).keypoints
    np.testing.assert_array_equal(sample(adapted, config(strength=0.0)).keypoints, plain)
    np.testing.assert_array_equal(sample(adapted, config(strength=1.0)).keypoints, many.keypoints[:100])
    assert np.abs(plain - many.keypoints[:100]).max() > 0.1
    half = sample(adapted, config(strength=0.5)).keypoints
    assert not np.array_equal(half, plain)
    assert (
        np.abs(half - plain).mean() < np.abs(sample(adapted, config(strength=3.0)).keypoints - plain).mean()
    )


def test_truncation(adapted: Path, many: PoseSet) -> None:
    mean = sample(adapted, config(truncation=0.0)).keypoints
    assert (mean == mean[:1]).all()
    spread = sample(adapted, config(truncation=0.5)).keypoints.std(0).mean()
    assert 0 < spread < many.keypoints.std(0).mean()


def test_image_size_scales(adapted: Path, many: PoseSet) -> None:
    large = sample(adapted, config(image_size=512))
    np.testing.assert_array_equal(large.keypoints, many.keypoints[:100] * 2)
    assert (large.image_size == 512).all()


def test_a_strength_beyond_numbers_is_an_error(adapted: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        sample(adapted, config(strength=1e39), tmp_path / "out.json")
    assert not list(tmp_path.iterdir())


# --- rejection


def test_rejection_keeps_the_self_consistent_ones(adapted: Path, tmp_path: Path) -> None:
    infos = {}
    for share in (0.0, 0.5, 0.9):
        poses = sample(adapted, config(n=150, reject=share), tmp_path / f"{share}.npz")
        assert len(poses) == 150
        assert poses.ids.tolist() == list(range(1, 151))
        infos[share] = json.loads((tmp_path / f"{share}.npz.info.json").read_text(encoding="utf-8"))
        assert infos[share]["kept"] == 150
    assert infos[0.0]["drawn"] == 150
    assert infos[0.9]["drawn"] >= 1024
    residuals = [infos[share]["residual_mean"] for share in (0.0, 0.5, 0.9)]
    assert residuals[0] > residuals[1] > residuals[2] > 0


def test_kept_samples_are_those_below_the_threshold_in_their_order(adapted: Path) -> None:
    sampler = load_sampler(adapted)
    poses, images = sampler.draw(1024, 0, dtype=torch.float32)
    again = sampler.drawing.images(poses).astype(np.float64)
    residual = np.abs(images.astype(np.float64) - again).mean((1, 2, 3))
    np.testing.assert_allclose(sampler.residual(poses, images), residual, rtol=1e-12)
    good = poses[residual <= np.quantile(residual, 0.7)]
    got = sample(adapted, config(n=200, reject=0.3)).keypoints
    np.testing.assert_allclose(got, (good[:200].astype(np.float64) + 1) / 2 * 256, rtol=1e-5)


def test_rejection_draws_on_until_there_are_enough(adapted: Path) -> None:
    poses = sample(adapted, config(n=300, reject=0.9))
    assert len(np.unique(poses.keypoints.reshape(300, -1), axis=0)) == 300


# --- files


def test_coco_file(adapted: Path, tmp_path: Path, many: PoseSet, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    out = tmp_path / "new" / "poses.json"
    poses = sample(adapted, config(), out)
    coco = COCO(str(out))
    capsys.readouterr()
    assert len(coco.getAnnIds()) == len(coco.getImgIds()) == 100
    (category,) = coco.loadCats(coco.getCatIds())
    assert category["keypoints"] == list(poses.skeleton.names)
    for i, annotation in enumerate(coco.loadAnns(coco.getAnnIds())):
        triples = np.array(annotation["keypoints"]).reshape(13, 3)
        np.testing.assert_allclose(triples[:, :2], many.keypoints[i], rtol=1e-6)
        assert annotation["num_keypoints"] == 13
        assert (triples[:, 2] == 2).all()
        (image,) = coco.loadImgs([annotation["image_id"]])
        assert (image["width"], image["height"]) == (256, 256)
    back = read_poses(out)
    np.testing.assert_array_equal(back.keypoints, poses.keypoints)


def test_npz_file(adapted: Path, tmp_path: Path, many: PoseSet) -> None:
    out = tmp_path / "poses.npz"
    sample(adapted, config(), out)
    with np.load(out, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["keypoints"], many.keypoints[:100])
        assert file["joint_names"].tolist() == list(many.skeleton.names)
    np.testing.assert_array_equal(read_poses(out).keypoints, many.keypoints[:100])


def test_what_lies_beside_the_poses(adapted: Path, source: Path, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "poses.npz"
    settings = config(seed=7, truncation=0.9)
    sample(adapted, settings, out)
    assert {p.name for p in tmp_path.iterdir()} == {"poses.npz", "poses.npz.grid.png", "poses.npz.info.json"}
    info = json.loads((tmp_path / "poses.npz.info.json").read_text(encoding="utf-8"))
    assert info["config"]["seed"] == 7
    assert SampleConfig(**info["config"]) == settings
    assert info["hashes"] == {
        "generator": read_header(source / "generator.safetensors")["hash"],
        "beta": read_header(source / "beta.safetensors")["hash"],
        "adapter": read_header(adapted / "adapter.safetensors")["hash"],
    }
    assert (info["drawn"], info["kept"]) == (100, 100)
    assert 0 < info["residual_mean"] < 255
    assert info["versions"]["torch"] == torch.__version__.split("+")[0] or info["versions"]["torch"]
    with Image.open(tmp_path / "poses.npz.grid.png") as grid:
        assert grid.size == (9 * 16 + 8, 4 * 16 + 3)


def test_grid_shows_pictures_above_the_poses_read_from_them(adapted: Path, tmp_path: Path) -> None:
    from PIL import Image

    sample(adapted, config(), tmp_path / "poses.npz")
    sampler = load_sampler(adapted)
    poses, images = sampler.draw(18, 0, dtype=torch.float32)
    with Image.open(tmp_path / "poses.npz.grid.png") as file:
        grid = np.asarray(file)
    again = sampler.drawing.images(poses, layout="nhwc")
    for k in range(18):
        top, left = k // 9 * 17, k % 9 * 17
        np.testing.assert_array_equal(grid[top : top + 16, left : left + 16], images[k].transpose(1, 2, 0))
        np.testing.assert_array_equal(grid[34 + top : 50 + top, left : left + 16], again[k])


def test_few_samples_have_a_grid_too(adapted: Path, tmp_path: Path) -> None:
    sample(adapted, config(n=2), tmp_path / "poses.npz")
    assert (tmp_path / "poses.npz.grid.png").stat().st_size > 0


def test_an_ending_that_is_no_pose_file_is_refused_before_the_work(adapted: Path, tmp_path: Path) -> None:
    watch = tiny.Watch()
    with pytest.raises(UsageError):
        sample(adapted, config(), tmp_path / "poses.xyz", progress=watch)
    assert watch.steps == []
    assert not list(tmp_path.iterdir())


def test_interrupted_sampling_writes_nothing(adapted: Path, tmp_path: Path) -> None:
    class Send(Progress):
        def advance(self, done: int, **figures: float) -> None:
            if done == 1024:
                os.kill(os.getpid(), signal.SIGTERM)

    out = tmp_path / "poses.json"
    out.write_text("old", encoding="utf-8")
    with pytest.raises(Interrupted, match="nothing was written"):
        sample(adapted, config(n=2000), out, progress=Send())
    assert out.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["poses.json"]


def test_progress_ends_at_n(adapted: Path) -> None:
    watch = tiny.Watch()
    sample(adapted, config(n=1100), progress=watch)
    assert watch.steps == [1024, 1100]


# --- where things are


def test_from_a_file_or_a_folder(adapted: Path, source: Path, many: PoseSet) -> None:
    np.testing.assert_array_equal(
        sample(adapted / "adapter.safetensors", config()).keypoints, many.keypoints[:100]
    )
    np.testing.assert_array_equal(
        sample(source / "generator.safetensors", config()).keypoints, sample(source, config()).keypoints
    )


def test_an_adapter_of_any_name(adapted: Path, source: Path, tmp_path: Path, many: PoseSet) -> None:
    """What a file is stands in its header."""
    renamed = tmp_path / "dance.safetensors"
    shutil.copy(adapted / "adapter.safetensors", renamed)
    np.testing.assert_array_equal(sample(renamed, config(), source=source).keypoints, many.keypoints[:100])


def test_a_folder_of_runs_can_be_moved(adapted: Path, source: Path, tmp_path: Path, many: PoseSet) -> None:
    shutil.copytree(source.parent, tmp_path / "elsewhere")
    moved = sample(tmp_path / "elsewhere" / adapted.name, config())
    np.testing.assert_array_equal(moved.keypoints, many.keypoints[:100])


def test_a_source_that_is_gone_can_be_named(
    adapted: Path, source: Path, tmp_path: Path, many: PoseSet
) -> None:
    lone = tmp_path / "adapted"
    shutil.copytree(adapted, lone)
    with pytest.raises(UsageError, match=r"is not there; name it by --source"):
        sample(lone, config())
    for place in (source, source / "generator.safetensors"):
        np.testing.assert_array_equal(sample(lone, config(), source=place).keypoints, many.keypoints[:100])


def test_another_source_is_refused(adapted: Path, source: Path, tmp_path: Path) -> None:
    pretrain(tiny.source_poses(), replace(tiny.PRETRAIN, lessons=()), tmp_path)
    shutil.copy(source / "beta.safetensors", tmp_path)
    with pytest.raises(UsageError, match="was trained on the source"):
        sample(adapted, config(), source=tmp_path)


def test_nothing_to_sample_from(tmp_path: Path, source: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"expected one of adapter\.safetensors, generator\.safetensors, sampler\.safetensors",
    ):
        sample(tmp_path, config())
    with pytest.raises(UsageError, match="no such file"):
        sample(tmp_path / "none.safetensors", config())
    with pytest.raises(DataError, match="expected kind"):
        sample(source / "beta.safetensors", config())


def test_beta_can_be_elsewhere(source: Path, tmp_path: Path) -> None:
    shutil.copy(source / "generator.safetensors", tmp_path)
    with pytest.raises(UsageError, match=r"beta\.safetensors: no such file"):
        sample(tmp_path, config())
    np.testing.assert_array_equal(
        sample(tmp_path, config(), beta=source).keypoints, sample(source, config()).keypoints
    )
