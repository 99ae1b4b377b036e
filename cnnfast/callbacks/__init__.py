"""What happens between the steps of a training, by Keras's names."""

from .backup import BackupAndRestore
from .base import Callback, CallbackList, History
from .checkpoint import ModelCheckpoint
from .monitor import EarlyStopping, ReduceLROnPlateau
from .plain import CSVLogger, LambdaCallback, LearningRateScheduler, TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
