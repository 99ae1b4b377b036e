/* AVX2 kernels. The pragma covers this unit only, after the shared headers: nothing inline may leak to another CPU. */
#include "isa.h"
#if defined(__x86_64__)
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,prfchw"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,prfchw")
#endif
#define CNF_ELEM 32
#include "simd_avx2.h"
#include "bodies.inc"
#include "table.inc"
#include "simd_undef.h"
#undef CNF_ELEM
#define CNF_ELEM 64
#include "simd_avx2.h"
#include "bodies.inc"
#include "table.inc"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
