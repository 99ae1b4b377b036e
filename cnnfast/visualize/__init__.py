"""Seeing inside a network: what its filters look like, what each layer makes of an image, why it answers as it does.

Every function returns arrays, and needs NumPy only. With `path="picture.png"` it also writes a picture, and with
`figure=` it draws into a Matplotlib figure (`pip install cnnfast[plot]`).
"""

from .architecture import LayerSize, architecture, cost
from .drawing import mosaic
from .maps import feature_maps, filters
from .training import confusion_matrix, training_curves
from .walking import walk
from .why import activation_maximization, grad_cam, occlusion, saliency

__all__ = [
    "LayerSize", "activation_maximization", "architecture", "confusion_matrix", "cost", "feature_maps", "filters",
    "grad_cam", "mosaic", "occlusion", "saliency", "training_curves", "walk",
]
