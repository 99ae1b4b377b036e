"""Functional ops: NumPy arrays in, NumPy arrays out. Names and argument order follow torch.nn.functional."""

from .activation import relu
from .conv2d import conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight
from .matmul import dense, dense_backward_bias, dense_backward_input, dense_backward_weight, matmul
from .memory import clear_cache
from .threads import get_num_threads, set_num_threads, threads

__all__ = [
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
    "matmul",
    "relu",
    "set_num_threads",
    "threads",
]
