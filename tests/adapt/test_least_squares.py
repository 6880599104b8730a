"""tau in closed form: the way back to codes, the regression, its rounds, and adaptation by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flexpose.adapt import AdaptConfig, adapt, read_adapter
from flexpose.adapt import least_squares as module
from flexpose.adapt.least_squares import LeastSquares, solve_transfer
from flexpose.config import make_config
from flexpose.errors import ConfigError, UsageError
from flexpose.metrics import KinematicLimits, frechet_distance
from flexpose.models import Generator, PoseEncoder
from flexpose.pretrain import load_beta, load_generator, pretrain, train_beta
from flexpose.runs import Progress
from flexpose.sample import SampleConfig, latents, sample

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = AdaptConfig(mixed=300, plausible=0.0, views="all", dtype="float32")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    train_beta(tiny.source_poses(), tiny.BETA, folder)
    pretrain(tiny.source_poses(), tiny.LESSONS, folder)
    return folder


@pytest.fixture(scope="module")
def generator(taught: Path) -> Generator:
    return load_generator(taught)[0]


# --- the way back


def test_codes_of_poses_decode_to_them(generator: Generator) -> None:
    """Any affine reading of the pose layer can be undone: encode, then what the layer takes is the pose again."""
    z = latents(300, 32, 0)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        inside = generator.mapping(z, stop=1)
    # Poses that are an affine function of what the pose layer takes, as those of a trained generator are.
    take = torch.linalg.svd(generator.mapping.layers[1].weight.double(), full_matrices=False)[2][:26]
    code = (inside.double() @ take.T).numpy()
    matrix, offset = rng.standard_normal((26, 26)) + 5 * np.eye(26), rng.standard_normal(26)
    poses = (code @ matrix + offset).reshape(-1, 13, 2)
    encoder = PoseEncoder.fit(generator, z, poses)
    assert encoder.layer == 1
    np.testing.assert_allclose(encoder.decode(z), poses, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode(poses), generator.map(z), rtol=1e-3, atol=1e-4)


def test_codes_stay_where_the_source_is(generator: Generator) -> None:
    """Readings with noise, some coordinates nearly fixed: the way back does not blow the noise up."""
    z = latents(2000, 32, 0)
    rng = np.random.default_rng(1)
    with torch.no_grad():
        inside = generator.mapping(z, stop=1)
    take = torch.linalg.svd(generator.mapping.layers[1].weight.double(), full_matrices=False)[2][:26]
    code = (inside.double() @ take.T).numpy()
    scale = np.diag(np.geomspace(1, 1e-4, 26)) / code.std(0)
    clean = ((code - code.mean(0)) @ scale).reshape(-1, 13, 2)
    read = clean + rng.normal(0, 0.02, clean.shape)
    encoder = PoseEncoder.fit(generator, z[:1000], read[:1000])
    reached = encoder.reachable(read[1000:])
    assert np.sqrt(np.square(reached - clean[1000:]).mean()) < 0.02
    with torch.no_grad():
        known = generator.map(z[1000:])
        off = (encoder.encode(read[1000:]) - known).square().mean().sqrt()
        plain = np.linalg.solve(encoder.matrix, (read[1000:].reshape(1000, -1) - encoder.offset).T).T
        wild = generator.mapping.finish((torch.from_numpy(plain) @ encoder.take).float(), encoder.layer)
        assert off < 0.3 * (wild - known).square().mean().sqrt()
    # A pose that the source can draw comes back as it is; one far away comes back nearer to the source.
    np.testing.assert_allclose(encoder.reachable(encoder.decode(z[:50])), encoder.decode(z[:50]), atol=0.05)


def test_a_source_too_weak_is_told(tmp_path: Path, taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Listener(Progress):
        def message(self, text: str) -> None:
            told.append(text)

    solve = LeastSquares.fit

    def fit(solver: LeastSquares, *given: Any, report: Any, **options: Any) -> Any:
        return solve(solver, *given, report=lambda _: report(99.0), **options)

    monkeypatch.setattr(LeastSquares, "fit", fit)
    adapt(tiny.target_poses(), CONFIG, tmp_path / "run", source=taught, progress=Listener())
    assert any("draws no nearer to the guide poses" in text for text in told)


@pytest.mark.parametrize("second", [False, True])
def test_progress_of_both_ways(
    tmp_path: Path, taught: Path, monkeypatch: pytest.MonkeyPatch, second: bool
) -> None:
    told: list[Any] = []

    class Listener(Progress):
        def start(self, what: str, total: int) -> None:
            told.append((what, total))

        def advance(self, done: int, **figures: float) -> None:
            told.append(done)

    solve, rounds = LeastSquares.fit, CONFIG.rounds

    def fit(solver: LeastSquares, *given: Any, report: Any, **options: Any) -> Any:
        found = solve(solver, *given, report=lambda _: None, **options)
        for _ in range((rounds + 1) * (2 if second else 1)):
            report(0.1)
        return found

    monkeypatch.setattr(LeastSquares, "fit", fit)
    adapt(tiny.target_poses(), CONFIG, tmp_path / "run", source=taught, progress=Listener())
    first = [("solve", rounds + 3), *range(1, rounds + 4)]
    again = [("solve another way", rounds + 1), *range(1, rounds + 2)]
    assert told == first + (again if second else [])


def test_storage_in_half_precision_does_not_hide_the_layer(generator: Generator) -> None:
    import copy

    stored = copy.deepcopy(generator)
    for parameter in stored.parameters():
        parameter.data = parameter.data.half().float()
    z = latents(200, 32, 0)
    poses = np.random.default_rng(0).standard_normal((200, 13, 2))
    assert PoseEncoder.fit(stored, z, poses).layer == 1


def test_a_generator_without_lessons_is_told(generator: Generator) -> None:
    plain = Generator(generator.config)
    poses = np.random.default_rng(0).standard_normal((200, 13, 2))
    with pytest.raises(UsageError, match=r"no layer of .* has rank 26.*start=\"identity\""):
        PoseEncoder.fit(plain, latents(200, 32, 0), poses)
    with pytest.raises(UsageError, match="poses must be at least 108, got 50"):
        PoseEncoder.fit(generator, latents(50, 32, 0), poses[:50])


# --- the regression


def test_a_linear_change_of_styles_is_found(generator: Generator) -> None:
    """Styles of wanted codes that are a linear map of the given ones: tau is that map, and I elsewhere."""
    rng = torch.Generator().manual_seed(0)
    codes = torch.randn(400, 48, generator=rng)
    transfer = solve_transfer(generator, codes, codes, [2, 3])
    for layer in range(1, 7):
        identity = torch.eye(generator.synthesis.style_dims[layer - 1])
        torch.testing.assert_close(transfer.matrix(layer), identity, rtol=0, atol=1e-4)
    wanted = torch.randn(400, 48, generator=rng)
    transfer = solve_transfer(generator, codes, wanted, [3])
    with torch.no_grad():
        given, asked = generator.styles(codes)[2].double(), generator.styles(wanted)[2].double()
    best = torch.linalg.lstsq(given, asked).solution.T
    torch.testing.assert_close(transfer.matrix(3).double(), best, rtol=0, atol=2e-3)
    assert transfer.layers == (3,)


def draws_what_is_asked(
    solver: LeastSquares, monkeypatch: pytest.MonkeyPatch, drawn: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Let the solution be what is asked for, and the pictures a function of that."""

    class Encoder:
        noise = 0.0

        def encode(self, poses: np.ndarray) -> np.ndarray:
            return poses

        def reachable(self, poses: np.ndarray) -> np.ndarray:
            return poses * np.linspace(0.5, 1, 13)[:, None]

    def solve(_: Any, codes: Any, asked: np.ndarray, layers: Any, *, form: Any) -> np.ndarray:
        assert (len(codes), list(layers), form) == (400, [1, 3], "raw")
        return asked

    solver.encoder = Encoder()  # type: ignore[assignment]
    monkeypatch.setattr(module, "solve_transfer", solve)
    monkeypatch.setattr(LeastSquares, "_read", lambda _, codes, asked: drawn(asked))


def test_rounds_that_ask_for_too_much_go_back(
    generator: Generator, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that draws noise where poses are too wide for it: the rounds come as near as it can."""
    solver = LeastSquares(generator, load_beta(taught)[0], 400, 0, torch.float32)
    rng = np.random.default_rng(0)
    wanted = rng.normal(0.0, 0.3, (400, 13, 2))

    def drawn(asked: np.ndarray) -> np.ndarray:
        return 0.7 * asked if asked.std() < 0.36 else rng.normal(0, 2, asked.shape)

    draws_what_is_asked(solver, monkeypatch, drawn)
    told: list[float] = []
    asked, _ = solver.fit(
        wanted, [1, 3], rounds=5, form="raw", framed=lambda poses: poses, report=told.append
    )
    assert max(told) > 10 * told[0]
    assert frechet_distance(drawn(asked), wanted) == min(told) < 0.7 * told[0]  # type: ignore[arg-type]


def test_rounds_make_up_for_what_a_linear_map_leaves(
    generator: Generator, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A solution that draws what was asked for too small and beside it: the rounds ask for more, step by step."""
    solver = LeastSquares(generator, load_beta(taught)[0], 400, 0, torch.float32)
    wanted = np.random.default_rng(0).normal(0.1, 0.3, (400, 13, 2))

    draws_what_is_asked(solver, monkeypatch, lambda asked: 0.7 * asked + 0.05)
    told: list[float] = []
    options: dict[str, Any] = {"form": "raw", "framed": lambda poses: poses, "report": told.append}
    asked, codes = solver.fit(wanted, [1, 3], rounds=3, **options)
    assert len(told) == 4
    assert len(torch.unique(codes, dim=0)) == 400
    # What is left of the difference: 1 - 0.7 times the step, squared.
    np.testing.assert_allclose(np.array(told[1:]) / told[:-1], [0.16, 0.16, 0.36], rtol=1e-3)
    assert told[0] == pytest.approx(frechet_distance(0.7 * wanted + 0.05, wanted))
    assert frechet_distance(0.7 * asked + 0.05, wanted) < 0.02 * told[0]  # type: ignore[operator]
    assert solver.fit(wanted, [1, 3], rounds=0, **options)[0] is not asked
    np.testing.assert_array_equal(solver.fit(wanted, [1, 3], rounds=0, **options)[0], wanted)


@pytest.mark.parametrize(
    ("widths", "taken"),
    [
        ((0.6, 0.8, 0.9, 0.95), 3),  # nearer each time
        ((0.6, 0.8, 0.95, 0.945), 3),  # as near as samples tell
        ((0.6, 0.95, 0.8, 0.93), 1),  # clearly worse in the end, though not far
        ((0.6, 0.95, 0.2, 0.1), 1),  # too far
    ],
)
def test_the_last_round_counts_unless_it_is_clearly_worse(
    generator: Generator,
    taught: Path,
    monkeypatch: pytest.MonkeyPatch,
    widths: tuple[float, ...],
    taken: int,
) -> None:
    """Whatever is asked for, round i draws the poses as wide as `widths` has it."""
    solver = LeastSquares(generator, load_beta(taught)[0], 400, 0, torch.float32)
    wanted = np.random.default_rng(0).normal(0, 0.3, (400, 13, 2))
    tried: list[Any] = []
    draws_what_is_asked(solver, monkeypatch, lambda asked: asked)

    def read(_: Any, codes: torch.Tensor, asked: np.ndarray) -> np.ndarray:
        tried.append(asked)
        return widths[len(tried) - 1] * wanted

    monkeypatch.setattr(LeastSquares, "_read", read)
    options: dict[str, Any] = {"form": "raw", "framed": lambda poses: poses, "report": lambda _: None}
    transfer, _ = solver.fit(wanted, [1, 3], rounds=len(widths) - 1, **options)
    assert transfer is tried[taken]
    assert len(tried) == 4


@pytest.mark.parametrize(("second", "taken"), [((0.9, 0.98, 0.985, 0.99), 7), ((0.5, 0.4, 0.3, 0.2), 0)])
def test_where_no_round_helps_the_sources_moments_are_mapped(
    generator: Generator,
    taught: Path,
    monkeypatch: pytest.MonkeyPatch,
    second: tuple[float, ...],
    taken: int,
) -> None:
    """The second way asks of all codes what moves their poses' moments, and only for what can be drawn."""
    solver = LeastSquares(generator, load_beta(taught)[0], 400, 0, torch.float32)
    wanted = np.random.default_rng(0).normal(0, 0.3, (400, 13, 2))
    tried: list[np.ndarray] = []
    draws_what_is_asked(solver, monkeypatch, lambda asked: asked)
    widths = (0.8, 0.75, 0.72, 0.7, *second)

    def read(_: Any, codes: torch.Tensor, asked: np.ndarray) -> np.ndarray:
        tried.append(asked)
        return widths[len(tried) - 1] * wanted

    monkeypatch.setattr(LeastSquares, "_read", read)
    told: list[float] = []
    options: dict[str, Any] = {"form": "raw", "framed": lambda poses: poses, "report": told.append}
    transfer, codes = solver.fit(wanted, [1, 3], rounds=3, **options)
    assert len(told) == 8
    assert transfer is tried[taken]
    assert len(codes) == len(wanted)
    reachable = solver.encoder.reachable(wanted)
    assert frechet_distance(tried[4], reachable) < 0.01 * frechet_distance(solver.poses, reachable)


def test_each_round_looks_at_other_samples(
    generator: Generator, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = LeastSquares(generator, load_beta(taught)[0], 400, 0, torch.float32)
    seen: list[torch.Tensor] = []
    draws_what_is_asked(solver, monkeypatch, lambda asked: asked)

    def read(_: Any, codes: torch.Tensor, asked: np.ndarray) -> np.ndarray:
        seen.append(codes)
        return asked

    monkeypatch.setattr(LeastSquares, "_read", read)
    wanted = np.random.default_rng(0).normal(0, 0.3, (400, 13, 2))
    solver.fit(wanted, [1, 3], rounds=2, form="raw", framed=lambda poses: poses, report=lambda _: None)
    assert [len(codes) for codes in seen] == [1000] * 3
    assert len(torch.unique(torch.cat([*seen, solver.codes]), dim=0)) == 3400


def test_more_poses_of_the_source(taught: Path, generator: Generator) -> None:
    solver = LeastSquares(generator, load_beta(taught)[0], 50, 3, torch.float32)
    many = solver.sample_source(200)
    np.testing.assert_allclose(solver.sample_source(20), many[:20], atol=1e-9)
    off = np.abs(many[:, None] - solver.poses[None]).max((2, 3))
    assert off.min() > 1e-6, "not those that codes are matched with"


# --- adaptation by it


def test_adaptation_needs_no_iterations(tmp_path: Path, taught: Path) -> None:
    shots = tiny.target_poses()
    file = adapt(shots, CONFIG, tmp_path / "run", source=taught)
    transfer, header = read_adapter(file)
    assert transfer.layers == (1, 2, 3, 4, 5, 6)
    assert header["facts"]["config"]["start"] == "least-squares"
    (first,) = tiny.stats(tmp_path / "run" / "adapt" / "stats.jsonl")
    assert first["bank"] == 12 + 300
    assert len(first["fd_to_training_poses"]) == 5
    again = adapt(shots, CONFIG, tmp_path / "again", source=taught)
    mine, theirs = load_file(file), load_file(again)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    poses = sample(tmp_path / "run", SampleConfig(n=70, dtype="float32"))
    assert len(poses) == 70


def test_guide_poses_of_one_side_are_not_mirrored(tmp_path: Path, taught: Path) -> None:
    """As those of the tiny target, which lean to one side."""
    told = tiny.Watch()
    config = replace(CONFIG, views="likely")
    adapt(tiny.target_poses(), config, tmp_path / "run", source=taught, progress=told)
    (first,) = tiny.stats(tmp_path / "run" / "adapt" / "stats.jsonl")
    assert first["views"] == ["as given"]
    assert first["bank"] == 6 + 300
    assert any(
        "each other mirrored or from behind: they are taken as given;" in text for text in told.messages
    )
    told = tiny.Watch()
    adapt(
        tiny.target_poses(), replace(config, flips=False), tmp_path / "wanted", source=taught, progress=told
    )
    assert not any("mirrored" in text for text in told.messages)


def test_poses_that_must_not_be_mirrored_are_not_seen_from_behind(tmp_path: Path, taught: Path) -> None:
    def tau(name: str, **changes: Any) -> dict[str, torch.Tensor]:
        file = adapt(tiny.target_poses(), replace(CONFIG, **changes), tmp_path / name, source=taught)
        return read_adapter(file)[0].state_dict()

    one, other = tau("a", flips=False, behind=0.3), tau("b", flips=False, behind=0.0)
    assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = tau("c", flips=True, behind=0.3), tau("d", flips=True, behind=0.0)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_rounds_look_at_poses_within_the_limits_and_these_go_into_the_adapter(
    tmp_path: Path, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    whole = module.frechet_distance

    def watched(drawn: np.ndarray, poses: np.ndarray) -> float:
        seen.append(drawn)
        return whole(drawn, poses)

    monkeypatch.setattr(module, "frechet_distance", watched)
    config = replace(CONFIG, plausible=1.5, behind=0.0)
    file = adapt(tiny.target_poses(), config, tmp_path / "run", source=taught)
    skeleton = tiny.target_poses().skeleton
    limits = KinematicLimits.from_dict(read_adapter(file)[1]["limits"], skeleton)
    (first,) = tiny.stats(tmp_path / "run" / "adapt" / "stats.jsonl")
    assert len(first["plausible"]) == len(seen) == 5
    assert min(first["plausible"]) < 0.98  # or there was nothing to bring in
    for drawn in seen:
        assert not limits.violated(drawn).any()
    assert first["bank"] == 12 + 300


def test_limits_that_few_can_be_brought_into_are_left_out(
    tmp_path: Path, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def clamped(_: KinematicLimits, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(poses))
        return np.asarray(poses), np.arange(len(poses)) < 0.4 * len(poses)

    monkeypatch.setattr(KinematicLimits, "clamped", clamped)
    told = tiny.Watch()
    config = replace(CONFIG, plausible=1.5)
    file = adapt(tiny.target_poses(), config, tmp_path / "run", source=taught, progress=told)
    assert "limits" not in read_adapter(file)[1]
    assert len(calls) == 1
    assert any("less than 50% of what is drawn can be brought within" in text for text in told.messages)


def test_gradient_descent_goes_on_from_the_solution(tmp_path: Path, taught: Path) -> None:
    config = replace(CONFIG, layers=(3,), iterations=2, batch=8)
    solved = read_adapter(
        adapt(tiny.target_poses(), replace(config, iterations=0), tmp_path / "a", source=taught)
    )[0]
    trained = read_adapter(adapt(tiny.target_poses(), config, tmp_path / "b", source=taught))[0]
    assert not torch.equal(solved.matrix(3), trained.matrix(3))
    assert (solved.matrix(3) - trained.matrix(3)).abs().max() < 0.2


def test_plain_mixup_and_no_mixes(tmp_path: Path, taught: Path) -> None:
    for name, change in (("plain", {"variation": 0.0}), ("none", {"mixed": 0})):
        adapt(tiny.target_poses(), replace(CONFIG, **change), tmp_path / name, source=taught)
        (first,) = tiny.stats(tmp_path / name / "adapt" / "stats.jsonl")
        assert first["bank"] == (312 if name == "plain" else 12)


def test_a_source_without_lessons_is_refused(tmp_path: Path, taught: Path) -> None:
    narrow = tiny.train_source(tmp_path / "narrow")
    with pytest.raises(UsageError, match="not trained by lessons"):
        adapt(tiny.target_poses(), CONFIG, tmp_path / "run", source=narrow)
    assert not (tmp_path / "run" / "adapter.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "identity", "variation": 0}, "iterations must be > 0"),
        ({"start": "identity", "iterations": 5}, "variation must be 0"),
        ({"rounds": -1}, "rounds must be >= 0"),
        ({"variation": -0.1}, "variation must be >= 0"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(AdaptConfig, settings)
