"""Keras on TensorFlow: the training step and the forward pass as one graph each, with and without XLA."""

import keras
import tensorflow as tf

from benchmarks.zoo import EPSILON, LEARNING_RATE, MOMENTUM, NETWORKS, weights, with_activations

from . import Unsupported


def version():
    return f"{keras.__version__} on TensorFlow {tf.__version__}"


def prepare(case, arrays, threads, variant):
    raise Unsupported("networks only")


def build(layers, x, arrays):
    """The network applied to `x`, with its weights."""
    k = keras.layers
    for kind, how, activation in with_activations(layers):
        if kind == "conv":
            filters, size, stride, padding, groups, bias = how
            mode = "valid"
            if padding and stride == 1 and 2 * padding == size - 1:
                mode = "same"
            elif padding:
                x = k.ZeroPadding2D(padding)(x)
            if groups == 0:
                layer = k.DepthwiseConv2D(size, stride, mode, use_bias=bias, activation=activation)
            else:
                layer = k.Conv2D(filters, size, stride, mode, groups=groups, use_bias=bias, activation=activation)
        elif kind == "bn":
            layer = k.BatchNormalization(epsilon=EPSILON)
        elif kind == "relu":
            layer = k.ReLU()
        elif kind == "relu6":
            layer = k.ReLU(6)
        elif kind == "pool":
            size, stride, padding = how
            if padding:
                x = k.ZeroPadding2D(padding)(x)  # what it pools is never negative: a ReLU comes before
            layer = k.MaxPooling2D(size, stride)
        elif kind == "gap":
            layer = k.GlobalAveragePooling2D()
        elif kind == "flatten":
            layer = k.Flatten()
        elif kind == "dense":
            layer = k.Dense(how[0], activation=activation)
        else:
            main = build(how[0], x, arrays)
            x = k.Add()([main, build(how[1], x, arrays)])
            continue
        x = layer(x)
        if layer.weights:
            values = [next(arrays) for _ in layer.weights]
            layer.set_weights([v.reshape(w.shape) for v, w in zip(values, layer.weights)])
    return x


def model(name):
    layers, shape, *_ = NETWORKS[name]
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(layers, inputs, iter(weights(name))))


def prepare_network(name, mode, x, labels, threads, variant):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    net = model(name)
    x, labels = tf.constant(x), tf.constant(labels)
    if mode == "infer":
        forward = tf.function(lambda x: net(x, training=False), jit_compile=variant == "jit")
        return lambda: forward(x).numpy(), lambda y: y
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer.build(net.trainable_variables)

    @tf.function(jit_compile=variant == "jit")
    def step(x, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, net(x, training=True))
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply(gradients, net.trainable_variables)
        return loss

    return lambda: step(x, labels).numpy(), float
