"""What is measured: the layers of known networks, and others that no list has.

A row of a list is ``(cin, in, cout, k, stride, padding, groups, count)``, as in the networks' papers; `count` is how often
the layer occurs. Maps are square unless ``in`` is a pair.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np

PASSES = ("forward", "input", "weight")
BATCHES = (1, 8, 64)


@dataclass(frozen=True)
class Case:
    """One call: `op` is conv2d, matmul, max_pool2d or relu; the fields that an op does not use keep their default."""

    op: str
    kind: str = "forward"  # the pass: forward, input (backward-data) or weight (backward-weights)
    batch: int = 1
    cin: int = 1
    size: tuple = (1, 1)  # matmul: (m, n)
    cout: int = 1
    kernel: tuple = (1, 1)
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    lists: tuple = field(default=(), compare=False)
    count: int = field(default=1, compare=False)

    @classmethod
    def from_json(cls, fields):
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})

    to_json = asdict

    @property
    def name(self):
        if self.op == "matmul":
            return f"matmul {self.size[0]}x{self.cin}x{self.size[1]}"
        h, w = self.size
        size = f"{h}" if h == w else f"{h}x{w}"
        if self.op == "relu":
            return f"relu {self.cin}@{size} b{self.batch}"
        k, s = "x".join(map(str, self.kernel)), f"s{self.stride}" if self.stride > 1 else ""
        if self.op == "max_pool2d":
            return f"max_pool2d {k}{s} {self.cin}@{size} b{self.batch}"
        d = f"d{self.dilation}" if self.dilation > 1 else ""
        if self.groups == self.cin > 1:
            shape = f"dw {k}{s}{d} {self.cin}@{size}"
        else:
            g = f" g{self.groups}" if self.groups > 1 else ""
            shape = f"{k}{s}{d} {self.cin}->{self.cout}@{size}{g}"
        return f"{shape} {self.kind} b{self.batch}"

    @property
    def input_shape(self):
        return (self.batch, *self.size, self.cin)

    @property
    def weight_shape(self):
        return (*self.kernel, self.cin // self.groups, self.cout)

    @property
    def output_shape(self):
        if self.op == "matmul":
            return self.size
        if self.op == "relu":
            return self.input_shape
        spans = [self.dilation * (k - 1) + 1 for k in self.kernel]
        out = [(n + 2 * self.padding - span) // self.stride + 1 for n, span in zip(self.size, spans, strict=True)]
        return (self.batch, *out, self.cin if self.op == "max_pool2d" else self.cout)

    @property
    def flops(self):
        """Of the direct algorithm, padding counted as multiplied; 0 where memory is the limit."""
        if self.op == "matmul":
            return 2 * self.size[0] * self.size[1] * self.cin
        if self.op == "conv2d":
            return 2 * int(np.prod(self.output_shape)) * int(np.prod(self.weight_shape[:3]))
        return 0

    @property
    def bytes(self):
        """Read once and written once, at least."""
        if self.op == "matmul":
            return 4 * (self.size[0] * self.cin + self.cin * self.size[1] + self.size[0] * self.size[1])
        weights = int(np.prod(self.weight_shape)) if self.op == "conv2d" else 0
        return 4 * (int(np.prod(self.input_shape)) + int(np.prod(self.output_shape)) + weights)


def data(case):
    """The operands of a case, float32, the same in every process: a dict of arrays, channels-last and HWIO."""
    rng = np.random.default_rng(20)

    def normal(*shape, scale=1.0):
        """At the start of a cache line, where every library puts the arrays it makes itself (NumPy's begin 16 bytes later)."""
        size = int(np.prod(shape))
        room = np.empty(size + 16, np.float32)
        array = room[-room.ctypes.data % 64 // 4 :][:size].reshape(shape)
        array[...] = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        return array

    if case.op == "matmul":
        (m, n), k = case.size, case.cin
        return {"x": normal(m, k), "weight": normal(k, n, scale=k**-0.5)}
    arrays = {"x": normal(*case.input_shape)}
    if case.op == "conv2d":
        depth = int(np.prod(case.weight_shape[:3]))
        arrays["weight"] = normal(*case.weight_shape, scale=depth**-0.5)
        if case.kind == "forward":
            arrays["bias"] = normal(case.cout)
        else:
            arrays["dy"] = normal(*case.output_shape)
    return arrays


def error(case, arrays, result):
    """Largest error of `result` at 96 sampled places, over the largest value there; the truth is summed in float64."""
    shape = {"forward": case.output_shape, "input": case.input_shape, "weight": case.weight_shape}[case.kind]
    if tuple(result.shape) != tuple(shape):
        raise ValueError(f"{case.name}: the result is {result.shape}, not {shape}")
    rng = np.random.default_rng(21)
    corners = [tuple(0 for _ in shape), tuple(n - 1 for n in shape)]
    places = corners + [tuple(int(rng.integers(n)) for n in shape) for _ in range(94)]
    truth = np.array([_truth(case, arrays, place) for place in places])
    return float(np.max(np.abs(np.array([result[p] for p in places]) - truth)) / np.max(np.abs(truth)))


def _truth(case, arrays, place):
    x = arrays["x"]
    if case.op == "relu":
        return float(max(x[place], 0))
    if case.op == "matmul":
        return float(x[place[0]].astype(np.float64) @ arrays["weight"][:, place[1]].astype(np.float64))
    (kh, kw), s, p, d = case.kernel, case.stride, case.padding, case.dilation
    if case.op == "max_pool2d":
        n, r, q, c = place
        return float(x[n, max(r * s - p, 0) : r * s - p + kh, max(q * s - p, 0) : q * s - p + kw, c].max())
    weight, cg, per_group = arrays["weight"], case.cin // case.groups, case.cout // case.groups
    _, oh, ow, _ = case.output_shape
    h, w = case.size
    total = 0.0
    if case.kind == "weight":
        i, j, c, o = place
        c += o // per_group * cg
        rows, top = _inside(i * d - p, s, h, oh)
        columns, left = _inside(j * d - p, s, w, ow)
        view = x[:, top::s, left::s, c][:, : len(rows), : len(columns)]
        dy = arrays["dy"][:, rows.start : rows.stop, columns.start : columns.stop, o]
        return float(np.einsum("nhw,nhw->", view, dy, dtype=np.float64))
    n, r, q, channel = place
    for i, j in np.ndindex(kh, kw):
        if case.kind == "forward":
            group, row, column = channel // per_group, r * s - p + i * d, q * s - p + j * d
            if 0 <= row < h and 0 <= column < w:
                a = x[n, row, column, group * cg : (group + 1) * cg]
                total += a.astype(np.float64) @ weight[i, j, :, channel].astype(np.float64)
        else:
            group = channel // cg
            outputs = slice(group * per_group, (group + 1) * per_group)
            (row, odd), (column, odd2) = divmod(r + p - i * d, s), divmod(q + p - j * d, s)
            if not odd and not odd2 and 0 <= row < oh and 0 <= column < ow:
                a = arrays["dy"][n, row, column, outputs].astype(np.float64)
                total += a @ weight[i, j, channel - group * cg, outputs].astype(np.float64)
    return float(total + (arrays["bias"][channel] if case.kind == "forward" else 0))


def _inside(offset, stride, size, count):
    """The outputs r whose input r * stride + offset lies in the map, and the first of these inputs."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    return range(first, max(first, last)), first * stride + offset


# --- the lists -----------------------------------------------------------------------------------------------------------

RESNET50 = [
    (3, 224, 64, 7, 2, 3, 1, 1), (64, 56, 256, 1, 1, 0, 1, 4), (64, 56, 64, 1, 1, 0, 1, 1), (64, 56, 64, 3, 1, 1, 1, 3),
    (256, 56, 64, 1, 1, 0, 1, 2), (256, 56, 512, 1, 2, 0, 1, 1), (256, 56, 128, 1, 1, 0, 1, 1),
    (128, 56, 128, 3, 2, 1, 1, 1), (128, 28, 512, 1, 1, 0, 1, 4), (512, 28, 128, 1, 1, 0, 1, 3),
    (128, 28, 128, 3, 1, 1, 1, 3), (512, 28, 1024, 1, 2, 0, 1, 1), (512, 28, 256, 1, 1, 0, 1, 1),
    (256, 28, 256, 3, 2, 1, 1, 1), (256, 14, 1024, 1, 1, 0, 1, 6), (1024, 14, 256, 1, 1, 0, 1, 5),
    (256, 14, 256, 3, 1, 1, 1, 5), (1024, 14, 2048, 1, 2, 0, 1, 1), (1024, 14, 512, 1, 1, 0, 1, 1),
    (512, 14, 512, 3, 2, 1, 1, 1), (512, 7, 2048, 1, 1, 0, 1, 3), (2048, 7, 512, 1, 1, 0, 1, 2),
    (512, 7, 512, 3, 1, 1, 1, 2),
]  # fmt: skip
VGG19 = [
    (3, 224, 64, 3, 1, 1, 1, 1), (64, 224, 64, 3, 1, 1, 1, 1), (64, 112, 128, 3, 1, 1, 1, 1),
    (128, 112, 128, 3, 1, 1, 1, 1), (128, 56, 256, 3, 1, 1, 1, 1), (256, 56, 256, 3, 1, 1, 1, 3),
    (256, 28, 512, 3, 1, 1, 1, 1), (512, 28, 512, 3, 1, 1, 1, 3), (512, 14, 512, 3, 1, 1, 1, 4),
]  # fmt: skip
ALEXNET = [
    (3, 227, 96, 11, 4, 0, 1, 1), (96, 27, 256, 5, 1, 2, 2, 1), (256, 13, 384, 3, 1, 1, 1, 1),
    (384, 13, 384, 3, 1, 1, 2, 1), (384, 13, 256, 3, 1, 1, 2, 1),
]  # fmt: skip
MOBILENET = [
    (3, 224, 32, 3, 2, 1, 1, 1), (32, 112, 64, 1, 1, 0, 1, 1), (64, 56, 128, 1, 1, 0, 1, 1),
    (128, 56, 128, 1, 1, 0, 1, 1), (128, 28, 256, 1, 1, 0, 1, 1), (256, 28, 256, 1, 1, 0, 1, 1),
    (256, 14, 512, 1, 1, 0, 1, 1), (512, 14, 512, 1, 1, 0, 1, 5), (512, 7, 1024, 1, 1, 0, 1, 1),
    (1024, 7, 1024, 1, 1, 0, 1, 1), (32, 112, 32, 3, 1, 1, 32, 1), (64, 112, 64, 3, 2, 1, 64, 1),
    (128, 56, 128, 3, 1, 1, 128, 1), (128, 56, 128, 3, 2, 1, 128, 1), (256, 28, 256, 3, 1, 1, 256, 1),
    (256, 28, 256, 3, 2, 1, 256, 1), (512, 14, 512, 3, 1, 1, 512, 5), (512, 14, 512, 3, 2, 1, 512, 1),
    (1024, 7, 1024, 3, 1, 1, 1024, 1),
]  # fmt: skip
LENET5 = [(1, 28, 6, 5, 1, 2, 1, 1), (6, 14, 16, 5, 1, 0, 1, 1)]
SMALL = [  # first and inner layers of networks for 28x28 and 32x32 images
    (1, 28, 32, 3, 1, 0, 1, 1), (32, 13, 64, 3, 1, 0, 1, 1), (3, 32, 32, 3, 1, 1, 1, 1), (32, 32, 32, 3, 1, 1, 1, 1),
    (64, 16, 64, 3, 1, 1, 1, 1), (128, 8, 128, 3, 1, 1, 1, 1), (512, 4, 512, 3, 1, 1, 1, 1),
]  # fmt: skip
TINY = [  # MLPerf Tiny: ResNet-8, DS-CNN, MobileNet-0.25 at 96x96
    (3, 32, 16, 3, 1, 1, 1, 1), (16, 32, 16, 3, 1, 1, 1, 2), (16, 32, 32, 3, 2, 1, 1, 1), (32, 16, 32, 3, 1, 1, 1, 1),
    (32, 16, 64, 3, 2, 1, 1, 1), (64, 8, 64, 3, 1, 1, 1, 1), (1, (49, 10), 64, (10, 4), 2, 1, 1, 1),
    (64, (25, 5), 64, 3, 1, 1, 64, 4), (64, (25, 5), 64, 1, 1, 0, 1, 4), (3, 96, 8, 3, 2, 1, 1, 1),
    (8, 48, 8, 3, 1, 1, 8, 1), (8, 48, 16, 1, 1, 0, 1, 1), (64, 6, 64, 3, 1, 1, 64, 5), (128, 6, 128, 1, 1, 0, 1, 5),
]  # fmt: skip
OTHER = [  # nothing is tuned to a list: odd channels, maps and kernels
    (48, 40, 80, 3, 1, 1, 1, 1), (24, (30, 50), 40, 3, 1, 1, 1, 1), (100, 33, 100, 3, 1, 1, 1, 1),
    (72, 20, 72, 5, 1, 2, 1, 1), (17, 61, 19, 3, 2, 1, 1, 1), (160, 10, 160, 3, 1, 1, 1, 1),
    (96, 24, 96, (1, 7), 1, 0, 1, 1), (320, 20, 96, 1, 1, 0, 1, 1), (130, 15, 70, 1, 1, 0, 1, 1),
    (240, 19, 240, 5, 1, 2, 240, 1), (40, 75, 40, 5, 2, 2, 40, 1), (4, 128, 24, 5, 2, 2, 1, 1), (96, 18, 96, 3, 1, 1, 4, 1),
]  # fmt: skip
OVERHEAD = [(16, 8, 16, 3, 1, 1, 1, 1), (16, 8, 16, 1, 1, 0, 1, 1), (8, 4, 8, 3, 1, 1, 1, 1)]  # little but the call

CONVOLUTIONS = {
    "resnet50": RESNET50, "vgg19": VGG19, "alexnet": ALEXNET, "mobilenet": MOBILENET, "lenet5": LENET5,
    "small": SMALL, "tiny": TINY, "other": OTHER,
    "overhead": OVERHEAD,
}  # fmt: skip
MATMULS = [(n, n, n) for n in (16, 32, 64, 128, 256, 512, 1024, 2048)] + [
    (64, 1600, 128), (64, 128, 10), (1, 2048, 1000), (4096, 64, 64), (64, 4096, 64), (100, 300, 50), (1000, 27, 64),
]  # fmt: skip
POOLS = [(64, 112, 3, 2, 1), (64, 112, 2, 2, 0), (32, 26, 2, 2, 0), (64, 11, 2, 2, 0), (256, 56, 2, 2, 0), (6, 28, 2, 2, 0)]
QUICK = {  # one of each family: cin, in, cout, k, stride
    (64, 56, 64, 3, 1), (128, 28, 128, 3, 1), (256, 14, 256, 3, 1), (512, 7, 512, 3, 1), (128, 56, 128, 3, 2),
    (3, 224, 64, 7, 2), (1, 28, 32, 3, 1), (16, 32, 16, 3, 1), (1024, 14, 256, 1, 1), (64, 56, 256, 1, 1),
    (512, 14, 512, 3, 1), (64, 112, 1, 2, 2), (64, 56, 1, 1, 1),
}  # fmt: skip


def all_cases():
    """Every case once; one that several networks share names them all."""
    found = {}

    def put(case, name):
        first = found.get(case)
        lists, count = (first.lists, first.count) if first else ((), 0)
        fields = {**asdict(case), "lists": (*lists, name), "count": count + case.count}
        found[case] = Case(**fields)

    for name, rows in CONVOLUTIONS.items():
        for cin, size, cout, k, stride, padding, groups, count in rows:
            size, k = size if isinstance(size, tuple) else (size, size), k if isinstance(k, tuple) else (k, k)
            for batch in BATCHES:
                for kind in PASSES:
                    if kind == "input" and cin in (1, 3) and name != "resnet50":
                        continue  # no network asks for the gradient of its image
                    put(Case("conv2d", kind, batch, cin, size, cout, k, stride, padding, 1, groups, count=count), name)
    for m, k, n in MATMULS:
        put(Case("matmul", cin=k, size=(m, n)), "matmul")
    for batch in BATCHES:
        for c, size, k, stride, padding in POOLS:
            put(Case("max_pool2d", "forward", batch, c, (size, size), 1, (k, k), stride, padding), "pool")
        for c, size in ((64, 56), (32, 26), (256, 14)):
            put(Case("relu", "forward", batch, c, (size, size)), "elementwise")
    return list(found.values())


def quick(case):
    """Whether a case belongs to the two-minute subset."""
    if case.op == "matmul":
        return case.size == (512, 512)
    key = (case.cin, case.size[0], case.cout, case.kernel[0], case.stride)
    return key in QUICK and (case.batch == 8 or (case.batch == 1 and case.kind == "forward"))


def random_cases(count, seed):
    """Convolutions that nobody chose, between 1e6 and 4e9 operations."""
    rng = np.random.default_rng(seed)
    cases = []
    while len(cases) < count:
        k = int(rng.choice([1, 3, 3, 3, 5, 7]))
        cin, cout = (int(v) for v in np.exp(rng.uniform(0, np.log(768), 2)))
        depthwise = rng.random() < 0.15
        groups, cout = (cin, cin) if depthwise else (1, cout)
        size, stride = tuple(int(v) for v in rng.integers(4, 120, 2)), int(rng.choice([1, 1, 2]))
        batch, kind = int(rng.choice([1, 4, 16])), str(rng.choice(PASSES))
        case = Case("conv2d", kind, batch, cin, size, cout, (k, k), stride, k // 2, 1, groups, lists=("random",))
        if 1e6 < case.flops < 4e9 and case.bytes < 2e8:
            cases.append(case)
    return cases
