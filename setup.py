"""The extension list and the OpenMP probe; everything else is in pyproject.toml."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The kernels unroll by hand: -O3 makes them larger, not faster. What only checks and plans is made small. Nobody unwinds.
# Some Pythons add a stack protector: 53 KB, and other code than what is measured.
COMPILE = ["-std=gnu11", "-g0", "-ffp-contract=off", "-fvisibility=hidden", "-fno-math-errno", "-Wno-unused-function",
           "-fno-asynchronous-unwind-tables", "-fno-stack-protector"]  # fmt: skip
LINK = ["-Wl,-z,relro,-z,now,-z,noseparate-code"]  # no page of padding for each kind of section
OPENMP = "-fopenmp"
KERNELS = ["csrc/cnf_dispatch.c", "csrc/isa_scalar.c", "csrc/isa_avx2.c", "csrc/isa_avx512.c", "csrc/isa_amx.c"]
OPS = sorted(Path("cnnfast/ops").glob("*.pyx"))
SHARED = Path("cnnfast/ops/shared.c")  # Cython writes it: what it would else put into every module

PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


def openmp_works(compiler) -> bool:
    """Whether a program with OpenMP compiles, links and runs here (single-threaded kernels are built otherwise)."""
    if os.environ.get("CNNFAST_NO_OPENMP"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(PROBE)
        program = Path(folder, "probe")
        try:
            objects = compiler.compile([str(source)], output_dir="/", extra_postargs=[OPENMP])
            compiler.link_executable(objects, str(program), extra_postargs=[OPENMP])
            return subprocess.run([str(program)], timeout=20, check=False).returncode == 0
        except Exception as error:  # any failure of the tool chain means: not here
            print(f"cnnfast: building without OpenMP ({error})", file=sys.stderr)
            return False


def side_by_side(compile, jobs):
    """A compiler's `compile` that does all its sources at a time: the kernels are most of a build, and one extension's."""

    def compile_all(sources, **how):
        with ThreadPoolExecutor(jobs) as pool:
            return [made for objects in pool.map(lambda source: compile([source], **how), sources) for made in objects]

    return compile_all


class BuildExt(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        self.keeps_names = self.inplace or self.editable_mode  # a developer's build, for profilers
        if self.editable_mode:  # would go to a temporary folder: kept, what is up to date is not compiled again
            kept = f"build/editable-{sys.implementation.cache_tag}{'-serial' * bool(os.environ.get('CNNFAST_NO_OPENMP'))}"
            self.build_lib, self.build_temp = f"{kept}/lib", f"{kept}/temp"

    def build_extensions(self) -> None:
        if openmp_works(self.compiler):
            for extension in self.extensions:
                if extension.name == "cnnfast.ops.threads":  # the only unit with an OpenMP region
                    extension.extra_compile_args.append(OPENMP)
                    extension.extra_link_args.append(OPENMP)
        if sys.platform == "linux" and not self.keeps_names:
            for extension in self.extensions:
                extension.extra_link_args.append("-Wl,-s")
        self.compiler.compile = side_by_side(self.compiler.compile, self.parallel)
        super().build_extensions()


def extension(path: Path) -> Extension:
    kernels = path.stem == "cpu"
    return Extension(
        ".".join(path.with_suffix("").parts),
        [str(path), *(KERNELS if kernels else [])],
        include_dirs=["csrc", np.get_include()],
        depends=[str(p) for p in sorted(Path("csrc").iterdir())],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=[*COMPILE, "-O2" if kernels else "-Os"],
        extra_link_args=[*LINK] if sys.platform == "linux" else [],
    )


setup(
    ext_modules=cythonize(
        [extension(path) for path in [*OPS, SHARED]],
        shared_utility_qualified_name="cnnfast.ops.shared",
        compiler_directives={
            "language_level": 3,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": False,
        },
    ),
    cmdclass={"build_ext": BuildExt},
)
