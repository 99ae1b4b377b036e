"""Functional ops: NumPy arrays in, NumPy arrays out. Names and argument order follow torch.nn.functional."""

from .activation import relu
from .memory import clear_cache
from .threads import get_num_threads, set_num_threads, threads

__all__ = ["clear_cache", "get_num_threads", "relu", "set_num_threads", "threads"]
