"""The ops beside SciPy, scikit-image and OpenCV: the same results where they overlap, and arrays of any library."""

import array
import pathlib

import numpy as np
import pytest
from harness import assert_exact, assert_meaningful, assert_within, gamma, integers, run_python
from nets import compiled, images, small
from scipy import ndimage, signal, sparse

from cnnfast import losses, metrics, ops

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
DTYPES = [np.float32, np.float64]
KERNELS = [(1, 1), (3, 3), (5, 5), (2, 2), (4, 3), (1, 6), (7, 2)]
PAD_MODES = {"reflect": "symmetric", "mirror": "reflect", "nearest": "edge", "grid-wrap": "wrap"}  # SciPy's, numpy.pad's


def load(name, package):
    return pytest.importorskip(name, reason=f"needs {package}, which the extra [test] installs")


def plane(y):
    """The only sample and channel of `y`."""
    assert y.shape[0] == y.shape[3] == 1
    return y[0, :, :, 0]


def pad(x, before, after, mode):
    return np.pad(x, ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)), mode)


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def image(request, rng):
    """Small integers, whose sums of products are exact in any order: the results have to be equal."""
    return integers(rng, (23, 31), request.param)


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def picture(request, rng):
    return integers(rng, (24, 32, 3), request.param, magnitude=100)


# --- SciPy ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", KERNELS)
@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_correlate2d(image, size, mode, rng):
    kernel = integers(rng, size, image.dtype)
    padding = {"valid": 0, "same": "same", "full": (size[0] - 1, size[1] - 1)}[mode]
    expected = signal.correlate2d(image, kernel, mode)
    assert_meaningful(expected)
    weight = kernel[:, :, np.newaxis, np.newaxis]
    y = ops.conv2d(image[np.newaxis, :, :, np.newaxis], weight, padding=padding, precision="strict")
    assert y.dtype == image.dtype
    assert_exact(plane(y), expected)


@pytest.mark.parametrize("size", KERNELS)
@pytest.mark.parametrize("mode", ["constant", *PAD_MODES])
def test_ndimage_correlate(image, size, mode, rng):
    kernel = integers(rng, size, image.dtype)
    expected = ndimage.correlate(image, kernel, mode=mode)
    x, padding = image[np.newaxis, :, :, np.newaxis], "same_lower"
    if mode != "constant":
        before, after = [k // 2 for k in size], [(k - 1) // 2 for k in size]
        x, padding = pad(x, before, after, PAD_MODES[mode]), 0
    y = ops.conv2d(x, kernel[:, :, np.newaxis, np.newaxis], padding=padding, precision="strict")
    assert_exact(plane(y), expected)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("mode", PAD_MODES)
def test_uniform_filter(image, size, mode):
    x = pad(image[np.newaxis, :, :, np.newaxis], [size // 2] * 2, [(size - 1) // 2] * 2, PAD_MODES[mode])
    expected = ndimage.uniform_filter(image.astype(np.float64), size, mode=mode)
    assert_within(plane(ops.avg_pool2d(x, size, 1)), expected, 5 * gamma(size**2 + 2, image.dtype))  # integers up to 4


@pytest.mark.parametrize("size", [2, 3, (4, 5)])
def test_maximum_and_minimum_filter(image, size):
    kh, kw = np.broadcast_to(size, 2)
    padding = (kh // 2, (kh - 1) // 2), (kw // 2, (kw - 1) // 2)
    x = image[np.newaxis, :, :, np.newaxis]
    padded = ops.pad2d(x, tuple(tuple(map(int, p)) for p in padding), -np.finfo(image.dtype).max)
    expected = ndimage.maximum_filter(image, size, mode="constant", cval=-np.inf)
    assert_exact(plane(ops.max_pool2d(padded, (int(kh), int(kw)), 1)), expected)
    negative = ops.pad2d(-x, tuple(tuple(map(int, p)) for p in padding), -np.finfo(image.dtype).max)
    expected = ndimage.minimum_filter(image, size, mode="constant", cval=np.inf)
    assert_exact(-plane(ops.max_pool2d(negative, (int(kh), int(kw)), 1)), expected)


# --- scikit-image --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [(2, 2), (3, 4), (8, 1), (5, 7)])
def test_block_reduce(picture, block):
    measure = load("skimage.measure", "scikit-image")
    batch = np.stack([picture, picture[::-1, ::-1]])
    lowest = -np.finfo(picture.dtype).max
    for function, cval, y in (
        (np.max, lowest, ops.max_pool2d(batch, block, ceil_mode=True)),
        (np.mean, 0, ops.avg_pool2d(ops.pad2d(batch, tuple((0, -n % k) for n, k in zip(picture.shape, block))), block)),
    ):
        expected = np.stack([measure.block_reduce(x.astype(np.float64), (*block, 1), function, cval) for x in batch])
        assert_meaningful(expected)
        assert_within(y, expected, 0 if function is np.max else 101 * gamma(block[0] * block[1] + 2, picture.dtype))


@pytest.mark.parametrize("factor", [2, 4])
def test_downscale_local_mean(picture, factor):
    transform = load("skimage.transform", "scikit-image")
    assert_exact(ops.avg_pool2d(picture[np.newaxis], factor)[0], transform.downscale_local_mean(picture, (factor, factor, 1)))


# --- OpenCV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", KERNELS)
@pytest.mark.parametrize("border", ["constant", "symmetric", "reflect", "edge"])
def test_filter2d(picture, size, border, rng):
    cv2 = load("cv2", "opencv-python-headless")
    borders = {"constant": cv2.BORDER_CONSTANT, "symmetric": cv2.BORDER_REFLECT, "reflect": cv2.BORDER_REFLECT_101}
    kernel = integers(rng, size, picture.dtype)
    expected = cv2.filter2D(picture, -1, kernel, borderType=borders.get(border, cv2.BORDER_REPLICATE))
    weight = np.repeat(kernel[:, :, np.newaxis, np.newaxis], 3, axis=3)
    x = pad(picture[np.newaxis], [k // 2 for k in size], [(k - 1) // 2 for k in size], border)
    y = ops.conv2d(x, weight, groups=3, precision="strict")
    assert_meaningful(expected)
    assert_exact(y[0], expected)


def test_blur_dilate_and_resize(picture):
    cv2 = load("cv2", "opencv-python-headless")
    x, bound = picture[np.newaxis], 101 * gamma(27, picture.dtype)
    blurred = cv2.blur(picture.astype(np.float64), (5, 5), borderType=cv2.BORDER_CONSTANT)
    assert_within(ops.avg_pool2d(x, 5, 1, 2, count_include_pad=True)[0], blurred, bound)
    assert_exact(ops.max_pool2d(x, 3, 1, 1)[0], cv2.dilate(picture, np.ones((3, 3), np.uint8)))
    assert_exact(ops.avg_pool2d(x, 4)[0], cv2.resize(picture, (8, 6), interpolation=cv2.INTER_AREA))


# --- arrays of any library -----------------------------------------------------------------------------------------------


class OnlyArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


class OnlyInterface:
    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__array_interface__


class OnlyDlpack:
    """What torch, JAX or CuPy hand over, without their `__array__`."""

    def __init__(self, array, error=None):
        self.array, self.error = array, error

    def __dlpack__(self, **options):
        if self.error is not None:
            raise self.error
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OldDlpack(OnlyDlpack):
    """As it was before NumPy 2: without `dl_device`, `copy` and `max_version`."""

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__()


class Both(OnlyArray, OnlyDlpack):
    pass


WRAPPERS = [OnlyArray, OnlyInterface, OnlyDlpack, OldDlpack, Both, memoryview]


@pytest.mark.parametrize(
    ("wrap", "dtype"),
    [*((wrap, dtype) for wrap in WRAPPERS for dtype in DTYPES), (np.ndarray.tolist, np.float64)],
)
def test_arrays_of_any_kind(wrap, dtype, rng):
    x, weight, bias = integers(rng, (2, 5, 6, 3), dtype), integers(rng, (3, 3, 3, 4), dtype), integers(rng, 4, dtype)
    copies = [a.copy() for a in (x, weight, bias)]
    expected = ops.conv2d(x, weight, bias, padding="same")
    y = ops.conv2d(wrap(x), wrap(weight), wrap(bias), padding="same")
    assert type(y) is np.ndarray
    assert y.dtype == dtype
    assert_exact(y, expected)
    assert_exact(ops.max_pool2d(wrap(x), 2), ops.max_pool2d(x, 2))
    assert_exact(ops.softmax(wrap(bias)), ops.softmax(bias))
    for a, copy in zip((x, weight, bias), copies):
        assert_exact(a, copy)


def calls(rng, dtype):
    """A call of every op that takes arrays: (arguments, keywords, numbers of the arguments that change in place)."""
    x, dy, p, q = (np.abs(integers(rng, (2, 4, 6, 3), dtype)) / 8 + dtype(0.1) for _ in range(4))
    w, b, y = integers(rng, (3, 3, 3, 4), dtype), integers(rng, 4, dtype), integers(rng, (2, 4, 6, 4), dtype)
    c, flat, rows, shape = x[0, 0, 0], x.ravel(), x[0, 0], x.shape
    chances, losses, half = np.full((6, 3), 1 / 3, dtype), flat[:6], dtype(0.5)
    labels, target, targets = np.array([0, 1, 2, 0, 1, 2]), np.eye(3, dtype=dtype)[[0, 1, 2, 0, 1, 2]], np.round(q.clip(0, 1))
    pooled, indices = ops.max_pool2d(x, 2, return_indices=True)
    top, where = ops.global_max_pool2d(x, return_indices=True)
    each, places, flips = np.array([0.1, 0.2]), np.array([0, 1]), np.array([True, False])
    matrix, drawn = ops.rotation2d(each, shape[1:3]), dict(seed=1, step=2)
    pointwise = ("relu", "silu", "gelu", "elu", "leaky_relu", "clipped_relu", "sigmoid", "tanh", "softmax")
    table = {
        **{name: ((x,), {}) for name in (*pointwise, "exp", "log")},
        **{f"{name}_backward": ((dy, x), {}) for name in pointwise},
        "adam_step": ((flat, p.ravel(), q.ravel(), dy.ravel()), dict(lr=0.1, beta_1=0.9, beta_2=0.9, eps=0.1, step=1), 0, 2, 3),
        "rmsprop_step": ((flat, p.ravel(), q.ravel()), dict(lr=0.1, rho=0.9, eps=0.1), 0, 2),
        "sgd_step": ((flat, p.ravel()), dict(lr=0.1), 0),
        "moving_average": ((x, p, 0.9), {}),
        "concatenate": (([x, dy],), {}), "concatenate_backward": ((y, [1, 3]), {}),
        "add": ((x, dy), {}), "matmul": ((rows, rows.T), {}), "dense": ((x, w[0, 0], b), {}),
        "dense_backward_bias": ((y,), {}), "dense_backward_input": ((y, w[0, 0]), {}), "dense_backward_weight": ((x, y), {}),
        "adjust_brightness": ((x, each, (0, 1)), {}), "adjust_brightness_backward": ((dy, x, each, (0, 1)), {}),
        "adjust_contrast": ((x, each, (0, 1)), {}), "adjust_contrast_backward": ((dy, x, each, (0, 1)), {}),
        "affine2d": ((x, matrix), {}), "affine2d_backward": ((dy, matrix), {}), "rotation2d": ((each, (4, 6)), {}),
        "translation2d": ((each, each, (4, 6)), {}), "flip2d": ((x, flips, flips), {}), "rescale": ((x, half, half), {}),
        "crop2d": ((x, places, places, 2, 3), {}), "crop2d_backward": ((dy[:, :2, :3], places, places, shape), {}),
        "avg_pool2d": ((x, 2), {}), "avg_pool2d_backward": ((pooled, shape, 2), {}), "max_pool2d": ((x, 2), {}),
        "max_pool2d_backward": ((pooled, indices, shape, 2), {}), "global_avg_pool2d": ((x,), {}),
        "global_avg_pool2d_backward": ((top, shape), {}), "global_max_pool2d": ((x,), {}),
        "global_max_pool2d_backward": ((top, where, shape), {}),
        "batch_norm": ((x, c, c, c, c), {}), "batch_norm_backward": ((dy, x, c, c, c), {}), "batch_norm_stats": ((x,), {}),
        "group_norm": ((x, 3, c, c), {}), "group_norm_backward": ((dy, x, 3, c), {}),
        "layer_norm": ((x, 3, c, c), {}), "layer_norm_backward": ((dy, x, 3, c), {}),
        "binary_cross_entropy": ((p.clip(0, 1), targets), {}),
        "binary_cross_entropy_backward": ((dy, p.clip(0, 1) / 2, targets), {}),
        "cross_entropy": ((chances, labels), {}), "cross_entropy_backward": ((losses, chances, target), {}),
        "mse_loss": ((x, p), {}), "mse_loss_backward": ((dy[..., 0], x, p), {}),
        "sigmoid_cross_entropy": ((x, targets), {}), "sigmoid_cross_entropy_backward": ((dy, x, targets), {}),
        "softmax_cross_entropy": ((rows, labels), {}), "softmax_cross_entropy_backward": ((losses, chances, labels), {}),
        "conv2d": ((x, w, b, 1, "same"), {}), "conv2d_backward_bias": ((y,), {}),
        "conv2d_backward_input": ((y, w, shape, 1, 1), {}), "conv2d_backward_weight": ((x, y, w.shape, 1, 1), {}),
        "dropout": ((x, 0.5), drawn), "dropout_backward": ((dy, 0.5), drawn), "dropout2d": ((x, 0.5), drawn),
        "dropout2d_backward": ((dy, 0.5), drawn), "pad2d": ((x, 1), {}), "pad2d_backward": ((dy, 1), {}),
        "penalty": ((x, 0.1, 0.2), {}), "penalty_backward": ((dy, x, 0.1, 0.2), {}),
        "prelu": ((x, c[None, None]), {}), "prelu_backward": ((dy, x, c[None, None]), {}),
        "upsample2d": ((x, 2), {}), "upsample2d_backward": ((dy, 2), {}),
    }  # fmt: skip
    return {name: (arguments, keywords, in_place) for name, (arguments, keywords, *in_place) in table.items()}


NO_ARRAYS = {"clear_cache", "get_flush_denormals", "get_num_threads", "random_bernoulli", "random_integers", "random_uniform",
             "set_flush_denormals", "set_num_threads", "threads"}  # fmt: skip


def test_every_op_is_called_below(rng):
    assert set(calls(rng, np.float64)) | NO_ARRAYS == set(ops.__all__)


@pytest.mark.parametrize("wrap", [OnlyArray, OnlyDlpack, OldDlpack, memoryview])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(set(ops.__all__) - NO_ARRAYS))
def test_every_op_takes_arrays_of_any_kind(name, dtype, wrap, rng):
    """Nothing but what changes in place has to be NumPy's; and nothing else changes."""
    arguments, keywords, in_place = calls(rng, dtype)[name]

    def run(wrap):
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        given = [wrap(a) if isinstance(a, np.ndarray) and i not in in_place else a for i, a in enumerate(copies)]
        result = getattr(ops, name)(*given, **keywords)
        for i, (before, after) in enumerate(zip(arguments, copies)):
            if isinstance(before, np.ndarray) and i not in in_place:
                np.testing.assert_array_equal(after, before)
        return [*(result if isinstance(result, tuple) else [result]), *(copies[i] for i in in_place)]

    expected, results = run(lambda a: a), run(wrap)
    assert any(isinstance(e, np.ndarray) for e in expected)
    for a, b in zip(results, expected):
        assert type(a) is type(b)
        if a is not None:
            assert_exact(a, b)


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_networks_take_arrays_of_any_kind(wrap):
    x, y = images()
    weight, one_hot = np.linspace(0.5, 2, len(x)), np.eye(3, dtype=np.float32)[y]

    def run(wrap):
        model = compiled(small())
        fitted = model.fit(wrap(x), wrap(y), verbose=0, sample_weight=wrap(weight), validation_data=(wrap(x), wrap(y)),
                           batch_size=20).history  # fmt: skip
        model.fit([(wrap(x), wrap(y), wrap(weight))], verbose=0)
        numbers = [*model.train_on_batch(wrap(x), wrap(y), sample_weight=wrap(weight)),
                   *model.test_on_batch(wrap(x), wrap(y)), *model.evaluate(wrap(x), wrap(y), verbose=0)]  # fmt: skip
        model.set_weights([wrap(w) for w in model.get_weights()])
        loss = losses.CategoricalCrossentropy()(wrap(one_hot), wrap(model.predict(x, verbose=0)), wrap(weight))
        accuracy = metrics.CategoricalAccuracy()(wrap(one_hot), wrap(model.predict(x, verbose=0)), wrap(weight))
        auc = metrics.AUC()(wrap(one_hot), wrap(model.predict(x, verbose=0)))
        matrix = metrics.confusion_matrix(wrap(y), wrap(model.predict(x, verbose=0).argmax(1)))
        outputs = [model.predict(wrap(x), verbose=0, batch_size=20), model.predict_on_batch(wrap(x)), model(wrap(x)),
                   model.layers[0](wrap(x)), model.predict(iter([wrap(x), wrap(x)]), verbose=0)]  # fmt: skip
        return fitted, [*numbers, loss, accuracy, auc, matrix.tolist()], outputs

    (history, numbers, outputs), expected = run(wrap), run(lambda a: a)
    assert (history, numbers) == expected[:2]
    for a, b in zip(outputs, expected[2]):
        assert type(a) is np.ndarray
        np.testing.assert_array_equal(a, b)


def test_dlpack_of_views_and_of_read_only_arrays(rng):
    x = integers(rng, (6, 8), np.float32)
    assert_exact(ops.relu(OnlyDlpack(x.T[::2])), np.maximum(x.T[::2], 0))
    x.flags.writeable = False
    assert_exact(ops.relu(OnlyDlpack(x)), np.maximum(x, 0))


def test_the_standard_librarys_arrays():
    assert_exact(ops.relu(array.array("d", [-1, 2])), np.array([0.0, 2.0]))
    assert_exact(ops.relu(array.array("f", [-1, 2])), np.array([0, 2], np.float32))


def test_tables():
    pandas = load("pandas", "pandas")
    table = pandas.DataFrame({"a": [-1.0, 2.0], "b": [3.0, -4.0]})
    assert_exact(ops.relu(table), np.array([[0.0, 3.0], [2.0, 0.0]]))
    assert_exact(ops.relu(table["b"]), np.array([3.0, 0.0]))
    with pytest.raises(TypeError, match=r"relu: x must be float32 or float64, got object; use x.astype\(np.float32\)"):
        ops.relu(table.astype("Float32"))
    assert_exact(ops.relu(table.astype("Float32").astype(np.float32)), np.array([[0, 3], [2, 0]], np.float32))


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (OnlyDlpack(np.ones(3), BufferError("bfloat16 is not known")), TypeError, "can't be read as an array, got OnlyDlpack: bfloat16"),
        (OnlyDlpack(np.ones(3), RuntimeError("on a GPU")), TypeError, "can't be read as an array, got OnlyDlpack: on a GPU"),
        (OnlyArray([1.0]), ValueError, "must be an array, got OnlyArray"),
        ([[1.0, 2.0], [3.0]], ValueError, "must be an array, got list: .*inhomogeneous"),
        (OnlyDlpack(np.arange(3, dtype=np.int32)), TypeError, r"must be float32 or float64, got int32; use x.astype"),
        (OnlyArray(np.ones(3, np.float16)), TypeError, r"must be float32 or float64, got float16; use x.astype"),
        (sparse.csr_array(np.eye(3)), TypeError, "must be a dense array, got csr_array; use x.toarray"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), TypeError, "must not be a masked array"),
        (object(), TypeError, "must be float32 or float64, got object$"),
        (iter([1.0]), TypeError, "must be float32 or float64, got object$"),
        (None, TypeError, "must be an array, got NoneType"),
        ("1.0", TypeError, "must be an array, got str"),
    ],
)  # fmt: skip
def test_what_is_no_array_is_refused_by_name(x, error, words):
    with pytest.raises(error, match=f"^relu: x {words}"):
        ops.relu(x)


# --- examples ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("scipy_arrays", "scipy", "SciPy"),
        ("scikit_image", "skimage", "scikit-image"),
        ("opencv", "cv2", "opencv-python-headless"),
        ("scikit_learn", "sklearn", "scikit-learn"),
    ],
)
def test_examples_run_and_find_the_same_numbers(name, module, package):
    load(module, package)
    path = EXAMPLES / f"{name}.py"
    code = f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')"
    result = run_python(code, timeout=250, CNNFAST_NUM_THREADS="1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("\n") >= 3
