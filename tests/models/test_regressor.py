"""beta: the soft-argmax on heat maps made by hand, sizes, gradients."""

from __future__ import annotations

import pytest
import torch

from flexpose.config import make_config
from flexpose.errors import ConfigError, UsageError
from flexpose.models import Regressor, RegressorConfig

CELLS = 8  # of a picture of 32 px
LIMIT = 1.1


def make(**changes: int) -> Regressor:
    torch.manual_seed(0)
    return Regressor(RegressorConfig(**({"size_px": 32, "num_keypoints": 5, "width": 8} | changes)))


@pytest.fixture(scope="module")
def beta() -> Regressor:
    return make().requires_grad_(False)


def place(cell: float) -> float:
    """The frame coordinate of a cell: the cells are spread evenly from -1.1 to 1.1."""
    return -LIMIT + 2 * LIMIT * cell / (CELLS - 1)


def test_a_hot_cell_is_read_at_its_place_x_before_y(beta: Regressor) -> None:
    maps = torch.zeros(CELLS * CELLS, 1, CELLS, CELLS)
    for i in range(CELLS * CELLS):
        maps[i, 0, i // CELLS, i % CELLS] = 1000.0
    read = beta.read(maps)
    expected = torch.tensor([[place(i % CELLS), place(i // CELLS)] for i in range(CELLS * CELLS)])
    torch.testing.assert_close(read.normalized[:, 0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(read.peak, torch.ones(CELLS * CELLS, 1))


def test_keypoints_have_maps_of_their_own(beta: Regressor) -> None:
    maps = torch.zeros(2, 5, CELLS, CELLS)
    for n in range(2):
        for k in range(5):
            maps[n, k, k + n, 7 - k] = 1000.0
    expected = torch.tensor([[[place(7 - k), place(k + n)] for k in range(5)] for n in range(2)])
    torch.testing.assert_close(beta.read(maps).normalized, expected, rtol=1e-5, atol=1e-5)


def test_two_equal_cells_are_read_in_their_middle(beta: Regressor) -> None:
    maps = torch.zeros(1, 1, CELLS, CELLS)
    maps[0, 0, 2, [1, 6]] = 1000.0
    x, y = beta.read(maps).normalized[0, 0].tolist()
    assert (x, y) == pytest.approx((place(3.5), place(2)), abs=1e-5)
    assert beta.read(maps).peak.item() == pytest.approx(0.5)


def test_a_flat_map_says_the_middle_and_that_it_knows_nothing(beta: Regressor) -> None:
    read = beta.read(torch.full((1, 1, CELLS, CELLS), 3.0))
    torch.testing.assert_close(read.normalized, torch.zeros(1, 1, 2), atol=1e-6, rtol=0)
    assert read.peak.item() == pytest.approx(1 / CELLS)


def test_expectation_by_hand() -> None:
    """Softmax over the mean along the other axis, times the number of cells and the temperature."""
    beta = make().double()
    beta.log_temperature.data.fill_(0.7)
    maps = torch.randn(3, 5, CELLS, CELLS, dtype=torch.float64)
    read = beta.read(maps)
    grid = torch.tensor([place(i) for i in range(CELLS)], dtype=torch.float64)
    for n in range(3):
        for k in range(5):
            for axis, mean in enumerate((maps[n, k].mean(0), maps[n, k].mean(1))):
                weights = torch.exp(mean * CELLS * 2.718281828459045**0.7)
                expected = (weights / weights.sum()) @ grid
                torch.testing.assert_close(read.normalized[n, k, axis], expected, rtol=1e-6, atol=1e-7)


def test_the_edge_of_the_picture_can_be_reached(beta: Regressor) -> None:
    maps = torch.zeros(1, 1, CELLS, CELLS)
    maps[0, 0, :, -1] = 30.0
    assert beta.read(maps).normalized[0, 0, 0] > 1


def test_forward_is_its_parts(beta: Regressor) -> None:
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    features = beta.features(images)
    assert [tuple(level.shape) for level in features] == [(3, 8, 16, 16), (3, 16, 8, 8), (3, 32, 4, 4)]
    maps = beta.heatmaps(features)
    assert maps.shape == (3, 5, CELLS, CELLS)
    assert maps.dtype == torch.float32
    read = beta(images)
    assert torch.equal(read.normalized, beta.read(maps).normalized)
    assert read.normalized.shape == (3, 5, 2)
    assert read.peak.shape == (3, 5)


def test_pictures_do_not_meet(beta: Regressor) -> None:
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    whole = beta(images).normalized
    for i in range(4):
        torch.testing.assert_close(beta(images[i : i + 1]).normalized, whole[i : i + 1], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_close(beta: Regressor) -> None:
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    exact, low = beta(images), beta(images, dtype=torch.bfloat16)
    assert low.normalized.dtype == torch.float32
    assert 0 < (low.normalized - exact.normalized).abs().max() < 0.1


def test_every_parameter_is_trained() -> None:
    beta = make()
    beta(torch.rand(2, 3, 32, 32) * 2 - 1).normalized[..., 0].sum().backward()
    for name, parameter in beta.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # Softmax does not see what is added to a whole map.
        assert (parameter.grad.abs().max() > 1e-12) or name == "maps.bias", name


def test_gradient_points_to_the_place() -> None:
    """Raising a cell to the right of the mean moves x to the right and leaves y alone."""
    beta = make()
    maps = torch.zeros(1, 1, CELLS, CELLS, requires_grad=True)
    beta.read(maps).normalized[0, 0, 0].backward()
    assert maps.grad is not None
    assert (maps.grad[0, 0, :, CELLS // 2 :] > 0).all()
    assert (maps.grad[0, 0, :, : CELLS // 2] < 0).all()
    assert (maps.grad[0, 0].std(0) < 1e-9).all(), "the same in each row"


def test_the_grid_is_no_part_of_a_checkpoint(beta: Regressor) -> None:
    assert "grid" not in beta.state_dict()


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (2, 3, 16, 16), (2, 3, 32, 16)])
def test_wrong_picture(beta: Regressor, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"image must be \[N, 3, 32, 32\], got \[") as caught:
        beta(torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"size_px": 36}, {"size_px": 8}, {"num_keypoints": 0}, {"width": 0}, {"width": 9}]
)
def test_wrong_sizes(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_config(RegressorConfig, wrong)
