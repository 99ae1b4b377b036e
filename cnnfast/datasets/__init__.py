"""Images to learn from, as NumPy arrays.

Every loader returns uint8 images, channels last, and int64 labels. A file that is damaged, cut short, too big or not
what it claims to be is a `ValueError` that names its path.
"""

from .cifar import load_cifar
from .idx import load_digits, load_idx
from .images import load_folder, load_image

__all__ = ["load_cifar", "load_digits", "load_folder", "load_idx", "load_image"]
