from __future__ import annotations

import pytest
import torch
from high_order_layers_torch.utils import positions_from_mesh

from hoir_ray.pictures.coordinates import extent_of, pixel_positions


def test_the_first_two_axes_are_x_and_y_from_edge_to_edge() -> None:
    positions = pixel_positions(3, 5).view(3, 5, 2)
    assert torch.equal(positions[0, :, 0], torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    assert torch.equal(positions[:, 0, 1], torch.tensor([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize("num_rotations", [1, 2, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (7, 7), (31, 12), (2, 100)])
def test_every_axis_reaches_both_ends_and_no_further(height: int, width: int, num_rotations: int) -> None:
    positions = pixel_positions(height, width, num_rotations=num_rotations)
    assert positions.shape == (height * width, 2 * num_rotations)
    assert torch.equal(positions.amax(0), torch.ones(2 * num_rotations))
    assert torch.equal(positions.amin(0), -torch.ones(2 * num_rotations))


@pytest.mark.parametrize("num_rotations", [1, 2, 3, 64])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (7, 7), (31, 12), (2, 100)])
def test_strips_are_the_whole_cut_up(height: int, width: int, num_rotations: int) -> None:
    whole = pixel_positions(height, width, num_rotations=num_rotations)
    strips = [
        pixel_positions(height, width, num_rotations=num_rotations, rows=slice(y, y + 3)) for y in range(0, height, 3)
    ]
    assert torch.equal(torch.cat(strips), whole)


def test_no_two_axes_are_the_same() -> None:
    correlation = torch.corrcoef(pixel_positions(20, 30, num_rotations=4).T).abs() - torch.eye(8)
    assert correlation.max() < 0.999


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # upstream's call
def test_rotated_axes_are_upstreams_up_to_order_and_sign() -> None:
    theirs = positions_from_mesh(width=13, height=21, rotations=3, device="cpu", normalize=True)
    ours = pixel_positions(13, 21, num_rotations=3)
    for mesh in theirs[2:]:
        flat = mesh.flatten()
        distance = torch.stack([(ours - s * flat[:, None]).abs().amax(0) for s in (1, -1)]).min()
        assert distance < 1e-5


def test_upstream_sees_one_axis_twice_where_we_see_both() -> None:
    first, second = positions_from_mesh(width=4, height=6, rotations=1, device="cpu", normalize=True)
    assert torch.equal(first, second)


def test_dtype_is_as_asked_for() -> None:
    assert pixel_positions(2, 2, dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize(("height", "width", "num_rotations"), [(1, 5, 1), (5, 1, 1), (5, 5, 0)])
def test_what_has_no_positions_is_refused(height: int, width: int, num_rotations: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        pixel_positions(height, width, num_rotations=num_rotations)


@pytest.mark.parametrize(("height", "width"), [(13, 9), (5, 17), (9, 9)])
def test_a_place_has_the_same_position_at_every_size(height: int, width: int) -> None:
    known = pixel_positions(5, 9, num_rotations=3).view(5, 9, 6)
    drawn = pixel_positions(height, width, num_rotations=3, extent=extent_of(5, 9)).view(height, width, 6)
    for row, column in [(0, 0), (0, -1), (-1, 0), (height // 2, width // 2)]:
        at = known[0 if row == 0 else -1 if row == -1 else 2, 0 if column == 0 else -1 if column == -1 else 4]
        torch.testing.assert_close(drawn[row, column], at)
