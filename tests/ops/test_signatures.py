"""The public ops' signatures, to the letter: programs rely on names, order and defaults."""

import inspect

import pytest

import cnnfast
from cnnfast import ops

SIGNATURES = """
conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, activation=None, data_format='channels_last', algorithm='auto', precision='default', training=False, out=None, num_threads=None)
conv2d_backward_input(dy, weight, input_shape, stride=1, padding=0, dilation=1, groups=1, *, data_format='channels_last', algorithm='auto', precision='default', out=None, num_threads=None)
conv2d_backward_weight(x, dy, weight_shape, stride=1, padding=0, dilation=1, groups=1, *, data_format='channels_last', algorithm='auto', precision='default', out=None, num_threads=None)
conv2d_backward_bias(dy, *, data_format='channels_last', out=None, num_threads=None)
max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *, return_indices=False, data_format='channels_last', out=None, num_threads=None)
max_pool2d_backward(dy, indices, input_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *, y=None, data_format='channels_last', out=None, num_threads=None)
avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=False, *, data_format='channels_last', out=None, num_threads=None)
avg_pool2d_backward(dy, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=False, *, data_format='channels_last', out=None, num_threads=None)
global_avg_pool2d(x, *, keepdims=False, data_format='channels_last', out=None, num_threads=None)
global_avg_pool2d_backward(dy, input_shape, *, data_format='channels_last', out=None, num_threads=None)
global_max_pool2d(x, *, keepdims=False, return_indices=False, data_format='channels_last', out=None, num_threads=None)
global_max_pool2d_backward(dy, indices, input_shape, *, data_format='channels_last', out=None, num_threads=None)
matmul(a, b, *, out=None, num_threads=None)
dense(x, weight, bias=None, *, activation=None, out=None, num_threads=None)
dense_backward_input(dy, weight, *, out=None, num_threads=None)
dense_backward_weight(x, dy, *, out=None, num_threads=None)
dense_backward_bias(dy, *, out=None, num_threads=None)
relu(x, *, out=None, num_threads=None)
relu_backward(dy, x, *, return_dbias=False, out=None, num_threads=None)
sigmoid(x, *, out=None, num_threads=None)
sigmoid_backward(dy, y, *, out=None, num_threads=None)
tanh(x, *, out=None, num_threads=None)
tanh_backward(dy, y, *, out=None, num_threads=None)
softmax(x, axis=-1, *, out=None, num_threads=None)
softmax_backward(dy, y, axis=-1, *, out=None, num_threads=None)
leaky_relu(x, negative_slope=0.01, *, out=None, num_threads=None)
leaky_relu_backward(dy, x, negative_slope=0.01, *, out=None, num_threads=None)
clipped_relu(x, max_value=None, negative_slope=0.0, threshold=0.0, *, out=None, num_threads=None)
clipped_relu_backward(dy, x, max_value=None, negative_slope=0.0, threshold=0.0, *, out=None, num_threads=None)
prelu(x, weight, *, out=None, num_threads=None)
prelu_backward(dy, x, weight, *, out=None, num_threads=None)
layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-05, *, out=None, num_threads=None)
layer_norm_backward(dy, x, normalized_shape, weight=None, eps=1e-05, *, out=None, num_threads=None)
group_norm(x, num_groups, weight=None, bias=None, eps=1e-05, *, data_format='channels_last', out=None, num_threads=None)
group_norm_backward(dy, x, num_groups, weight=None, eps=1e-05, *, data_format='channels_last', out=None, num_threads=None)
upsample2d(x, scale_factor, mode='nearest', *, data_format='channels_last', out=None, num_threads=None)
upsample2d_backward(dy, scale_factor, mode='nearest', *, data_format='channels_last', out=None, num_threads=None)
concatenate(arrays, axis=-1, *, out=None, num_threads=None)
concatenate_backward(dy, sizes, axis=-1, *, out=None, num_threads=None)
rescale(x, scale, offset=0.0, *, out=None, num_threads=None)
elu(x, alpha=1.0, *, out=None, num_threads=None)
elu_backward(dy, x, alpha=1.0, *, out=None, num_threads=None)
gelu(x, approximate='none', *, out=None, num_threads=None)
gelu_backward(dy, x, approximate='none', *, out=None, num_threads=None)
silu(x, *, out=None, num_threads=None)
silu_backward(dy, x, *, out=None, num_threads=None)
softmax_cross_entropy(logits, target, *, label_smoothing=0.0, out=None, num_threads=None)
softmax_cross_entropy_backward(dloss, probabilities, target, *, label_smoothing=0.0, out=None, num_threads=None)
sigmoid_cross_entropy(logits, target, *, out=None, num_threads=None)
sigmoid_cross_entropy_backward(dloss, logits, target, *, out=None, num_threads=None)
mse_loss(x, target, *, out=None, num_threads=None)
mse_loss_backward(dloss, x, target, *, out=None, num_threads=None)
batch_norm(x, mean, var, weight=None, bias=None, eps=1e-05, *, residual=None, activation=None, data_format='channels_last', out=None, num_threads=None)
batch_norm_backward(dy, x, mean, var, weight=None, eps=1e-05, *, bias=None, activation=None, y=None, return_dresidual=False, training=True, data_format='channels_last', out=None, num_threads=None)
dropout(x, p, *, seed, step, noise_shape=None, out=None, num_threads=None)
dropout_backward(dy, p, *, seed, step, noise_shape=None, out=None, num_threads=None)
sgd_step(param, grad, velocity=None, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0, num_threads=None)
adam_step(param, grad, m, v, *, lr, beta_1, beta_2, eps, step, weight_decay=0.0, largest=None, num_threads=None)
rmsprop_step(param, grad, v, velocity=None, *, lr, rho, eps, momentum=0.0, weight_decay=0.0, mean=None, num_threads=None)
set_flush_denormals(flush)
get_flush_denormals()
set_num_threads(num_threads)
get_num_threads()
threads(num_threads)
""".strip().splitlines()


@pytest.mark.parametrize("text", SIGNATURES, ids=lambda text: text.split("(")[0])
def test_signature(text):
    name = text.split("(")[0]
    assert name + str(inspect.signature(getattr(ops, name))) == text
    assert name in ops.__all__
    if "thread" in name or "flush" in name:
        assert getattr(cnnfast, name) is getattr(ops, name)


@pytest.mark.parametrize("name", ops.__all__)
def test_rules_for_every_op(name):
    """Extras are keyword-only and have the same default everywhere; what has a gradient op is an op."""
    function = getattr(ops, name)
    parameters = inspect.signature(function).parameters
    extras = {"data_format": "channels_last", "out": None}
    if name not in ("set_num_threads", "threads"):
        extras["num_threads"] = None
    for extra, default in extras.items():
        if extra in parameters:
            assert parameters[extra].kind is inspect.Parameter.KEYWORD_ONLY and parameters[extra].default == default
    assert function.__doc__
    if name.endswith(("_backward", "_backward_input", "_backward_weight", "_backward_bias")):
        assert name.partition("_backward")[0] in ops.__all__


@pytest.mark.parametrize("name", [name for name in ops.__all__ if "thread" not in name and name != "clear_cache" and "flush" not in name])
def test_a_wrong_keyword_is_a_type_error_that_names_it(name):
    function = getattr(ops, name)
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    with pytest.raises(TypeError, match="colour"):
        function(**{p.name: 1.0 for p in needed}, colour=1)
