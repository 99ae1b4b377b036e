/* AVX512 kernels, of float32: float64, there to check by, is AVX2's (a megabyte). The pragma covers this unit only, after the shared headers: nothing inline may leak to another CPU. */
#include "isa.h"
#if defined(__x86_64__)
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))),                   \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#endif
#define CNF_ELEM 32
#include "simd_avx512.h"
#include "bodies.inc"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
