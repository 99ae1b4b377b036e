"""cnnfast: a CNN engine for CPUs. NumPy arrays in, NumPy arrays out."""

__version__ = "0.1.0"
