/* Names inside an ISA unit: CNF_NAME(relu) is cnf_relu_f32_avx2. A simd_*.h supplies CNF_ISA, T, V, VL and the words. */
#include "cnf.h"
#include <math.h>
#include <string.h>

#define CNF_PASTE_(op, dtype, isa) cnf_##op##_##dtype##_##isa
#define CNF_PASTE(op, dtype, isa) CNF_PASTE_(op, dtype, isa)
#define CNF_NAME(op) CNF_PASTE(op, CNF_DTYPE, CNF_ISA)
#define KERNEL(op) static void CNF_NAME(op)(const void *job_, ptrdiff_t task, int worker)
#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
