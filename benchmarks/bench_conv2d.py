import pytest

from .cases import PASSES, Case

LAYERS = {  # cin, in, cout, k, stride, padding, groups
    "3x3 64@56": (64, 56, 64, 3, 1, 1, 1),
    "3x3 128@28": (128, 28, 128, 3, 1, 1, 1),
    "3x3 256@14": (256, 14, 256, 3, 1, 1, 1),
    "3x3 512@7": (512, 7, 512, 3, 1, 1, 1),
    "1x1 1024-256@14": (1024, 14, 256, 1, 1, 0, 1),
    "7x7s2 3-64@224": (3, 224, 64, 7, 2, 3, 1),
    "3x3 1-32@28": (1, 28, 32, 3, 1, 0, 1),
    "3x3s2 24-40@30": (24, 30, 40, 3, 2, 1, 1),
    "5x5 6-16@14": (6, 14, 16, 5, 1, 0, 1),
    "depthwise 128@56": (128, 56, 128, 3, 1, 1, 128),
}


@pytest.mark.parametrize("kind", PASSES)
@pytest.mark.parametrize("name", LAYERS)
def bench_conv2d(compare, name, kind):
    cin, size, cout, k, stride, padding, groups = LAYERS[name]
    compare(Case("conv2d", kind, 8, cin, (size, size), cout, (k, k), stride, padding, 1, groups))
