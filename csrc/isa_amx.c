/* What AMX adds to AVX-512: convolution and matmul on matrix tiles. Else all is AVX-512's; of its bodies only what these kernels use is here.
 * The pragma covers this unit only. */
#include "isa.h"
#if CNF_HAS_AMX
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("amx-tile,amx-bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#endif
#define CNF_ELEM 32
#include "simd_avx512.h"
#undef CNF_ISA
#define CNF_ISA amx
#include "vmath.inc"
#include "elementwise.inc"
#include "loss.inc"
#include "norm.inc"
#include "gemm.inc"
#undef KERNEL
#define KERNEL(op) void CNF_NAME(op)(const void *job_, ptrdiff_t task, int worker) /* isa_avx512.c has the table */
#include "split.inc"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
