"""How a network learns: compile, fit, evaluate, predict, with Keras's arguments and defaults.

A training step is forward, loss, backward, and then one short stretch in which all weights change. Ctrl-C, an exception or a
loss that is not finite before that stretch leave the weights of the last step; inside it nothing can interrupt.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from . import losses as losses_module
from . import metrics as metrics_module
from . import optimizers
from .batches import ArrayBatches, Batch, Batches, IterableBatches, batches, class_weights, whole
from .callbacks import BackupAndRestore, Callback, CallbackList, History, TerminateOnNaN
from .callbacks.backup import Position
from .callbacks.progress import ProgressLine, TestProgressLine, verbosity
from .losses import Loss
from .ops.check import any_array
from .ops.locks import Once, StepLock, uninterrupted
from .optimizers import Optimizer
from .penalties import regularizes_outputs
from .plans import Plans, Step, infer
from .registry import serialize
from .scores import Scores

if TYPE_CHECKING:
    from .layers import Layer
    from .layers.base import Clock
    from .models import Sequential
    from .parameters import Block

    _Base = Layer
else:
    _Base = object


class Trainer(_Base):
    """The part of `Sequential` that trains."""

    _clock: Clock
    _block: Block | None
    _free = frozenset({"needs_input_gradient", "optimizer", "loss", "stop_training", "history", "run_eagerly"})

    def _init_trainer(self) -> None:
        self.optimizer: Optimizer | None = None
        self.loss: Loss | None = None
        self.stop_training = False
        self.history: History | None = None
        self._plain_metrics: list[Any] = []
        self._weighted_metrics: list[Any] = []
        self.run_eagerly = False
        self._init_locks()

    @property
    def _network(self) -> Sequential:
        return cast("Sequential", self)

    def _init_locks(self) -> None:
        self._lock = StepLock()
        self._plans = Plans(self._lock)
        self._training = Once()

    # --- compile -----------------------------------------------------------------------------------------------------

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *, metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None, run_eagerly: bool = False,
    ) -> None:  # fmt: skip
        """Say how the network is trained.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str or Loss
            After a softmax or sigmoid, the matching cross-entropy is computed on its input.
        metrics : list of str or Metric, optional
            "accuracy" is the binary, categorical or sparse one, as the targets are.
        weighted_metrics : list of str or Metric, optional
            Weighted by `sample_weight` and `class_weight`.
        run_eagerly : bool
            Run layer by layer always, rather than by execution plans: the same bits, slower, and a debugger stops in it.
        """
        if not isinstance(run_eagerly, bool):
            raise TypeError(f"compile: run_eagerly must be True or False, got {run_eagerly!r}")
        if loss is None:
            raise TypeError("compile: loss is missing")
        for name, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if given is not None and not isinstance(given, (list, tuple)):
                raise TypeError(f"compile: {name} must be a list, got {given!r}")
            for metric in given or ():
                if metric not in ("accuracy", "acc"):
                    metrics_module.get(metric)
        new_optimizer, new_loss = optimizers.get(optimizer), losses_module.get(loss)
        self.optimizer, self.loss, self.run_eagerly = new_optimizer, new_loss, run_eagerly
        self._plain_metrics, self._weighted_metrics = list(metrics or ()), list(weighted_metrics or ())

    @property
    def compiled(self) -> bool:
        return self.loss is not None

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `evaluate` returns, in order, as they were given to `compile`."""
        given = self._plain_metrics + self._weighted_metrics
        return ["loss", *(m if isinstance(m, str) else str(metrics_module.get(m).name) for m in given)]

    def _compile_config(self) -> dict[str, Any] | None:
        if self.loss is None:
            return None
        return {
            "optimizer": serialize(self.optimizer),
            "loss": serialize(self.loss),
            "metrics": serialize(self._plain_metrics),
            "weighted_metrics": serialize(self._weighted_metrics),
        }

    # --- fit ---------------------------------------------------------------------------------------------------------

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1, verbose: Any = "auto",
        callbacks: Iterable[Any] | None = None, validation_split: float = 0.0, validation_data: Any = None,
        shuffle: bool = True, class_weight: Mapping[int, float] | None = None, sample_weight: Any = None,
        initial_epoch: int = 0, steps_per_epoch: int | None = None, validation_steps: int | None = None,
        validation_batch_size: int | None = None, validation_freq: int = 1, *, on_nonfinite: str = "raise",
        check_finite: bool = False,
    ) -> History:  # fmt: skip
        """Train.

        Parameters
        ----------
        x : array_like (samples, ...) or iterable of batches
            Batches are (x, y) or (x, y, sample_weight). An iterable is walked once an epoch, an iterator goes on.
        y : array_like (samples, ...), optional
        batch_size : int, optional
            Samples a step, 32 by default.
        epochs : int
            Number of the epoch to stop before; counted from `initial_epoch`.
        verbose : "auto", 0, 1 or 2
            Nothing, a bar, or a line an epoch; "auto" is a bar on a terminal and lines elsewhere.
        callbacks : list of Callback, optional
        validation_split : float
            Fraction of the samples, the last ones, that is kept for validation.
        validation_data : (x, y), (x, y, sample_weight) or iterable of batches, optional
        shuffle : bool
            New order in every epoch, from the network's seed and the number of its steps. Only for arrays.
        class_weight : dict of int to float, optional
        sample_weight : array_like (samples,), optional
        initial_epoch : int
        steps_per_epoch, validation_steps : int, optional
            Needed if the batches come from an iterator.
        validation_batch_size : int, optional
            By default `batch_size`.
        validation_freq : int
            Validate every so many epochs.
        on_nonfinite : "raise", "warn" or "ignore"
            What a loss or gradient that is not finite does; "raise" leaves the weights of the last good step.
        check_finite : bool
            Look for NaN and infinity in x first.

        Returns
        -------
        History

        Raises
        ------
        FloatingPointError
            The loss or the gradient is not finite.
        RuntimeError
            Not compiled, or `fit` is already running on this model.
        """
        self._require("fit", built=False)
        verbose = verbosity(verbose)
        first, last = whole("fit", "initial_epoch", initial_epoch, 0), whole("fit", "epochs", epochs, 0)
        frequency = whole("fit", "validation_freq", validation_freq, 1)
        _check_choice("fit", "on_nonfinite", on_nonfinite, ("raise", "warn", "ignore"))
        if steps_per_epoch is not None:
            steps_per_epoch = whole("fit", "steps_per_epoch", steps_per_epoch, 1)
        data = batches("fit", x, y, sample_weight, batch_size, steps_per_epoch, "steps_per_epoch")
        if isinstance(data, IterableBatches) and data.is_endless and steps_per_epoch is None:
            raise ValueError(
                "fit: steps_per_epoch is needed when the batches come from a generator, which may never end"
            )
        validation: Batches | None = None
        if validation_data is not None:
            size = validation_batch_size or batch_size
            validation = _validation(validation_data, size, validation_steps)
        elif validation_split:
            if not isinstance(data, ArrayBatches):
                raise ValueError("fit: validation_split needs arrays; give validation_data")
            data, validation = data.split("fit", validation_split)
            validation.batch_size = validation_batch_size or data.batch_size
        with self._exclusively("fit"), ExitStack() as stack:
            if isinstance(data, ArrayBatches):
                self._check_data("fit", data, check_finite)
            if isinstance(validation, ArrayBatches):
                self._check_data("fit: validation_data", validation, check_finite)
            steps = steps_per_epoch if steps_per_epoch is not None else _length(data)
            history = History()
            lines = [ProgressLine(verbose)] if verbose else []
            chosen = sorted([*lines, *_listed(callbacks), history], key=lambda c: getattr(c, "runs_last", False))
            listeners = CallbackList(chosen, self, _params(last, steps, verbose))
            backup = next((c for c in chosen if isinstance(c, BackupAndRestore)), None)
            if on_nonfinite == "raise" and any(isinstance(c, TerminateOnNaN) for c in chosen):
                on_nonfinite = "stop"
            self.history, self.stop_training = history, False
            try:
                if backup is not None:
                    stack.enter_context(backup.hearing_sigterm())
                listeners.on_train_begin()
                position = backup.restore(listeners) if backup is not None else None
                position = position or Position(first, 0, self._clock.step)
                self.stop_training = position.stopped
                logs: dict[str, float] = {}
                while position.epoch < last and not self.stop_training:
                    epoch = position.epoch
                    listeners.on_epoch_begin(epoch)
                    logs = self._epoch(
                        data, position, shuffle, steps_per_epoch, class_weight, on_nonfinite, listeners, backup
                    )
                    if validation is not None and (epoch + 1) % frequency == 0:
                        scores = self._evaluate(validation, validation_steps, listeners)
                        logs.update({f"val_{name}": value for name, value in scores.items()})
                    listeners.on_epoch_end(epoch, logs)
                    position = Position(epoch + 1, 0, self._clock.step, stopped=self.stop_training)
                    if backup is not None:
                        backup.after_epoch(position)
                self._finish_average()
                listeners.on_train_end(logs)
            finally:
                for line in lines:
                    line.close()
        return history

    def _epoch(
        self, data: Batches, start: Position, shuffle: bool, steps: int | None, class_weight: Mapping[int, float] | None,
        on_nonfinite: str, listeners: CallbackList, backup: BackupAndRestore | None,
    ) -> dict[str, float]:  # fmt: skip
        epoch, number = start.epoch, start.batch
        order = self._order(data.samples, start.first_step) if shuffle and isinstance(data, ArrayBatches) else None
        scores = Scores(self._plain_metrics, self._weighted_metrics)
        if start.scores is not None:
            scores.set_state(start.scores)
        for number, batch in enumerate(itertools.islice(data.epoch(order), start.batch, steps), start.batch + 1):
            listeners.on_train_batch_begin(number - 1)
            where = f"epoch {epoch + 1}, batch {number}"
            if class_weight is not None:
                assert batch.y is not None
                factor = class_weights("fit", class_weight, batch.y)
                old = batch.sample_weight
                batch = batch._replace(sample_weight=factor if old is None else factor * old)
            try:
                self._train(batch, scores, where, on_nonfinite)
            except ValueError as error:
                if isinstance(data, ArrayBatches):
                    raise
                raise ValueError(f"fit: batch {number}: {error}") from None
            except FloatingPointError as error:
                if on_nonfinite != "stop":
                    raise
                warnings.warn(f"{error}; training stops", RuntimeWarning, stacklevel=3)
                scores.loss.update_state(math.nan)
                self.stop_training = True
            listeners.on_train_batch_end(number - 1, scores.result())
            if backup is not None and not self.stop_training:
                backup.after_batch(Position(epoch, number, start.first_step, scores.get_state()))
            if self.stop_training:
                break
        if number == start.batch == 0:
            raise ValueError(f"fit: x yielded no batch in epoch {epoch + 1}")
        if steps is not None and number < steps and not self.stop_training:
            warnings.warn(f"fit: x ended after {number} of {steps} steps; training stops", stacklevel=3)
            self.stop_training = True
        return scores.result()

    def _order(self, samples: int, first_step: int) -> np.ndarray:
        """The shuffled order of an epoch, from the seed and the number of its first step: a resumed training repeats it."""
        sequence = np.random.SeedSequence([self._clock.seed, 0, first_step])
        return np.random.Generator(np.random.PCG64(sequence)).permutation(samples)

    def _finish_average(self) -> None:
        """At the end of `fit` the moving average of the weights takes their place, if the optimizer keeps one."""
        if self.optimizer is not None and self.optimizer.use_ema and self._block is not None:
            block = self._memory()
            with uninterrupted(), self._lock.writing():
                self.optimizer.finish(block.data, block.runs(self.trainable_weights))

    def _restore_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Put back what `get_weights` returned, whatever it was."""
        with uninterrupted(), self._lock.writing():
            for parameter, values in zip(self.weights, weights):
                parameter.data[...] = values

    def _train(self, batch: Batch, scores: Scores, where: str, on_nonfinite: str) -> None:
        """Take one step."""
        optimizer = self.optimizer
        assert optimizer is not None and self.dtype is not None
        x, y, w = self._cast("fit", batch)
        block = self._memory()
        grad = block.with_gradients()
        trainable = self.trainable_weights
        runs = block.runs(trainable)
        regularized = [p for p in trainable if p.regularizer is not None]
        loss, is_twin = self._loss_on_logits()
        with Step(self._network, x, is_twin, self.run_eagerly, grad, runs) as step:
            outputs = step.forward()
            y = loss.targets(y, outputs.shape, self.dtype)
            values, saved = loss.forward(y, outputs)
            value, dvalues = loss.reduce(values, w)
            value += sum(p.regularizer(p.data) for p in regularized)
            value += sum(map(float, step.penalties))
            if not math.isfinite(value):
                _not_finite("loss", value, where, x, on_nonfinite)
            self.needs_input_gradient = False
            try:
                size = step.backward(loss.backward(dvalues, saved))
            finally:
                self.needs_input_gradient = True
            for parameter in regularized:
                parameter.grad += parameter.regularizer.gradient(parameter.data)
            if regularized:
                size = sum(map(float, step.sizes()))
            if math.isfinite(value) and not math.isfinite(size):
                _not_finite("gradient", size, where, x, on_nonfinite)
            optimizer.build(block.data)
            if optimizer.clips:
                optimizer.clip(grad, block.parts(trainable))
            with uninterrupted(), self._lock.writing():
                optimizer.apply(block.data, grad, runs)
                for parameter in trainable:
                    parameter.constrain()
                step.finish()
                self._clock.step += 1
            predictions = self._predictions(outputs, is_twin) if scores.identifiers else None
            scores.update(value, y, predictions, w)

    # --- evaluate, predict -------------------------------------------------------------------------------------------

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: Any = "auto", sample_weight: Any = None,
        steps: int | None = None, callbacks: Iterable[Any] | None = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """Return the loss and the metrics over some data.

        Parameters
        ----------
        x, y, batch_size, verbose, sample_weight, callbacks
            As for `fit`.
        steps : int, optional
            Stop after so many batches.
        return_dict : bool
            By name, rather than a list (or one number if there are no metrics).
        """
        self._require("evaluate")
        verbose = verbosity(verbose)
        data = batches("evaluate", x, y, sample_weight, batch_size, steps)
        if isinstance(data, ArrayBatches):
            self._check_data("evaluate", data, False)
        lines = [TestProgressLine(verbose)] if verbose else []
        params = _params(1, steps if steps is not None else _length(data), verbose)
        listeners = CallbackList([*lines, *_listed(callbacks)], self, params)
        try:
            scores = self._evaluate(data, steps, listeners)
        finally:
            for line in lines:
                line.close()
        return scores if return_dict else _unwrapped(scores)

    def _evaluate(self, data: Batches, steps: int | None, listeners: CallbackList) -> dict[str, float]:
        scores = Scores(self._plain_metrics, self._weighted_metrics)
        listeners.on_test_begin()
        number = 0
        for number, batch in enumerate(itertools.islice(data.epoch(), steps), 1):
            listeners.on_test_batch_begin(number - 1)
            self._test(batch, scores)
            listeners.on_test_batch_end(number - 1, scores.result())
        if number == 0:
            raise ValueError("evaluate: x yielded no batch")
        result = scores.result()
        listeners.on_test_end(result)
        return result

    def _test(self, batch: Batch, scores: Scores) -> None:
        assert self.dtype is not None
        x, y, w = self._cast("evaluate", batch)
        loss, is_twin = self._loss_on_logits()
        penalties: list[np.ndarray] | None = [] if regularizes_outputs(self) else None
        with self._lock.reading():
            outputs = infer(self._network, x, is_twin, self.run_eagerly, penalties)
            penalty = sum(p.regularizer(p.data) for p in self.trainable_weights if p.regularizer is not None)
            penalty += sum(map(float, penalties or ()))
        y = loss.targets(y, outputs.shape, self.dtype)
        value = loss.reduce(loss.forward(y, outputs)[0], w)[0] + penalty
        scores.update(value, y, self._predictions(outputs, is_twin) if scores.identifiers else None, w)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None,
        callbacks: Iterable[Any] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return the network's outputs for all samples of `x`; a sample's bits don't depend on the others.

        May be called from many threads at once, and while `fit` runs: a batch is computed with the weights of one step.

        Parameters
        ----------
        x : array_like (samples, ...) or iterable of batches
        batch_size, verbose, steps, callbacks
            As for `evaluate`.

        Returns
        -------
        ndarray (samples, ...)
        """
        self._require("predict", compiled=False)
        verbose = verbosity(verbose)
        data = batches("predict", x, None, None, batch_size, steps)
        if isinstance(data, ArrayBatches):
            self._check_shape("predict", data.x)
        lines = [TestProgressLine(verbose)] if verbose else []
        params = _params(1, steps if steps is not None else _length(data), verbose)
        listeners = CallbackList([*lines, *_listed(callbacks)], self, params)
        parts = []
        try:
            listeners.on_predict_begin()
            for number, batch in enumerate(itertools.islice(data.epoch(), steps)):
                listeners.on_predict_batch_begin(number)
                parts.append(self.predict_on_batch(batch.x))
                listeners.on_predict_batch_end(number)
            listeners.on_predict_end()
        finally:
            for line in lines:
                line.close()
        if not parts:
            raise ValueError("predict: x yielded no batch")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # --- one batch ---------------------------------------------------------------------------------------------------

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False, *, on_nonfinite: str = "raise",
    ) -> Any:  # fmt: skip
        """Take one training step; return its loss and metrics, of this batch alone, as `evaluate` does."""
        self._require("train_on_batch", built=False)
        _check_choice("train_on_batch", "on_nonfinite", on_nonfinite, ("raise", "warn", "ignore"))
        data = batches("train_on_batch", x, y, sample_weight)
        if not isinstance(data, ArrayBatches):
            raise ValueError("train_on_batch: y is missing")
        scores = Scores(self._plain_metrics, self._weighted_metrics)
        with self._exclusively("train_on_batch"):
            self._check_data("train_on_batch", data, False, targets=False)
            batch = data.take(slice(None))
            if class_weight is not None:
                assert batch.y is not None
                factor = class_weights("train_on_batch", class_weight, batch.y)
                old = batch.sample_weight
                batch = batch._replace(sample_weight=factor if old is None else factor * old)
            self._train(batch, scores, f"step {self._clock.step + 1}", on_nonfinite)
        return scores.result() if return_dict else _unwrapped(scores.result())

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the loss and the metrics of one batch, as `evaluate` does."""
        self._require("test_on_batch")
        data = batches("test_on_batch", x, y, sample_weight)
        if not isinstance(data, ArrayBatches):
            raise ValueError("test_on_batch: y is missing")
        self._check_data("test_on_batch", data, False, targets=False)
        scores = Scores(self._plain_metrics, self._weighted_metrics)
        self._test(data.take(slice(None)), scores)
        return scores.result() if return_dict else _unwrapped(scores.result())

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Return the network's outputs for one batch."""
        if not self.run_eagerly and (y := self._plans.infer(x)) is not None:
            return y
        self._require("predict_on_batch", compiled=False)
        x = any_array(x, "predict_on_batch", "x")
        self._check_shape("predict_on_batch", x)
        with self._lock.reading():
            return infer(self._network, x, eager=self.run_eagerly)

    # --- shared ------------------------------------------------------------------------------------------------------

    def _exclusively(self, function: str) -> AbstractContextManager[None]:
        return self._training.alone(f"{function}: fit is already running on this model")

    def _require(self, function: str, built: bool = True, compiled: bool = True) -> None:
        if not self.sublayers:
            raise ValueError(f"{function}: the network has no layers")
        if compiled and not self.compiled:
            raise RuntimeError(f"{function}: call compile first")
        if built and not self.built:
            raise RuntimeError(f"{function}: the network has no weights yet: call fit or build first")

    def _memory(self) -> Block:
        """The block of weights; laid out again if another network has taken over one of the layers."""
        if self._block is None or not self._block.is_bound:
            with self._lock.writing():
                self._allocate(self._clock.seed)
        assert self._block is not None
        return self._block

    def _check_shape(self, function: str, x: np.ndarray) -> None:
        if x.ndim != len(self.input_shape):
            raise ValueError(f"{function}: the network takes {self.input_shape}, got x of shape {x.shape}")
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{function}: x must be numbers, got dtype {x.dtype}")
        if x.shape[1:] != self.input_shape[1:]:
            self.check_input(x.shape)
            self.compute_output_shape(x.shape)

    def _check_data(self, function: str, data: ArrayBatches, check_finite: bool, targets: bool = True) -> None:
        """Fail before the first step rather than in the middle: builds the network if it is not built. A step looks at its
        `targets` itself."""
        if not self.built:
            self.build((None, *data.x.shape[1:]))
        assert self.dtype is not None and self.loss is not None and data.y is not None
        self._check_shape(function, data.x)
        if targets:
            shape = self.output_shape if data.x.shape[1:] == self.input_shape[1:] else self.compute_output_shape(data.x.shape)
            self.loss.targets(data.y, (len(data.x), *shape[1:]), self.dtype)
        if check_finite and data.x.dtype.kind == "f":
            for start in range(0, data.samples, 1024):
                _check_x_finite(function, data.x[start : start + 1024], start)

    def _cast(self, function: str, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Bring all but x into the network's dtype: that is cast where it goes in."""
        if batch.y is None:
            raise ValueError(f"{function}: y is missing")
        if not self.built:
            self.build((None, *batch.x.shape[1:]))
        self._check_shape(function, batch.x)
        w = batch.sample_weight
        return batch.x, batch.y, None if w is None else w.astype(self.dtype)

    def _loss_on_logits(self) -> tuple[Loss, bool]:
        """The loss to compute, and whether that is the twin for what goes into the last activation."""
        assert self.loss is not None
        twin = None if regularizes_outputs(self._network.layers[-1]) else self.loss.on_logits(self.activation)
        return (self.loss, False) if twin is None else (twin, True)

    def _predictions(self, outputs: np.ndarray, are_logits: bool) -> np.ndarray:
        if not are_logits:
            return outputs
        assert self.activation is not None
        return self.activation.forward(outputs)


def _not_finite(what: str, value: float, where: str, x: np.ndarray, on_nonfinite: str) -> None:
    if on_nonfinite == "ignore":
        return
    kind = "nan" if math.isnan(value) else "inf"
    message = f"{what} became {kind} at {where}"
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(1)
    if bad.any():
        message += f"; x of this batch contains NaN or infinity, first at its sample {int(bad.argmax())}"
    if on_nonfinite in ("raise", "stop"):
        raise FloatingPointError(message)
    warnings.warn(message, RuntimeWarning, stacklevel=4)


def _check_x_finite(function: str, x: np.ndarray, start: int) -> None:
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(1)
    if bad.any():
        sample = int(bad.argmax())
        kind = "NaN" if np.isnan(x[sample]).any() else "infinity"
        raise ValueError(f"{function}: x contains {kind} at sample {start + sample}")


def _validation(data: Any, batch_size: int | None, steps: int | None) -> Batches:
    if isinstance(data, (tuple, list)) and len(data) in (2, 3) and not isinstance(data[0], tuple):
        x, y, sample_weight = (*data, None)[:3]
        return ArrayBatches("fit: validation_data", x, y, sample_weight, batch_size)
    return batches("fit: validation_data", data, None, None, None, steps, "validation_steps")


def _check_choice(function: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{function}: {name} must be {', '.join(map(repr, choices))}, got {value!r}")


def _listed(callbacks: Any) -> list[Any]:
    """Callbacks from None, one, or many."""
    if callbacks is None or isinstance(callbacks, Callback):
        return [] if callbacks is None else [callbacks]
    return list(callbacks)


def _length(data: Batches) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None


def _params(epochs: int, steps: int | None, verbose: int) -> dict[str, Any]:
    return {"epochs": epochs, "steps": steps, "verbose": verbose}


def _unwrapped(scores: dict[str, float]) -> float | list[float]:
    values = list(scores.values())
    return values[0] if len(values) == 1 else values
