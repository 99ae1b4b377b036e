/* Portable kernels: one lane a vector. Always present; every other ISA is tested against them. */
#include "isa.h"
#if defined(__GNUC__) && !defined(__clang__) /* 12: a tile that sums up rows, vectorised, reads a row beyond the last */
#pragma GCC optimize("no-tree-vectorize", "Os")
#endif
#define CNF_ELEM 32
#include "simd_scalar.h"
#include "bodies.inc"
#include "table.inc"
#include "simd_undef.h"
#undef CNF_ELEM
#define CNF_ELEM 64
#include "simd_scalar.h"
#include "bodies.inc"
#include "table.inc"
