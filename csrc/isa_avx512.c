/* AVX512 kernels, of float32: float64, there to check by, is AVX2's (a megabyte). The pragma covers this unit only, after the shared headers: nothing inline may leak to another CPU. */
#include "isa.h"
#if defined(__x86_64__)
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prfchw"))),            \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prfchw,prefer-vector-width=512")
#endif
#define CNF_ELEM 32
#include "simd_avx512.h"
#include "bodies.inc"
#include "table.inc"

#if CNF_HAS_AMX
/* The same, and what isa_amx.c adds. */
#define CNF_KERNEL(name)
#define CNF_TILE_KERNEL(name) cnf_kernel cnf_##name##_f32_amx;
#include "cnf_kernels.inc"
#undef CNF_KERNEL
const cnf_kernels cnf_kernels_f32_amx = {
#define CNF_KERNEL(name) CNF_NAME(name),
#define CNF_TILE_KERNEL(name) cnf_##name##_f32_amx,
#include "cnf_kernels.inc"
#undef CNF_KERNEL
    .lanes = VL};
#endif
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
