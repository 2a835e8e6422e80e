from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hoir_ray.pictures import quality
from hoir_ray.pictures.quality import bits_per_pixel, patch_distance, psnr_db, psnr_db_of_mse, ssim


def two_pictures(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(height, width, 3, generator=generator)
    return (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def test_psnr_is_scikit_images() -> None:
    prediction, target = two_pictures(40, 30)
    images = target.double().numpy(), prediction.double().numpy()
    expected = peak_signal_noise_ratio(*images, data_range=1)  # type: ignore[no-untyped-call]
    assert psnr_db(prediction, target) == pytest.approx(expected, abs=1e-5)


def test_a_perfect_picture_has_a_finite_psnr_and_a_broken_one_none() -> None:
    picture = torch.rand(4, 4, 3)
    assert psnr_db(picture, picture) == pytest.approx(120)
    assert math.isnan(psnr_db_of_mse(math.nan))


@pytest.mark.parametrize("path", ["compiled", "torch"])
@pytest.mark.parametrize(("height", "width"), [(11, 11), (12, 40), (266, 13), (267, 20), (600, 15)])
def test_ssim_is_scikit_images_whatever_the_bands(
    height: int, width: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "torch":
        monkeypatch.setattr(quality, "_ssim_library", lambda: None)
    elif quality._ssim_library() is None:
        pytest.skip("no C compiler on this machine")
    prediction, target = two_pictures(height, width)
    expected = structural_similarity(  # type: ignore[no-untyped-call]
        target.double().numpy(),
        prediction.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=-1,
    )
    assert ssim(prediction, target) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 50), (10, 10)])
def test_ssim_of_pictures_smaller_than_its_window(height: int, width: int) -> None:
    prediction, target = two_pictures(height, width)
    assert ssim(target, target) == pytest.approx(1, abs=1e-5)
    assert ssim(prediction, target) < 1


def test_bits_per_pixel_counts_float32_weights() -> None:
    assert bits_per_pixel(1000, num_pixels=4000) == 8
    assert bits_per_pixel(1000, num_pixels=4000, bits_per_parameter=16) == 4


def test_patch_distance_is_of_statistics_and_not_of_places() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(20, 9, 9, 3, generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
    moved = coarse.roll((3, 5), (1, 2))
    shuffled = coarse.flatten(1, 2)[:, torch.randperm(36 * 36, generator=generator)].view(coarse.shape)
    assert patch_distance(coarse, coarse) == pytest.approx(0, abs=0.01)
    assert patch_distance(moved, coarse) < 0.25 * patch_distance(shuffled, coarse)
    assert patch_distance(coarse.mean((1, 2), keepdim=True).expand(coarse.shape), coarse) > 0.05
