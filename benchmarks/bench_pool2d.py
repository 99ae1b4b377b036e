import pytest

from .cases import Case


@pytest.mark.parametrize(("channels", "size", "k", "stride"), [(64, 112, 2, 2), (32, 26, 2, 2), (64, 56, 3, 2), (6, 28, 2, 2)])
def bench_max_pool2d(compare, channels, size, k, stride):
    compare(Case("max_pool2d", "forward", 8, channels, (size, size), 1, (k, k), stride))
