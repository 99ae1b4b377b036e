"""The baseline is only worth beating if it is right: integer data, tolerance zero, against the reference."""

import numpy as np
import pytest

from benchmarks import numpy_baseline
from cnnfast import reference

GEOMETRIES = {  # n, (h, w), cin, cout, kernel, stride, padding, dilation, groups
    "3x3": (2, (9, 8), 4, 6, (3, 3), 1, (1, 1), 1, 1),
    "3x3, many outputs": (1, (9, 8), 4, 40, (3, 3), 1, (1, 1), 1, 1),
    "blocks of rows": (2, (70, 70), 64, 8, (3, 3), 1, (1, 1), 1, 1),
    "strided, grouped": (2, (9, 8), 4, 6, (3, 3), 2, (1, 0), 1, 2),
    "grouped": (2, (9, 8), 6, 4, (3, 2), 1, (2, 1), (2, 1), 2),
    "depthwise": (2, (9, 8), 4, 4, (3, 3), 1, (1, 1), 1, 4),
    "depthwise, strided": (2, (9, 8), 4, 4, (3, 3), 2, (1, 1), 2, 4),
    "1x1": (3, (7, 7), 5, 4, (1, 1), 1, (0, 0), 1, 1),
    "1x1, grouped": (3, (7, 7), 6, 4, (1, 1), 1, (0, 0), 1, 2),
    "1x1, strided": (3, (7, 7), 5, 4, (1, 1), 2, (0, 0), 1, 1),
    "1x1, padded": (1, (9, 8), 4, 8, (1, 1), 1, (1, 1), 1, 1),
    "first layer": (2, (19, 18), 3, 8, (7, 7), 2, (3, 3), 1, 1),
}


def integers(rng, *shape):
    return rng.integers(-3, 4, shape).astype(np.float32)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_conv2d(name):
    n, size, cin, cout, kernel, stride, padding, dilation, groups = GEOMETRIES[name]
    rng = np.random.default_rng(0)
    x, weight = integers(rng, n, *size, cin), integers(rng, *kernel, cin // groups, cout)
    bias, how = integers(rng, cout), (stride, padding, dilation, groups)
    y = reference.conv2d(x, weight, bias, *how)
    dy = integers(rng, *y.shape)
    for _ in range(2):  # buffers are used again
        np.testing.assert_array_equal(numpy_baseline.conv2d(x, weight, bias, *how), y)
        np.testing.assert_array_equal(
            numpy_baseline.conv2d_backward_input(dy, weight, x.shape, *how),
            reference.conv2d_backward_input(dy, weight, x.shape, *how),
        )
        np.testing.assert_array_equal(
            numpy_baseline.conv2d_backward_weight(x, dy, weight.shape, *how),
            reference.conv2d_backward_weight(x, dy, weight.shape, *how),
        )
    np.testing.assert_array_equal(numpy_baseline.conv2d_backward_bias(dy), reference.conv2d_backward_bias(dy))


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), ((3, 2), (1, 2))])
def test_max_pool2d(kernel, stride):
    rng = np.random.default_rng(1)
    x = integers(rng, 2, 9, 8, 5)
    plan = numpy_baseline.MaxPool2d(x.shape, kernel, stride)
    y, indices = reference.max_pool2d(x, kernel, stride, return_indices=True)
    dy = integers(rng, *y.shape)
    np.testing.assert_array_equal(numpy_baseline.max_pool2d(x, kernel, stride), y)
    ours, index = plan.forward_with_index(x)
    np.testing.assert_array_equal(ours, y)
    expected = reference.max_pool2d_backward(dy, indices, x.shape, kernel, stride)
    for _ in range(2):
        np.testing.assert_array_equal(plan.backward(dy, index), expected)


def test_network_gradients():
    rng = np.random.default_rng(2)
    shapes = [(3, 3, 1, 4), (4,), (3, 3, 4, 6), (6,), (2 * 2 * 6, 8), (8,), (8, 5), (5,)]
    weights = [rng.standard_normal(s).astype(np.float32) / 4 for s in shapes]
    x, labels = rng.standard_normal((7, 14, 14, 1)).astype(np.float32), rng.integers(0, 5, 7)
    net = numpy_baseline.ConvNet(x.shape, weights)
    loss, gradients = net.gradients(x, labels)

    r, f = reference, [w.astype(np.float64) for w in weights]
    a1 = r.relu(r.conv2d(x.astype(np.float64), f[0], f[1]))
    p1, i1 = r.max_pool2d(a1, 2, return_indices=True)
    a2 = r.relu(r.conv2d(p1, f[2], f[3]))
    p2, i2 = r.max_pool2d(a2, 2, return_indices=True)
    flat = p2.reshape(7, -1)
    a3 = r.relu(flat @ f[4] + f[5])
    losses, p = r.softmax_cross_entropy(a3 @ f[6] + f[7], labels)
    d4 = r.softmax_cross_entropy_backward(np.full(7, 1 / 7), p, labels)
    d3 = r.relu_backward(d4 @ f[6].T, a3)
    d2 = r.relu_backward(r.max_pool2d_backward((d3 @ f[4].T).reshape(p2.shape), i2, a2.shape, 2), a2)
    d1 = r.relu_backward(r.max_pool2d_backward(r.conv2d_backward_input(d2, f[2], p1.shape), i1, a1.shape, 2), a1)
    expected = [r.conv2d_backward_weight(x, d1, f[0].shape), d1.sum((0, 1, 2))]
    expected += [r.conv2d_backward_weight(p1, d2, f[2].shape), d2.sum((0, 1, 2))]
    expected += [flat.T @ d3, d3.sum(0), a3.T @ d4, d4.sum(0)]
    assert loss == pytest.approx(losses.mean(), rel=1e-5)
    for ours, truth in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, truth, rtol=0, atol=1e-5 * np.abs(truth).max())
    np.testing.assert_allclose(net.predict(x), p, rtol=0, atol=1e-5)

    before = [net.train_step(x, labels) for _ in range(20)]
    assert before[0] == pytest.approx(loss)
    assert before[-1] < 0.9 * before[0]
