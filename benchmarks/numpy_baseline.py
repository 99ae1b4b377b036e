"""The strongest convolution, pooling and training step that plain NumPy gives: what cnnfast is measured against.

float32, channels-last, every buffer allocated once per shape. Convolution is im2col + BLAS: the columns are
gathered through a ``sliding_window_view`` in blocks that stay in the L2/L3 cache (on 8x56x56x64 -> 64, 3x3 that is
1.6x faster than one im2col of the whole batch), 1x1 convolutions multiply the input as it lies, and depthwise
convolutions add shifted views tap by tap, since a BLAS call per channel would be far slower.
"""

from functools import cached_property, lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BLOCK_BYTES, DEPTHWISE_BLOCK_BYTES = 8 << 20, 128 << 10


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


class Conv2d:
    """Three passes of a convolution of one shape, with their buffers.

    Arrays are NHWC, weights HWIO ``(kh, kw, cin / groups, cout)``. Results live in buffers of this object and are
    valid until the next call of the same pass.
    """

    def __init__(self, input_shape, weight_shape, stride=1, padding=0, dilation=1, groups=1):
        n, h, w, cin = self.input_shape = tuple(input_shape)
        kh, kw, cg, cout = self.weight_shape = tuple(weight_shape)
        if cg * groups != cin:
            raise ValueError(f"weight {weight_shape} does not fit {cin} channels in {groups} groups")
        self.stride, self.padding, self.dilation, self.groups = _pair(stride), _pair(padding), _pair(dilation), groups
        (sh, sw), (ph, pw), (dh, dw) = self.stride, self.padding, self.dilation
        oh = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1
        ow = (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
        self.output_shape = (n, oh, ow, cout)
        self.depthwise = cg == 1 and groups == cout > 1
        self.pointwise = (kh, kw, ph, pw, sh, sw) == (1, 1, 0, 0, 1, 1)
        self.depth = kh * kw * cg
        self._padded = np.zeros((n, h + 2 * ph, w + 2 * pw, cin), np.float32)
        self._y = np.empty(self.output_shape, np.float32)
        self._dw = np.empty(self.weight_shape, np.float32)
        self._dw_block = np.empty((self.depth, cout // groups), np.float32)

        # blocks of output: some images, or some rows of one image, so that the columns of a block stay in cache
        row_bytes = 4 * ow * (cout if self.depthwise else self.depth)
        limit = DEPTHWISE_BLOCK_BYTES if self.depthwise else BLOCK_BYTES
        rows = max(1, min(oh, limit // row_bytes))
        images = max(1, min(n, limit // (row_bytes * oh)))
        self.blocks = [
            (slice(i, min(i + images, n)), slice(r, min(r + rows, oh)))
            for i in range(0, n, images)
            for r in range(0, oh, rows)
        ]
        self._scratch = np.empty(images * rows * ow * (cout if self.depthwise else self.depth), np.float32)
        if self.pointwise and groups == 1:  # no columns: one BLAS call
            self.blocks = [(slice(0, n), slice(0, oh))]
        # Convolving dy with the flipped weights gathers cout channels a tap; scattering the columns moves cin channels,
        # each read, added and written.
        low = (dh * (kh - 1) - ph, dw * (kw - 1) - pw)
        self._gathers = (
            self.stride == (1, 1) and not (self.depthwise or self.pointwise) and cout <= 2 * cin and min(low) >= 0
        )

    # -- helpers

    def _pad(self, x):
        ph, pw = self.padding
        if ph == pw == 0:
            return x
        self._padded[:, ph : ph + x.shape[1], pw : pw + x.shape[2]] = x
        return self._padded

    def _tap(self, padded, i, j, images=slice(None), rows=slice(None)):
        """The view of ``padded`` that tap (i, j) multiplies, for the given images and output rows."""
        (sh, sw), (dh, dw) = self.stride, self.dilation
        _, oh, ow, _ = self.output_shape
        start, stop, _ = rows.indices(oh)
        top = i * dh + start * sh
        return padded[images, top : top + (stop - start - 1) * sh + 1 : sh, j * dw : j * dw + (ow - 1) * sw + 1 : sw]

    def _columns(self, padded, group, images, rows):
        """im2col of one block and group: (pixels, kh * kw * cin / groups)."""
        kh, kw, cg, _ = self.weight_shape
        if self.pointwise:
            view = padded[images, rows, :, group * cg : (group + 1) * cg]
            if self.groups == 1:
                return view.reshape(-1, cg)
        (sh, sw), (dh, dw) = self.stride, self.dilation
        windows = sliding_window_view(padded[images], (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(1, 2))
        windows = windows[:, ::sh, ::sw, group * cg : (group + 1) * cg, ::dh, ::dw][:, rows]
        windows = windows.transpose(0, 1, 2, 4, 5, 3)
        columns = self._scratch[: windows.size].reshape(windows.shape)
        np.copyto(columns, windows)
        return columns.reshape(-1, self.depth)

    def _taps(self):
        return np.ndindex(*self.weight_shape[:2])

    @cached_property
    def _dpadded(self):
        return np.empty_like(self._padded)

    @cached_property
    def _mirror(self):
        """The convolution of dy that gives dx, and its weights' buffer."""
        kh, kw, _, cout = self.weight_shape
        (ph, pw), (dh, dw), cin = self.padding, self.dilation, self.input_shape[-1]
        shape = (kh, kw, cout // self.groups, cin)
        low = (dh * (kh - 1) - ph, dw * (kw - 1) - pw)
        return Conv2d(self.output_shape, shape, 1, low, self.dilation, self.groups), np.empty(shape, np.float32)

    def _spread(self, weight):
        """Depthwise weights repeated along a row of output, so that ufuncs run along whole rows: 2x at 32 channels."""
        np.copyto(self._row_weights, weight)
        return self._row_weights

    @cached_property
    def _row_weights(self):
        kh, kw, _, cout = self.weight_shape
        return np.empty((kh, kw, self.output_shape[2], cout), np.float32)

    # -- passes

    def forward(self, x, weight, bias=None):
        padded, y = self._pad(x), self._y
        per_group = y.shape[-1] // self.groups
        if self.depthwise:
            weight = self._spread(weight)
        for images, rows in self.blocks:
            block = y[images, rows]
            if self.depthwise:
                product = self._scratch[: block.size].reshape(block.shape)
                for tap, (i, j) in enumerate(self._taps()):
                    np.multiply(self._tap(padded, i, j, images, rows), weight[i, j], out=product if tap else block)
                    if tap:
                        block += product
            else:
                for g in range(self.groups):
                    outputs = slice(g * per_group, (g + 1) * per_group)
                    columns = self._columns(padded, g, images, rows)
                    panel = weight[..., outputs].reshape(self.depth, per_group)
                    if self.groups == 1:  # images x rows of a block are contiguous: one image, or whole images
                        np.matmul(columns, panel, out=block.reshape(-1, per_group))
                    else:
                        block[..., outputs] = (columns @ panel).reshape(*block.shape[:3], per_group)
            if bias is not None:
                block += bias
        return y

    def backward_input(self, dy, weight):
        kh, kw, cg, cout = self.weight_shape
        if self._gathers:
            flipped = weight[::-1, ::-1].reshape(kh, kw, cg, self.groups, cout // self.groups)
            mirror, weights = self._mirror
            np.copyto(weights.reshape(kh, kw, cout // self.groups, self.groups, cg), flipped.transpose(0, 1, 4, 3, 2))
            return mirror.forward(dy, weights)
        dpadded = self._dpadded
        if not self.pointwise:
            dpadded[:] = 0
        if self.depthwise:
            weight = self._spread(weight)
        per_group = cout // self.groups
        for images, rows in self.blocks:
            block = dy[images, rows]
            if self.depthwise:
                product = self._scratch[: block.size].reshape(block.shape)
                for i, j in self._taps():
                    np.multiply(block, weight[i, j], out=product)
                    view = self._tap(dpadded, i, j, images, rows)
                    view += product
                continue
            for g in range(self.groups):
                outputs, inputs = slice(g * per_group, (g + 1) * per_group), slice(g * cg, (g + 1) * cg)
                panel = weight[..., outputs].reshape(self.depth, per_group).T
                gradient = block[..., outputs].reshape(-1, per_group)
                if self.pointwise and self.groups == 1:
                    np.matmul(gradient, panel, out=dpadded[images, rows].reshape(-1, cg))
                    continue
                columns = self._scratch[: len(gradient) * self.depth].reshape(-1, self.depth)
                np.matmul(gradient, panel, out=columns)
                columns = columns.reshape(*block.shape[:3], kh, kw, cg)
                if self.pointwise:
                    dpadded[images, rows, :, inputs] = columns[..., 0, 0, :]
                    continue
                for i, j in self._taps():
                    view = self._tap(dpadded, i, j, images, rows)[..., inputs]
                    view += columns[..., i, j, :]
        (ph, pw), (_, h, w, _) = self.padding, self.input_shape
        return dpadded[:, ph : ph + h, pw : pw + w]

    def backward_weight(self, x, dy):
        padded, dw = self._pad(x), self._dw
        dw[:] = 0
        per_group = dw.shape[-1] // self.groups
        for images, rows in self.blocks:
            block = dy[images, rows]
            if self.depthwise:
                product = self._scratch[: block.size].reshape(block.shape)
                for i, j in self._taps():
                    np.multiply(self._tap(padded, i, j, images, rows), block, out=product)
                    dw[i, j, 0] += product.reshape(-1, product.shape[-1]).sum(axis=0)
                continue
            for g in range(self.groups):
                outputs = slice(g * per_group, (g + 1) * per_group)
                columns = self._columns(padded, g, images, rows)
                np.matmul(columns.T, block[..., outputs].reshape(-1, per_group), out=self._dw_block)
                dw[..., outputs] += self._dw_block.reshape(*dw.shape[:3], per_group)
        return dw


@lru_cache(maxsize=64)
def _plan(*geometry):
    return Conv2d(*geometry)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolution of NHWC ``x`` with HWIO ``weight``; the result is overwritten by the next call of this shape."""
    return _plan(x.shape, weight.shape, stride, padding, dilation, groups).forward(x, weight, bias)


def conv2d_backward_input(dy, weight, input_shape, stride=1, padding=0, dilation=1, groups=1):
    return _plan(tuple(input_shape), weight.shape, stride, padding, dilation, groups).backward_input(dy, weight)


def conv2d_backward_weight(x, dy, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    return _plan(x.shape, tuple(weight_shape), stride, padding, dilation, groups).backward_weight(x, dy)


def conv2d_backward_bias(dy):
    return dy.reshape(-1, dy.shape[-1]).sum(axis=0)


matmul = np.matmul


class MaxPool2d:
    """Max-pooling without padding of one input shape: windows as strided views, one maximum a tap."""

    def __init__(self, input_shape, kernel_size, stride=None):
        self.input_shape = n, h, w, c = tuple(input_shape)
        self.kernel, self.stride = _pair(kernel_size), _pair(stride if stride is not None else kernel_size)
        (kh, kw), (sh, sw) = self.kernel, self.stride
        shape = self.output_shape = (n, (h - kh) // sh + 1, (w - kw) // sw + 1, c)
        self._y, self._index = np.empty(shape, np.float32), np.empty(shape, np.uint8)
        self._larger, self._part = np.empty(shape, bool), np.empty(shape, np.float32)
        self._dx = np.zeros(self.input_shape, np.float32)

    def _taps(self, x):
        (kh, kw), (sh, sw), (_, oh, ow, _) = self.kernel, self.stride, self.output_shape
        for t, (i, j) in enumerate(np.ndindex(kh, kw)):
            yield t, x[:, i : i + (oh - 1) * sh + 1 : sh, j : j + (ow - 1) * sw + 1 : sw]

    def forward(self, x):
        for t, view in self._taps(x):
            if t == 0:
                np.copyto(self._y, view)
            else:
                np.maximum(self._y, view, out=self._y)
        return self._y

    def forward_with_index(self, x):
        """The maxima and the tap each came from (the first of equals), as the backward pass needs."""
        self._index[:] = 0
        for t, view in self._taps(x):
            if t == 0:
                np.copyto(self._y, view)
            else:
                np.greater(view, self._y, out=self._larger)
                np.maximum(self._y, view, out=self._y)
                np.copyto(self._index, t, where=self._larger)
        return self._y, self._index

    def backward(self, dy, index):
        disjoint = self.stride[0] >= self.kernel[0] and self.stride[1] >= self.kernel[1]
        if not disjoint:
            self._dx[:] = 0
        for t, view in self._taps(self._dx):
            np.equal(index, t, out=self._larger)
            if disjoint:
                np.multiply(dy, self._larger, out=view)
            else:
                np.multiply(dy, self._larger, out=self._part)
                view += self._part
        return self._dx


@lru_cache(maxsize=64)
def _pool(*geometry):
    return MaxPool2d(*geometry)


def max_pool2d(x, kernel_size, stride=None):
    return _pool(x.shape, kernel_size, stride).forward(x)


class ConvNet:
    """conv3x3(32) - pool2 - conv3x3(64) - pool2 - dense(128) - dense(10): inference and an SGD training step.

    ``weights`` is the list of kernels and biases in Keras's order and shapes.
    """

    def __init__(self, input_shape, weights):
        self.weights = [np.array(w, np.float32) for w in weights]
        self.velocity = [np.zeros_like(w) for w in self.weights]
        self.scratch = [np.empty_like(w) for w in self.weights]
        self.conv1 = Conv2d(input_shape, self.weights[0].shape)
        self.pool1 = MaxPool2d(self.conv1.output_shape, 2)
        self.conv2 = Conv2d(self.pool1.output_shape, self.weights[2].shape)
        self.pool2 = MaxPool2d(self.conv2.output_shape, 2)

    def _forward(self, x, training):
        k1, b1, k2, b2, w3, b3, w4, b4 = self.weights
        pool1 = self.pool1.forward_with_index if training else self.pool1.forward
        pool2 = self.pool2.forward_with_index if training else self.pool2.forward
        a1 = self.conv1.forward(x, k1, b1)
        np.maximum(a1, 0, out=a1)
        p1 = pool1(a1)
        a2 = self.conv2.forward(p1[0] if training else p1, k2, b2)
        np.maximum(a2, 0, out=a2)
        p2 = pool2(a2)
        flat = (p2[0] if training else p2).reshape(len(x), -1)
        a3 = flat @ w3
        a3 += b3
        np.maximum(a3, 0, out=a3)
        logits = a3 @ w4
        logits += b4
        return a1, p1, a2, p2, flat, a3, logits

    def predict(self, x):
        """Class probabilities, ``(n, classes)``."""
        logits = self._forward(x, False)[-1]
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits

    def gradients(self, x, labels):
        """Mean cross-entropy of a batch and its gradient to every weight."""
        _, _, k2, _, w3, _, w4, _ = self.weights
        a1, (p1, index1), a2, (_, index2), flat, a3, logits = self._forward(x, True)
        n = len(x)
        logits -= logits.max(axis=1, keepdims=True)
        picked = logits[np.arange(n), labels].copy()
        p = np.exp(logits, out=logits)
        total = p.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(total[:, 0]) - picked))
        p /= total
        p[np.arange(n), labels] -= 1
        p /= n
        d3 = p @ w4.T
        d3 *= a3 > 0
        d2 = self.pool2.backward((d3 @ w3.T).reshape(self.pool2.output_shape), index2)
        d2 *= a2 > 0
        d1 = self.pool1.backward(self.conv2.backward_input(d2, k2), index1)
        d1 *= a1 > 0
        gradients = [self.conv1.backward_weight(x, d1), conv2d_backward_bias(d1)]
        gradients += [self.conv2.backward_weight(p1, d2), conv2d_backward_bias(d2)]
        gradients += [flat.T @ d3, d3.sum(axis=0), a3.T @ p, p.sum(axis=0)]
        return loss, gradients

    def train_step(self, x, labels, learning_rate=0.01, momentum=0.9):
        """One step of SGD with momentum, Keras's formula; the loss before it."""
        loss, gradients = self.gradients(x, labels)
        for weight, velocity, gradient, scratch in zip(
            self.weights, self.velocity, gradients, self.scratch, strict=True
        ):
            velocity *= momentum
            velocity -= np.multiply(gradient, learning_rate, out=scratch)
            weight += velocity
        return loss
