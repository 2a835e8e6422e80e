"""Parts of a picture, written as text and drawn."""

from __future__ import annotations

import pytest
import torch

from hoir_ray.pictures.coordinates import pixel_positions
from hoir_ray.pictures.region import parse_region, size_of_region


@pytest.mark.parametrize(
    "text", ["", "a", "0,0,1", "0,0,1,1,1", "0.5,0,0.5,1", "0.5,0,0.4,1", "0,0,1.1,1", "nan,0,1,1"]
)
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"left,top,right,bottom|left must be less than right"):
        parse_region(text)


@pytest.mark.parametrize("num_rotations", [1, 3])
def test_quarters_lie_where_the_whole_has_them(num_rotations: int) -> None:
    height, width = 9, 13
    whole = pixel_positions(2 * height - 1, 2 * width - 1, num_rotations=num_rotations)
    whole = whole.view(2 * height - 1, 2 * width - 1, -1)
    extent = (1.0, (2 * height - 2) / (2 * width - 2))
    for text, part in {
        "-1,-1,0,0": whole[:height, :width],
        "0,-1,1,0": whole[:height, width - 1 :],
        "-1,0,0,1": whole[height - 1 :, :width],
        "-1,-1,1,1": whole,
    }.items():
        found = pixel_positions(
            *part.shape[:2], num_rotations=num_rotations, extent=extent, region=parse_region(text)
        ).view(part.shape)
        torch.testing.assert_close(found, part, rtol=0, atol=1e-6)


def test_a_part_is_as_long_as_its_picture() -> None:
    assert size_of_region((-1, -1, 0, 0), height=60, width=100) == (60, 100)
    assert size_of_region((0, -1, 0.1, 1), height=60, width=100) == (100, 8)
