import pytest

from .cases import Case


@pytest.mark.parametrize(
    ("m", "k", "n"), [(16, 16, 16), (64, 64, 64), (256, 256, 256), (1024, 1024, 1024), (64, 1600, 128), (4096, 64, 64)]
)
def bench_matmul(compare, m, k, n):
    compare(Case("matmul", cin=k, size=(m, n)))
