"""What every layer is: a name, parameters, and one step forward and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import initializers
from ..activations import ActivationFunction
from ..arrays import as_array
from ..ops.check import any_array
from ..ops.copy import contiguous
from ..ops.tape import revise
from ..parameters import Block, Parameter
from ..penalties import note
from ..registry import Configurable, reject_unknown, snake_case
from ..regularizers import Regularizer
from ._arguments import Shape

_WEIGHTS, _STATISTICS, _LAYERS = 1, 2, 3  # random streams of one seed; 0 is the order of the samples


@dataclass
class Clock:
    """What random layers draw by: the network's seed and the number of its training steps so far."""

    seed: int
    step: int = 0


def fresh_seed() -> int:
    """A seed that the operating system draws."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)


class Layer(Configurable):
    """Base class of all layers.

    A layer of your own sets its arguments as attributes of the same name, and defines `compute_output_shape`, `forward`,
    `backward` and, if it has weights, `create_weights`.

    Parameters
    ----------
    name : str, optional
        Unique in its network; by default from the class name, numbered by the network: "conv2d", "conv2d_1".
    trainable : bool
        False freezes the weights: `fit` leaves them as they are.
    dtype : str, optional
        "float32" or "float64"; by default that of the network.

    Attributes
    ----------
    weights : list of Parameter
        In Keras's order, trainable ones first.
    input_shape, output_shape : tuple
        With None for the batch; None before the layer is built.
    activation : ActivationFunction or None
        The function that the layer ends with, if it is one.
    activity_regularizer : Regularizer or None
        What the layer's output adds to the loss.
    needs_input_gradient : bool
        If False, `backward` need not compute the gradient with respect to its input, and returns None.
    """

    activation: ActivationFunction | None = None
    activity_regularizer: Regularizer | None = None
    needs_input_gradient: bool = True
    _free: ClassVar[frozenset[str]] = frozenset({"needs_input_gradient"})  # attributes that no plan depends on
    ndim: ClassVar[int | None] = None  # dimensions of the input, the batch included; None: any

    def __setattr__(self, name: str, value: Any) -> None:
        """Whatever a network has recorded is out of date when a layer changes."""
        if name[0] != "_" and name not in self._free:
            revise()
        super().__setattr__(name, value)

    def __init__(
        self, *, name: str | None = None, trainable: bool = True, dtype: Any = None, **unknown: Any
    ) -> None:
        reject_unknown(type(self), unknown)
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"{type(self).__name__}: name must be a string without '/', got {name!r}")
        self._name = name
        if not isinstance(trainable, bool):
            raise TypeError(f"{type(self).__name__}: trainable must be True or False, got {trainable!r}")
        self._trainable = trainable
        self.dtype = None if dtype is None else float_dtype(dtype)
        self.input_shape: Shape = None  # type: ignore[assignment]  # None until the layer is built
        self.output_shape: Shape = None  # type: ignore[assignment]
        self._fixed_axes: dict[int, int] = {}
        self._parameters: list[Parameter] = []
        self._clock = Clock(0)
        self._stream = 0
        self._saved: Any = None
        self._activity: np.ndarray | None = None
        self._block: Block | None = None
        self._statistics: Block | None = None

    # --- what a layer defines --------------------------------------------------------------------------------------

    def create_weights(self, input_shape: Shape) -> None:
        """Call `add_weight` for each weight; the values come later."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape that `forward` makes of `input_shape`; the first axis is the batch."""
        return input_shape

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Return the layer's output; keep what `backward` needs in `_saved` if `training`, nothing at all otherwise."""
        raise NotImplementedError

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """Write the gradients of the weights into their `grad`, over what was there, and return that of the input.

        Parameters
        ----------
        dy : ndarray
            Gradient of the loss with respect to what the last `forward` returned.

        Raises
        ------
        RuntimeError
            No ``forward(x, training=True)`` came before.
        """
        raise NotImplementedError

    def finish_step(self) -> None:
        """Called once after each training step that was good; moving averages move here."""

    # --- weights ---------------------------------------------------------------------------------------------------

    def add_weight(
        self, name: str, shape: Sequence[int], initializer: Any = "glorot_uniform", trainable: bool = True,
        regularizer: Any = None, constraint: Any = None,
    ) -> Parameter:  # fmt: skip
        """Declare a weight: what `create_weights` calls."""
        parameter = Parameter(name, tuple(shape), initializers.get(initializer), trainable, regularizer, constraint)
        self._parameters.append(parameter)
        return parameter

    @property
    def sublayers(self) -> Sequence[Layer]:
        """Layers inside this one, in order."""
        return ()

    def named_sublayers(self) -> list[tuple[str, Layer]]:
        """The same with the names that model files know them by."""
        return [(layer.name, layer) for layer in self.sublayers]

    @property
    def weights(self) -> list[Parameter]:
        own = sorted(self._parameters, key=lambda p: not p.trainable)
        return own + [p for layer in self.sublayers for p in layer.weights]

    @property
    def trainable_weights(self) -> list[Parameter]:
        own = [p for p in self._parameters if p.trainable and self._trainable]
        return own + [p for layer in self.sublayers for p in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        trainable = {id(p) for p in self.trainable_weights}
        return [p for p in self.weights if id(p) not in trainable]

    @property
    def trainable(self) -> bool:
        """Whether `fit` may change the weights. Setting it sets it for the layers inside, too; each can be set again after."""
        return self._trainable or any(layer.trainable for layer in self.sublayers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self.sublayers:
            layer.trainable = value

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of the weights, in Keras's order and shapes."""
        return [np.asarray(p) for p in self.weights]

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Set all weights at once; if one doesn't fit, none is changed.

        Raises
        ------
        ValueError
            Wrong number, a wrong shape, or not numbers.
        """
        if not self.built:
            raise RuntimeError(f'layer "{self.name}": set_weights before build: the shapes are not known yet')
        parameters, values = self.weights, [as_array(w) for w in weights]
        if len(values) != len(parameters):
            raise ValueError(f'layer "{self.name}": set_weights: expected {len(parameters)} arrays, got {len(values)}')
        for parameter, value in zip(parameters, values):
            if value.shape != parameter.shape:
                raise ValueError(
                    f'layer "{self.name}": set_weights: {parameter.name!r} has shape {parameter.shape}, got {value.shape}'
                )
            if value.dtype.kind not in "fiub" or not np.isfinite(value).all():
                raise ValueError(f'layer "{self.name}": set_weights: {parameter.name!r} must be finite numbers, got {value}')
        for parameter, value in zip(parameters, values):
            parameter.data[...] = value

    def count_params(self) -> int:
        """Number of all weights' elements."""
        return sum(p.size for p in self.weights)

    # --- building --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:  # type: ignore[override]
        return self._name or snake_case(type(self).__name__)

    @property
    def built(self) -> bool:
        return self.input_shape is not None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of `input_shape`, whose first axis is the batch (None)."""
        self._connect((None, *tuple(input_shape)[1:]), np.dtype(np.float32) if self.dtype is None else self.dtype)
        self._allocate(fresh_seed())
        assert self._block is not None
        self._block.with_gradients()

    def _connect(self, input_shape: Shape, dtype: np.dtype) -> Shape:
        """Fit the layer to its input's shape, without any values; return the output's shape."""
        self.check_input(input_shape)
        if self.dtype is not None and self.dtype != dtype:
            raise ValueError(f'layer "{self.name}": dtype {self.dtype} in a network of {dtype}')
        if not self.built:
            self._parameters.clear()
            self.create_weights(input_shape)
        output_shape = self.compute_output_shape(input_shape)
        self.dtype, self.input_shape, self.output_shape = dtype, input_shape, output_shape
        return output_shape

    def _allocate(self, seed: int) -> None:
        """Give the weights their memory, and values to those that have none."""
        assert self.dtype is not None
        weights = self.weights
        self._block = Block([p for p in weights if p.trainable], self.dtype, (seed, _WEIGHTS))
        self._statistics = Block([p for p in weights if not p.trainable], self.dtype, (seed, _STATISTICS))

    def _bind(self, clock: Clock, positions: Iterator[int]) -> None:
        """Share the clock of the network with all layers inside, and give each a random stream of its own."""
        self._clock = clock
        self._stream = int(np.random.SeedSequence([clock.seed, _LAYERS, next(positions)]).generate_state(1, np.uint64)[0])
        for layer in self.sublayers:
            layer._bind(clock, positions)

    # --- calling ---------------------------------------------------------------------------------------------------

    def check_input(self, shape: Shape) -> None:
        """Raise the ValueError if the layer can't take inputs of `shape`."""
        if self.ndim is not None and len(shape) != self.ndim:
            raise ValueError(f'layer "{self.name}": expected an input of {self.ndim} dimensions, got {shape}')
        for axis, size in self._fixed_axes.items():
            if len(shape) < 2 or shape[axis] != size:
                raise ValueError(
                    f'layer "{self.name}": expected axis {axis} of input shape to have value {size}, got {shape}'
                )

    def __call__(self, x: Any, training: bool = False) -> np.ndarray:
        """Check `x`, cast it to the layer's dtype, and return `forward(x)`; builds the layer at the first call."""
        x = any_array(x, type(self).__name__, "x")
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{type(self).__name__}: x must be numbers, got dtype {x.dtype}")
        if not self.built:
            self.build((None, *x.shape[1:]))
        if x.shape[1:] != self.input_shape[1:]:
            self.check_input(x.shape)
            self.compute_output_shape(x.shape)
        return self.forward(x.astype(self.dtype, copy=False), training)

    def forget(self) -> None:
        """Drop what `forward` saved, here and inside."""
        self._saved = self._activity = None
        for layer in self.sublayers:
            layer.forget()

    def _take(self) -> Any:
        """Return what `forward` saved, once."""
        saved, self._saved = self._saved, None
        if saved is None:
            raise RuntimeError(f'layer "{self.name}": backward without a forward(x, training=True) before it')
        return saved

    def _regularized(self, y: np.ndarray, training: bool) -> np.ndarray:
        """Return the layer's output `y`, its penalty noted where it belongs to a loss."""
        if self.activity_regularizer is not None:
            noted = note(self.activity_regularizer, y)
            if training:
                self._activity = y if noted else None
        return y

    def _regularized_back(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient with respect to what `_regularized` returned, that of its penalty included."""
        y, self._activity = self._activity, None
        if y is None:
            return dy
        assert self.activity_regularizer is not None
        return self.activity_regularizer.output_gradient(dy, y)

    # --- copies ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Everything but memory: parameters carry copies of their values, and the owner lays them out again."""
        fresh = dict.fromkeys(("_saved", "_activity", "_block", "_statistics"))
        return {**vars(self), **fresh, "_owner": self._block is not None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        if vars(self).pop("_owner"):
            self._allocate(self._clock.seed)
            assert self._block is not None
            self._block.with_gradients()


def float_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64."""
    result = np.dtype(dtype)
    if result not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return result


def channels_last(x: np.ndarray, data_format: str) -> np.ndarray:
    """View with the channels last. Between layers of one network that is the memory's own order, so nothing is copied."""
    return x if data_format == "channels_last" else np.moveaxis(x, 1, -1)


def like_input(y: np.ndarray, data_format: str) -> np.ndarray:
    """View of the channels-last `y` in the layer's own format."""
    return y if data_format == "channels_last" else np.moveaxis(y, -1, 1)


def reshaped(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """View of `x` in another shape; a copy if its memory is in another order."""
    return contiguous(x).reshape(shape)
