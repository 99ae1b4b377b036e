"""Functional ops: NumPy arrays in, NumPy arrays out. Names and argument order follow torch.nn.functional."""

from .activation import relu
from .conv2d import conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight
from .matmul import dense, dense_backward_bias, dense_backward_input, dense_backward_weight, matmul
from .memory import clear_cache
from .pad import pad2d, pad2d_backward
from .pool2d import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from .threads import get_num_threads, set_num_threads, threads

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "clear_cache",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "dense",
    "dense_backward_bias",
    "dense_backward_input",
    "dense_backward_weight",
    "get_num_threads",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "pad2d",
    "pad2d_backward",
    "relu",
    "set_num_threads",
    "threads",
]
