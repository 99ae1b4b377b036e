"""Output sizes of convolution and pooling windows, where a size may be unknown (None)."""

from __future__ import annotations

from ._arguments import Shape
from .base import Layer


def spatial(shape: Shape, data_format: str) -> tuple[int | None, int | None]:
    """(height, width) of a 4-D shape."""
    return (shape[1], shape[2]) if data_format == "channels_last" else (shape[2], shape[3])


def with_spatial(shape: Shape, size: tuple[int | None, int | None], channels: int | None, data_format: str) -> Shape:
    """The 4-D shape of an output of `size` and `channels` for an input of `shape`."""
    return (shape[0], *size, channels) if data_format == "channels_last" else (shape[0], channels, *size)


def channels(shape: Shape, data_format: str) -> int | None:
    """Number of channels of a shape of images or of sequences."""
    return shape[-1] if data_format == "channels_last" else shape[1]


def window_output(
    layer: Layer, shape: Shape, data_format: str, kernel: tuple[int, int], stride: tuple[int, int], padding: str,
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int | None, int | None]:  # fmt: skip
    """(height, width) that windows of `kernel` pixels make of an input of `shape`.

    Raises
    ------
    ValueError
        No window fits; the message names the layer and the shape so far.
    """
    sizes: list[int | None] = []
    for n, k, s, d in zip(spatial(shape, data_format), kernel, stride, dilation):
        if n is None:
            sizes.append(None)
            continue
        size = -(-n // s) if padding == "same" else (n - (k - 1) * d - 1) // s + 1
        if size < 1:
            raise ValueError(
                f'layer "{layer.name}": its window of {kernel} (dilation {dilation}, padding "{padding}") '
                f"does not fit into the input {shape}"
            )
        sizes.append(size)
    return sizes[0], sizes[1]
