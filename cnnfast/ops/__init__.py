"""Functional ops: NumPy arrays in, NumPy arrays out. Names and argument order follow torch.nn.functional."""

import os as _os

from .cpu import pauses as _pauses

# libgomp lets idle threads spin for milliseconds, which makes every call crawl where others want the CPUs too. 100 us bridge
# the gap between two ops, and what Python does in a training step (LeNet-5's takes 1.42 ms with 20 us, 1.35 with 100; two
# processes at once lose nothing); waking a thread takes 50. It reads the variable once, when it is loaded; a user's choice
# stands.
if _spin := not ({"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(_os.environ)):
    _os.environ["GOMP_SPINCOUNT"] = str(_pauses(100))
from . import threads as _threads  # noqa: F401

if _spin:
    del _os.environ["GOMP_SPINCOUNT"]

from .activation import (
    add,
    clipped_relu,
    clipped_relu_backward,
    elu,
    elu_backward,
    exp,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from .concatenate import concatenate, concatenate_backward
from .conv2d import conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight
from .dropout import dropout, dropout2d, dropout2d_backward, dropout_backward
from .group_norm import group_norm, group_norm_backward
from .image import (
    adjust_brightness,
    adjust_brightness_backward,
    adjust_contrast,
    adjust_contrast_backward,
    affine2d,
    affine2d_backward,
    crop2d,
    crop2d_backward,
    flip2d,
    rotation2d,
    translation2d,
)
from .layer_norm import layer_norm, layer_norm_backward
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    cross_entropy,
    cross_entropy_backward,
    mse_loss,
    mse_loss_backward,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from .matmul import dense, dense_backward_bias, dense_backward_input, dense_backward_weight, matmul
from .memory import clear_cache
from .norm import batch_norm, batch_norm_backward, batch_norm_stats, moving_average
from .optim import adam_step, rmsprop_step, sgd_step
from .pad import pad2d, pad2d_backward
from .penalty import penalty, penalty_backward
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
from .prelu import prelu, prelu_backward
from .random import random_bernoulli, random_integers, random_uniform
from .rescale import rescale
from .threads import get_flush_denormals, get_num_threads, set_flush_denormals, set_num_threads, threads
from .upsample2d import upsample2d, upsample2d_backward

__all__ = [
    "adam_step",
    "add",
    "adjust_brightness",
    "adjust_brightness_backward",
    "adjust_contrast",
    "adjust_contrast_backward",
    "affine2d",
    "affine2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_stats",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "clear_cache",
    "clipped_relu",
    "clipped_relu_backward",
    "concatenate",
    "concatenate_backward",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "crop2d",
    "crop2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dense",
    "dense_backward_bias",
    "dense_backward_input",
    "dense_backward_weight",
    "dropout",
    "dropout2d",
    "dropout2d_backward",
    "dropout_backward",
    "elu",
    "elu_backward",
    "exp",
    "flip2d",
    "gelu",
    "gelu_backward",
    "get_flush_denormals",
    "get_num_threads",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "moving_average",
    "mse_loss",
    "mse_loss_backward",
    "pad2d",
    "pad2d_backward",
    "penalty",
    "penalty_backward",
    "prelu",
    "prelu_backward",
    "random_bernoulli",
    "random_integers",
    "random_uniform",
    "relu",
    "relu_backward",
    "rescale",
    "rmsprop_step",
    "rotation2d",
    "set_flush_denormals",
    "set_num_threads",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh",
    "tanh_backward",
    "threads",
    "translation2d",
    "upsample2d",
    "upsample2d_backward",
]
