/* The only C header Cython sees: jobs (what a kernel is asked to do) and the kernel table.
 *
 * Every kernel has one signature: it does task `task` of a job, on behalf of worker `worker`. A job is a plain struct
 * that carries shapes, pointers and the workspace; tasks of one job write disjoint outputs, so any number of workers may
 * run them in any order and the result has the same bits. Kernels own no thread and no memory. */
#ifndef CNF_H
#define CNF_H
#include <stddef.h>
#include <stdint.h>

typedef void cnf_kernel(const void *job, ptrdiff_t task, int worker);

/* The list, expanded into one struct of function pointers; one instance per ISA and element type. */
typedef struct {
#define CNF_KERNEL(name) cnf_kernel *name;
#include "cnf_kernels.inc"
#undef CNF_KERNEL
  ptrdiff_t lanes; /* elements of a vector */
} cnf_kernels;

enum { CNF_SCALAR, CNF_AVX2, CNF_AVX512, CNF_AMX, CNF_ISA_COUNT };
enum { CNF_F32, CNF_F64, CNF_DTYPE_COUNT };
/* activations that an epilogue can apply; CNF_CLIP is ReLU up to a ceiling */
enum { CNF_LINEAR, CNF_RELU, CNF_SIGMOID, CNF_CLIP, CNF_ACTIVATIONS };

/* Whether this compiler knows AMX. */
#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define CNF_HAS_AMX 1
#else
#define CNF_HAS_AMX 0
#endif

extern const cnf_kernels *const cnf_table[CNF_ISA_COUNT][CNF_DTYPE_COUNT];
extern const char *const cnf_isa_names[CNF_ISA_COUNT];
extern const char *const cnf_kernel_names[]; /* NULL-terminated */

/* Best ISA allowed by these CPUID/XGETBV words; a parameter so that tests can describe any CPU. */
int cnf_isa_of(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_edx, uint64_t xcr0);
int cnf_isa_detect(void); /* of this CPU */

#include "cnf_shape.h"

/* ---- jobs ----
 * Every member is a word of its own, flags too: a tape tells by its value whether a word points into its memory, and one that
 * two members share, or one and padding, may have the value of a pointer by chance. */
typedef struct {         /* y[i] = f(x[i], z[i], w[i]); task t covers elements [t*chunk, min(n, (t+1)*chunk)) */
  const void *x, *z, *w; /* z, w: NULL where f has no such argument */
  void *y;
  ptrdiff_t n, chunk;
  double a, b, c; /* parameters of f: slope, alpha, ... */
  ptrdiff_t mode;
} cnf_elementwise;

typedef struct
{ /* rows along the middle axis of (outer, length, inner) arrays; task t covers `chunk` of the outer ones */
  const void *x, *z;
  void *y, *loss;          /* loss: one value a row, the gradient of it in backward kernels */
  const ptrdiff_t *labels; /* a class a row, in [0, length), or NULL: z has the probabilities */
  ptrdiff_t outer, length, inner, chunk;
  double a; /* label smoothing */
} cnf_rows;

typedef struct cnf_norm { /* x, dy, y: rows of `period` columns; a task covers `rows` of them, a chunk (norm.inc) */
  const void *x, *dy, *mean, *var, *weight, *bias; /* mean, var, weight, bias may be NULL: 0, none, 1, 0 */
  const void *residual, *output;                   /* added before the activation; what came after it; or NULL */
  void *y, *first, *second;                        /* first, second: a value a channel */
  void *gated;                                     /* where the gradient before the activation goes, or NULL */
  void *tiled, *partial;                           /* workspace of 5 and of 3 * chunks periods */
  double *merged;                                  /* workspace of 2 * channels */
  ptrdiff_t channels, period, rows, chunks;
  ptrdiff_t all_rows, tail;     /* whole rows, and how much of another */
  ptrdiff_t image, band, bands; /* column_sum: elements of either; bands in all, dealt out to chunks */
  double eps, ceiling;
  ptrdiff_t mode, activation;
} cnf_norm;

typedef struct
{ /* x, dy, y: n samples of `pixels` rows of `channels`, of which `group` share a mean. A task: a sample's `block` */
  const void *x, *dy, *weight, *bias; /* weight, bias may be NULL */
  void *y, *sums;                     /* sums: for each sample 3 * channels, two of them used */
  void *scratch;
  size_t scratch_bytes; /* a worker */
  ptrdiff_t n, pixels, channels, group, block, period, rows;
  double eps;
} cnf_group_norm;

#define CNF_AXES 6
typedef struct
{ /* x onto y: extents, and strides in elements, from the outermost axis in; a task: `chunk` of the last but one */
  const void *x, *z; /* z: a mask, and `from` its strides; x then lies as y does */
  void *y;
  ptrdiff_t shape[CNF_AXES], from[CNF_AXES], to[CNF_AXES];
  ptrdiff_t chunk;
} cnf_copy;

typedef struct
{ /* maps (n, h, w, c) to (n, h * fh, w * fw, c), x -> y, or the gradient back. A task: a row of the small map */
  const void *x;
  void *y, *scratch;
  size_t scratch_bytes; /* a worker */
  ptrdiff_t n, h, w, c, fh, fw;
  ptrdiff_t linear; /* between pixels; else each is repeated */
} cnf_upsample2d;

enum { CNF_CONSTANT, CNF_NEAREST, CNF_WRAP, CNF_REFLECT }; /* what is outside an image */
typedef struct
{ /* images (n, h, w, c) and windows (n, oh, ow, c) of them, x -> y, or back. A task: `chunk` rows, or see the kernel */
  const void *x, *z; /* z: dy, where x is what went forward; the second of two fractions */
  void *y, *scratch;
  size_t scratch_bytes; /* a worker */
  ptrdiff_t n, h, w, c, oh, ow, chunk, period;
  const int64_t *top, *left;            /* a number a sample, as all below */
  const uint8_t *vertical, *horizontal; /* whether to turn it */
  const double *numbers, *matrix;       /* 6 of a matrix */
  double low, high;                     /* of the pixels; low: what is outside */
  ptrdiff_t mode, nearest;
} cnf_image;

enum { CNF_UNIFORM, CNF_INTEGERS, CNF_FLAGS }; /* a T; an int64_t below high; a byte, 1 with probability high */
typedef struct { /* task t covers numbers [t*chunk, min(n, (t+1)*chunk)), chunk a multiple of 4 */
  void *y;
  const double *low, *high; /* of the numbers of each row */
  ptrdiff_t n, row, chunk;
  uint64_t seed, step;
  ptrdiff_t kind;
} cnf_random;

typedef struct { /* task t covers elements [t*chunk, min(n, (t+1)*chunk)) */
  const void *x;
  void *y;
  ptrdiff_t n, chunk;
  uint64_t seed, step, threshold; /* kept: random words >= threshold, which may be 2**32 */
  double scale;
} cnf_dropout;

typedef struct { /* param, m (velocity or mean gradient), v (mean squared gradient) change in place; m, v may be NULL */
  void *param, *m, *v;
  void *more; /* Adam: the largest v so far; RMSprop: the mean gradient, then taken off v; or NULL */
  const void *grad;
  ptrdiff_t n, chunk;
  double rate, decay, momentum, memory, eps; /* see optim.inc; decay is weight_decay * lr */
  ptrdiff_t nesterov;
} cnf_optimizer;

typedef struct
    cnf_pool2d_job { /* pooling: forward x -> y and indices; backward x is dy, y is dx. Task t covers `chunk` rows of y */
  cnf_pool2d shape;
  const void *x, *output; /* output: the maxima, behind or before a ReLU whose gradient backward takes too; or NULL */
  void *y, *indices;      /* indices: NULL if nobody asked */
  ptrdiff_t chunk;
  ptrdiff_t wide;        /* indices are int32 instead of uint8 */
  ptrdiff_t include_pad; /* averages count padding */
} cnf_pool2d_job;

typedef struct { /* maps (n, h, w, c) inside frames (n, top + h + bottom, left + w + right, c): x -> y, either way */
  const void *x;
  void *y;
  ptrdiff_t n, h, w, c, top, bottom, left, right, chunk;
  double value; /* of the frame */
} cnf_pad2d_job;

typedef struct {      /* a job of any kind and how it is shared */
  cnf_kernel *kernel; /* NULL: nothing to do */
  void *job;
  size_t size; /* of the job */
  ptrdiff_t tasks;
  int workers; /* threads that may take part: the job has memory for so many */
} cnf_work;

/* What a loop that waits does each time round. */
static inline void cnf_pause(void) {
#ifdef __SSE__
  __builtin_ia32_pause();
#endif
}

#endif
