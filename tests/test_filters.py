import numpy as np
import pytest

from cnnfast import filters


def test_all_filters_are_what_they_are_called(rng):
    image = rng.random((9, 7), np.float32)
    ndimage = pytest.importorskip("scipy.ndimage")
    for name, kernel in {**filters.CLASSIC, "box": filters.box(3), "gaussian": filters.gaussian(0.8)}.items():
        expected = ndimage.correlate(image.astype(float), kernel.astype(float), mode="constant")
        np.testing.assert_allclose(filters.apply(image, kernel), expected, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(filters.apply(image, filters.IDENTITY), image)


def test_edges():
    ramp = np.tile(np.arange(8, dtype=np.float32), (6, 1))
    assert (filters.apply(ramp, filters.SOBEL_X)[1:-1, 1:-1] == 8).all()
    assert (filters.apply(ramp, filters.SOBEL_Y)[1:-1, 1:-1] == 0).all()
    assert (filters.apply(ramp.T, filters.SOBEL_Y)[1:-1, 1:-1] == 8).all()
    assert (filters.apply(ramp, filters.LAPLACIAN)[1:-1, 1:-1] == 0).all()


def test_each_channel_by_itself(rng):
    image = rng.random((5, 6, 3))
    result = filters.apply(image, filters.SHARPEN)
    assert result.shape == image.shape and result.dtype == np.float64
    for channel in range(3):
        np.testing.assert_array_equal(result[..., channel], filters.apply(image[..., channel], filters.SHARPEN))
    assert filters.apply((255 * image).astype(np.uint8), filters.SHARPEN).dtype == np.float32


def test_blurs_sum_to_one():
    for kernel in (filters.box(5), filters.gaussian(1.5), filters.gaussian(2, size=5)):
        assert kernel.sum() == pytest.approx(1, abs=1e-6) and kernel.dtype == np.float32
    assert filters.gaussian(1).shape == (7, 7)
    np.testing.assert_array_equal(filters.gaussian(1), filters.gaussian(1)[::-1].T)


def test_constants_are_constant():
    with pytest.raises(ValueError, match="read-only"):
        filters.SOBEL_X[0, 0] = 9


@pytest.mark.parametrize("call, message", [
    (lambda: filters.apply(np.zeros(3), filters.EMBOSS), "image must have 2 or 3 dimensions, got 1"),
    (lambda: filters.apply(np.zeros((3, 3)), np.zeros(3)), "kernel must have 2 dimensions, got 1"),
    (lambda: filters.gaussian(0), "sigma must be positive, got 0"),
    (lambda: filters.gaussian(1, size=4), "size must be odd and positive, got 4"),
    (lambda: filters.box(0), "size must be positive, got 0"),
])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
