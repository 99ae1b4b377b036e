/* Geometry of convolution and pooling. The algorithm and its workspace are decided in one place, so they cannot drift. */
#ifndef CNF_SHAPE_H
#define CNF_SHAPE_H
#include <stddef.h>

typedef struct { /* x (n, h, w, c) * weight (kh, kw, c/groups, k) -> y (n, oh, ow, k), channels-last */
  ptrdiff_t n, h, w, c, oh, ow, k;
  ptrdiff_t kh, kw, sh, sw, dh, dw; /* kernel, stride, dilation */
  ptrdiff_t pt, pl;                 /* padding before the first row, the first column */
  ptrdiff_t groups;
} cnf_conv2d;

typedef struct { /* pooling windows over x (n, h, w, c) -> y (n, oh, ow, c) */
  ptrdiff_t n, h, w, c, oh, ow;
  ptrdiff_t kh, kw, sh, sw, dh, dw;
  ptrdiff_t pt, pl, pb, pr;
} cnf_pool2d;

#endif
