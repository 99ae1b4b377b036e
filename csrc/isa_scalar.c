/* Portable kernels: one lane a vector. Always present; every other ISA is tested against them. */
#include "isa.h"
#define CNF_ELEM 32
#include "simd_scalar.h"
#include "bodies.inc"
#include "simd_undef.h"
#undef CNF_ELEM
#define CNF_ELEM 64
#include "simd_scalar.h"
#include "bodies.inc"
