/* Geometry of convolution and pooling. The algorithm and its workspace are decided in one place, so they cannot drift. */
#ifndef CNF_SHAPE_H
#define CNF_SHAPE_H
#include <stddef.h>
#include <stdint.h>

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

enum { CNF_FORWARD, CNF_BACKWARD_INPUT, CNF_BACKWARD_WEIGHT };

typedef struct cnf_conv2d_job { /* one convolution pass; see conv2d.inc for who is who in each pass */
  cnf_conv2d shape;
  const void *x, *w, *bias;
  void *y;
  const void *mean, *scale, *shift, *residual; /* forward: see finish in gemm.inc; NULL where unused */
  double ceiling;                              /* of CNF_CLIP */
  const struct cnf_conv2d_job *before;         /* a 1 x 1 convolution: the depthwise one that makes its x, or NULL */
  const struct cnf_pool2d_job
      *pool;                   /* lines: the pooling that takes its results, which go nowhere else, or whose gradient
                                        is dy, which nobody else makes; or NULL */
  const struct cnf_norm *sums; /* and the column sums of that gradient, which nobody else takes; or NULL */
  ptrdiff_t activation;
  ptrdiff_t algorithm;     /* CNF_DIRECT, planned: or how; CNF_DEPTHWISE, or Winograd's points in each direction */
  ptrdiff_t columns_first; /* Winograd: see wg_columns */
  ptrdiff_t transposed;    /* backward_input as a forward pass on dy: w is read turned round, channels swapped */
  ptrdiff_t adjoint;       /* Winograd backward_input: by the tiles of dy, see wg_adjoint */
  ptrdiff_t row_chunk, col_chunk; /* how the product is cut into tasks: strip rows, output columns */
  ptrdiff_t row_tasks, col_tasks, splits, tasks;
  void *shared;  /* workspace common to all workers */
  void *scratch; /* workspace of worker i at scratch + i * scratch_bytes */
  size_t shared_bytes, scratch_bytes;
  ptrdiff_t segment; /* depthwise backward_weight: rows walked together; Winograd: tiles of a
                        block; thin: channels at a time; direct backward_weight: lines of
                        outputs that are summed together, or 0: gathered rows */
  ptrdiff_t ahead;   /* whether what comes next is fetched meanwhile: those rows; weights, where a plan foresees that
                        they are far */
} cnf_conv2d_job;

#define CNF_SUM_CHUNK 4096 /* elements a task when partial sums are added up */
#define CNF_KC                                                                                                         \
  256 /* rows of a weight gradient that are summed together; channels of a Winograd piece: the widest strip */
#define CNF_TERMS 192      /* a reduction is cut so often, see gemm.inc */
#define CNF_STRIP_ROWS 224 /* 16 tiles of 14 rows, 28 of 8: a strip of 240 KB; as a reduction it is one cut */
#define CNF_TALL_ROWS 448  /* where rows are outputs: half as many packed panels, 2-4 % */

static inline ptrdiff_t cnf_ceil_div(ptrdiff_t a, ptrdiff_t b) { return a / b + (a % b != 0); }

/* The rows of a task, at most `most`, such that the tasks deal out evenly to the workers. */
static inline ptrdiff_t cnf_even_chunk(ptrdiff_t rows, ptrdiff_t most, int workers) {
  const ptrdiff_t tasks = cnf_ceil_div(cnf_ceil_div(rows, most), workers) * workers;
  return rows <= most ? rows : cnf_ceil_div(rows, tasks);
}

/* The most rows a task, that all workers have one though the columns make no more than `shares`. */
static inline ptrdiff_t cnf_most_rows(ptrdiff_t rows, ptrdiff_t shares, int workers) {
  const ptrdiff_t most = cnf_ceil_div(rows, cnf_ceil_div(workers, shares));
  return most < 14 ? 14 : most < CNF_TALL_ROWS ? most : CNF_TALL_ROWS;
}

enum { CNF_AUTO = -1, CNF_DIRECT = 0, CNF_WINOGRAD = 1, CNF_SPLIT = 2 };       /* what a caller may want */
enum { CNF_WINOGRAD4 = 4, CNF_WINOGRAD6 = 6, CNF_DEPTHWISE = 8, CNF_GROUPED }; /* what else the predicate may choose */
enum { CNF_LINES = 16, CNF_THIN, CNF_PLANAR }; /* how a direct pass may be planned: see lines.inc */

/* Whether Winograd is possible: F(m x m, r x r) for kernels of r = 3, with 4 or 6 points a direction, and of r = 5, with 6. */
static inline int cnf_winograd_fits(const cnf_conv2d *s, int strict) {
  return s->kh == s->kw && (s->kh == 3 || (s->kh == 5 && !strict)) && s->sh == 1 && s->sw == 1;
}
static inline ptrdiff_t cnf_winograd_m(const cnf_conv2d_job *job) { return job->algorithm + 1 - job->shape.kh; }

/* Of `count` windows, [*a, *b) are those that lie within positions [low, end), low <= 0. */
static inline void cnf_inside(ptrdiff_t count, ptrdiff_t s, ptrdiff_t p, ptrdiff_t window, ptrdiff_t low, ptrdiff_t end,
                              ptrdiff_t *a, ptrdiff_t *b) {
  const ptrdiff_t room = end + p - window;
  *a = (low + p + s - 1) / s;
  *b = room < 0 ? 0 : room / s + 1 < count ? room / s + 1 : count;
}

/* Narrow groups whose gradients of weights are made side by side as those of one, as many as fill 16 channels and filters: every
 * pair of channels is a sum of its own, and those from one group to another are dropped (4 -> 4 in 32 groups at 56 x 56, stride 2,
 * eight images: 2.7 and 0.7 ms). */
static inline ptrdiff_t cnf_groups_joined(const cnf_conv2d *s) {
  const ptrdiff_t c = s->c / s->groups, k = s->k / s->groups;
  ptrdiff_t count = 16 / (c > k ? c : k);
  while (count > 1 && s->groups % count) count--;
  return count > 1 ? count : 1;
}

/* Whether groups are so narrow that a vector holds several (grouped.inc). */
static inline int cnf_grouped_fits(const cnf_conv2d *s) {
  return s->groups > 1 && s->c <= 8 * s->groups && s->k <= 8 * s->groups;
}

/* Pairs of one of `count` windows and one of its taps that do not lie in the padding: of one axis, tap t of window o is at
 * origin + o * step + t * tap_step of `size` positions. */
static inline ptrdiff_t cnf_unpadded(ptrdiff_t count, ptrdiff_t step, ptrdiff_t origin, ptrdiff_t taps,
                                     ptrdiff_t tap_step, ptrdiff_t size) {
  ptrdiff_t sum = 0;
  for (ptrdiff_t t = 0, a, b; t < taps; t++) {
    cnf_inside(count, step, -(origin + t * tap_step), 1, 0, size, &a, &b);
    if (a < 0) a = 0;
    if (b > a) sum += b - a;
  }
  return sum;
}

/* Backward to the input, stride 1, is the forward pass on dy with the kernel turned round: the same shape, seen from there. */
static inline cnf_conv2d cnf_conv2d_turned(const cnf_conv2d *s) {
  cnf_conv2d t = *s;
  t.h = s->oh, t.w = s->ow, t.c = s->k;
  t.oh = s->h, t.ow = s->w, t.k = s->c;
  t.pt = (s->kh - 1) * s->dh - s->pt, t.pl = (s->kw - 1) * s->dw - s->pl;
  return t;
}

/* Tiles of m pixels along an axis of `size`. A dilated convolution is d of them, each of every d-th pixel: a tile's pixels are
 * d apart, and beside it lie those of the pixels between. Tile i's first pixel: */
static inline ptrdiff_t cnf_tiles_along(ptrdiff_t size, ptrdiff_t m, ptrdiff_t d) {
  return (d < size ? d : size) * cnf_ceil_div(cnf_ceil_div(size, d), m);
}
static inline ptrdiff_t cnf_tile_origin(ptrdiff_t i, ptrdiff_t size, ptrdiff_t m, ptrdiff_t d) {
  if (d == 1) return i * m;
  const ptrdiff_t apart = d < size ? d : size;
  return i / apart * m * d + i % apart;
}

/* Tiles of m x m that cover a map. */
static inline ptrdiff_t cnf_tiles(const cnf_conv2d *s, ptrdiff_t h, ptrdiff_t w, ptrdiff_t m) {
  return cnf_tiles_along(h, m, s->dh) * cnf_tiles_along(w, m, s->dw);
}

/* Whether 6 points go backward to the input, `s` as a forward pass on dy, by the tiles of dy, that pass turned into its
 * adjoint: without padding they are fewer (13 x 13 from 11 x 11: 9 instead of 16), but their results overlap. */
static inline int cnf_winograd_adjoint(const cnf_conv2d *s, ptrdiff_t points) {
  const ptrdiff_t m = points + 1 - s->kh;
  return points == CNF_WINOGRAD6 && s->dh == 1 && s->dw == 1 &&
         10 * cnf_tiles(s, s->h, s->w, m) <= 8 * cnf_tiles(s, s->oh, s->ow, m);
}

/* What a pass over `batch` images costs, in hundredths of a nanosecond: the products, of `pixels` an image where the sum is
 * direct, in vectors of 16 results; the transforms of each tile's channels; and what every weight costs, however few images
 * there are: to read it (or write its gradient) and to make U's of it (or it of them), dearer where they leave the caches.
 * Fitted to 1150 shapes of 3 x 3 with one and eight images, one and two cores with AVX-512, so that what is chosen takes least:
 * on average 1 % more than the best of each; for 490 of 5 x 5 it is 1 % as well, 5 % backward to the weight. Dilated ones
 * (60, up to 12 pixels apart) take 2 % more, 3 % backward to the weight. */
static inline double cnf_conv2d_cost(int points, ptrdiff_t r, int pass, double batch, double map_tiles, double pixels,
                                     ptrdiff_t c, ptrdiff_t k) {
  const ptrdiff_t c_lanes = cnf_ceil_div(c, 16) * 16, k_lanes = cnf_ceil_div(k, 16) * 16;
  const double weights = pass == CNF_BACKWARD_INPUT ? (double)k * c_lanes : (double)c * k_lanes,
               far = r * r * c * k > 9 * 32768 ? 2 : 1;
  if (points == CNF_DIRECT) {
    const double all = batch * pixels, few = all < 200 ? all : 200;
    return weights * (16 * far + 8 * all + 4 * few) * (double)(r * r) / 9;
  }
  const int six = points == CNF_WINOGRAD6;
  const double tiles = batch * map_tiles, three = six ? 200 : 150, each = r == 5 ? 300 : three,
               once = each * far * (pass == CNF_BACKWARD_WEIGHT ? 0.5 : 1);
  return weights * (once + (six ? 29 : 12) * tiles) + tiles * (six ? 155 : 70) * (c_lanes + k_lanes);
}

/* ---- split.inc ---- */
#define CNF_SPLIT_STEPS                                                                                                \
  32 /* that tiles sum: their weights are 192 KB, and the error is that of so few; then vectors add up */
#define CNF_SPLIT_ROOM (768 << 10) /* bytes of a frame, beside weights in L2 */
#define CNF_SPLIT_STRIP 112        /* rows that a depthwise convolution makes at a time */

/* Whether it is possible: overflow allows for so many terms. Backward to the input it is a forward pass on dy. */
static inline int cnf_split_fits(const cnf_conv2d *s, int pass) {
  if (pass == CNF_BACKWARD_WEIGHT || (pass == CNF_BACKWARD_INPUT && s->sh * s->sw > 1)) return 0;
  return s->groups == 1 && s->kh * s->kw * (pass == CNF_FORWARD ? s->c : s->k) < 1 << 15;
}

/* Whether outputs are pixels, in their order. */
static inline int cnf_split_plain(const cnf_conv2d *s) {
  return s->kh * s->kw * s->sh * s->sw == 1 && s->pt == 0 && s->pl == 0 && s->oh == s->h && s->ow == s->w;
}

/* The pixels that some lines of outputs see. Those that a tap meets are a stride apart: each such phase has lines of its own. */
typedef struct {
  ptrdiff_t chunks;             /* of 32 channels */
  ptrdiff_t phases_y, phases_x; /* in use: phase i is of the taps i, i + phases, ... */
  ptrdiff_t lines, pitch;       /* of one phase of an image; pixels of a line */
  ptrdiff_t phase;              /* pixels of one phase */
  ptrdiff_t pixels;             /* with what tiles read beyond; odd, so that pieces do not meet in one set of a cache */
} cnf_split_frame;

static inline ptrdiff_t cnf_split_phases(ptrdiff_t taps, ptrdiff_t stride, ptrdiff_t dilation) {
  ptrdiff_t count = 1;
  while (count < taps && count * dilation % stride) count++;
  return count;
}

/* For so many lines of outputs, or rows where these are pixels, of each of some images. */
static inline cnf_split_frame cnf_split_frame_of(const cnf_conv2d *s, ptrdiff_t images, ptrdiff_t rows) {
  cnf_split_frame f = {cnf_ceil_div(s->c, 32), 1, 1, 1, rows, 0, 0};
  if (!cnf_split_plain(s)) {
    f.phases_y = cnf_split_phases(s->kh, s->sh, s->dh);
    f.phases_x = cnf_split_phases(s->kw, s->sw, s->dw);
    f.lines = rows + (s->kh - 1) * s->dh / s->sh;
    f.pitch = s->ow + (s->kw - 1) * s->dw / s->sw;
  }
  f.pixels = (f.phases_y * f.phases_x * images * f.lines * f.pitch + 15) | 1;
  f.phase = images * f.lines * f.pitch;
  return f;
}

/* From a row of the frame to the pixel that a tap meets. */
static inline ptrdiff_t cnf_split_tap(const cnf_conv2d *s, const cnf_split_frame *f, ptrdiff_t ky, ptrdiff_t kx) {
  const ptrdiff_t phase = ky % f->phases_y * f->phases_x + kx % f->phases_x;
  return phase * f->phase + ky * s->dh / s->sh * f->pitch + kx * s->dw / s->sw;
}

/* Whether splitting pays, by nanoseconds of a core of an Emerald Rapids: to multiply; to split each pixel, to store each result;
 * weights, to read, to split, and if they leave L2, to read again for every frame. Fitted to 500 shapes. One image is made by two
 * cores, each of which splits all pixels and makes some of the panels. That and eight count alike, unless it would be slower than
 * direct; in training eight alone count. */
static inline int cnf_split_pays(const cnf_conv2d *s, int pass, int training) {
  const cnf_conv2d t = pass == CNF_BACKWARD_INPUT ? cnf_conv2d_turned(s) : *s;
  if (!cnf_split_fits(s, pass) || t.c < 24 || t.k < 16) return 0;
  const cnf_split_frame f = cnf_split_frame_of(&t, 1, t.oh);
  const int plain = cnf_split_plain(&t);
  const ptrdiff_t panels = cnf_ceil_div(t.k, 32);
  const double pixels = (double)(t.oh * t.ow), frame = plain ? pixels : (double)(f.phases_y * f.phases_x * f.phase),
               rows = plain ? pixels : (double)f.phase, columns = (double)(cnf_ceil_div(t.k, 16) * 16),
               terms = (double)(f.chunks * 32), taps = (double)(t.kh * t.kw), weights = taps * terms * columns,
               uneven = (double)(cnf_ceil_div(panels, 2) * 2) / (double)panels;
  double gain[2];
  for (int one = 0; one < 2; one++) {
    const double images = one ? 1 : 8, frames = images * frame * terms * 6 / CNF_SPLIT_ROOM,
                 again = weights * 6 > 1e6 && frames > 1 ? frames : 0;
    const double direct =
                     images * pixels * (columns * (taps * t.c * 0.0116 + 0.126) + taps * t.c * 0.1) + weights * 0.076,
                 split = images * (rows * columns * taps * terms * 0.0056 * (one ? uneven : 1) +
                                   frame * terms * (one ? 0.72 : 0.36) + pixels * columns * 0.43) +
                         weights * ((one ? 0.4 : 0.26) + 0.26 * again);
    gain[one] = direct / split;
  }
  return training ? gain[0] > 1.18 : gain[1] > 0.95 && gain[0] * gain[1] > 1.2;
}

/* The same of a matrix product, rows x terms by terms x columns, on two cores: fitted to 1,800 shapes. Its split weights stay below
 * 96 MB. */
static inline int cnf_matmul_splits(ptrdiff_t rows, ptrdiff_t terms, ptrdiff_t columns) {
  const double m = (double)rows, k = (double)(cnf_ceil_div(terms, 32) * 32),
               n = (double)(cnf_ceil_div(columns, 16) * 16);
  if (terms >= 1 << 15 || k * n > 1 << 24) return 0;
  const int few = 2 * rows <= columns; /* each core splits all of them, and some of the panels */
  const ptrdiff_t panels = cnf_ceil_div(columns, 32);
  const double uneven = few ? (double)(cnf_ceil_div(panels, 2) * 2) / (double)panels : 1,
               frames = m * (k < CNF_SPLIT_STEPS * 32 ? k : CNF_SPLIT_STEPS * 32) * 6 / CNF_SPLIT_ROOM,
               again = k * n * 6 > 1e6 && frames > 1 ? frames : 0;
  const double direct = m * n * ((double)terms * 0.013 + 0.056) + m * (double)terms * 0.048 + k * n * 0.125,
               split = m * n * (k * 0.0066 * uneven + 0.34) + m * k * (few ? 0.35 : 0.3) +
                       k * n * ((few ? 0.43 : 0.95) + 0.18 * again);
  return direct > 1.2 * split;
}

/* What the predicate below chooses where all products are float32's.
 *
 * Forward, one image and eight count alike (the least product of both costs), unless one image would be half as slow again
 * as direct. In training, as gradients always are, eight images alone count (512 -> 512 at 4 x 4, 32 images: 3.7 and 1.7 ms). */
static inline int cnf_conv2d_algorithm_by_fma(const cnf_conv2d *s, int pass, int training, int wanted, int strict) {
  const cnf_conv2d t = pass == CNF_BACKWARD_INPUT ? cnf_conv2d_turned(s) : *s;
  const ptrdiff_t cg = s->c / s->groups, kg = s->k / s->groups, r = s->kh;
  if (wanted == CNF_WINOGRAD) return strict ? CNF_WINOGRAD4 : CNF_WINOGRAD6;
  if (s->groups > 1 && s->groups == s->c) return CNF_DEPTHWISE;
  if (pass != CNF_BACKWARD_WEIGHT && cnf_grouped_fits(s)) return CNF_GROUPED;
  const ptrdiff_t joined = pass == CNF_BACKWARD_WEIGHT ? cnf_groups_joined(s) : 1;
  const ptrdiff_t least_channels = r == 5 ? 10 : 5; /* fewer are summed in lines or by taps, with no idle lanes */
  if (wanted == CNF_DIRECT || !cnf_winograd_fits(s, strict) || joined * (cg < kg ? cg : kg) < least_channels)
    return CNF_DIRECT;
  double least = 0, direct = 0, pixels = (double)(t.oh * t.ow);
  /* what is padding is left out: see strips; in a gradient of weights, where that is much */
  if (pass == CNF_BACKWARD_WEIGHT ? s->dh > 1 || s->dw > 1 : (pass == CNF_FORWARD ? cg : kg) >= 48)
    pixels = (double)(cnf_unpadded(s->oh, 1, -s->pt, r, s->dh, s->h) * cnf_unpadded(s->ow, 1, -s->pl, r, s->dw, s->w)) /
             (double)(r * r);
  int best = CNF_DIRECT;
  for (int points = CNF_DIRECT; points <= (strict ? CNF_WINOGRAD4 : CNF_WINOGRAD6); points += 2) {
    if (points && points < r + 1) continue;
    const int by_dy = pass == CNF_BACKWARD_INPUT && cnf_winograd_adjoint(&t, points);
    const ptrdiff_t m = points + 1 - r, tiles = !points ? 0 : cnf_tiles(s, by_dy ? t.h : t.oh, by_dy ? t.w : t.ow, m);
    const ptrdiff_t times = points ? joined : 1;
    const double one =
        !training ? cnf_conv2d_cost(points, r, pass, 1, (double)tiles, pixels, times * cg, times * kg) / (double)times
                  : 1;
    const double cost =
        one * cnf_conv2d_cost(points, r, pass, 8, (double)tiles, pixels, times * cg, times * kg) / (double)times;
    if (points == CNF_DIRECT) direct = one, least = cost;
    if (one < 1.5 * direct && cost < least) best = points, least = cost;
  }
  return best;
}

/* The one predicate: from the geometry alone, never from the batch or the thread count. `wanted` is CNF_AUTO, CNF_DIRECT,
 * CNF_WINOGRAD or CNF_SPLIT; `strict` forbids 6 points, and to split, which takes `tiles`. */
static inline int cnf_conv2d_algorithm(const cnf_conv2d *s, int pass, int training, int wanted, int strict, int tiles) {
  if (wanted == CNF_SPLIT) return CNF_SPLIT;
  const int best = cnf_conv2d_algorithm_by_fma(s, pass, training, wanted, strict);
  const int may_split = tiles && !strict && wanted == CNF_AUTO && best == CNF_DIRECT;
  return may_split && cnf_split_pays(s, pass, training) ? CNF_SPLIT : best;
}

/* Tiles of a block, whole register tiles of 14: with U, V and the products should stay in 1 MiB of L2; where U alone is
 * larger it streams past, and a large block reads it seldom. */
static inline ptrdiff_t cnf_winograd_block(const cnf_conv2d *s, ptrdiff_t positions, size_t itemsize) {
  const ptrdiff_t cg = s->c / s->groups, kg = s->k / s->groups, room = (1 << 20) / (ptrdiff_t)itemsize;
  const ptrdiff_t u = positions * cg * kg, tile = positions * (cg + kg);
  const ptrdiff_t fit = u < room ? (room - u) / tile / 14 * 14 : 0;
  const ptrdiff_t least = u < room ? 28 : 56;
  return fit < least ? least : fit < 112 ? fit : 112;
}

/* Whether the tiles' V is shared instead of the weights' U: where one block has all tiles and the columns
 * are enough for all workers; or where U leaves the cache and
 * moves more elements (made once, read by every block of tiles) than V does (made once, read by every 32 columns). */
static inline int cnf_winograd_columns_first(const cnf_conv2d *s, ptrdiff_t positions, ptrdiff_t tiles, ptrdiff_t block,
                                             size_t itemsize, int workers) {
  const ptrdiff_t cg = s->c / s->groups, kg = s->k / s->groups;
  if (tiles <= block) return workers < 2 || kg * s->groups >= 32 * workers;
  return positions * cg * kg * (ptrdiff_t)itemsize > 1 << 20 &&
         kg * (2 + cnf_ceil_div(tiles, block)) > tiles * (1 + cnf_ceil_div(kg, 32));
}

/* Whether every worker takes a part of the tiles and makes all of U itself: where U is small, and no dearer than to fetch
 * from the other cores half of it, or half of each pixel (64 -> 64 at 32 x 32, one image: 0.65 of the time). */
static inline int cnf_winograd_apart(const cnf_conv2d *s, ptrdiff_t positions, ptrdiff_t tiles, ptrdiff_t block,
                                     size_t itemsize, int workers) {
  const ptrdiff_t least = s->k < 32 * workers ? 8 : 14; /* else the columns are enough for all */
  return workers > 1 && s->groups == 1 && positions * s->c * s->k * (ptrdiff_t)itemsize <= 1 << 20 &&
         tiles >= least * workers && s->k <= 3 * tiles && tiles <= 8 * block * workers;
}

#define CNF_WINOGRAD_SUM_TILES 28 /* tiles transformed at a time in backward_weight */

/* Elements from one position to the next: `columns` in blocks of 16, each of `rows` rows; an odd number of lines, so that
 * the positions of a tile do not meet in one set of a cache. */
static inline size_t cnf_winograd_strip(ptrdiff_t columns, ptrdiff_t rows) {
  return (size_t)((cnf_ceil_div(columns, 16) * rows) | 1) * 16;
}

/* Columns and channels of the weights that are fetched while those before them are multiplied, where they come from beyond
 * L2: 144 KB in long lines, or twice that (16 channels of a tap are too few in a row: 512 -> 512 at 7 x 7, one image, from
 * memory: 0.8 of the time with 32); as many columns as leave room for their sums (to the input 0.68 of the time). */
static inline ptrdiff_t cnf_winograd_span(const cnf_conv2d_job *job, ptrdiff_t positions, ptrdiff_t tiles) {
  const ptrdiff_t lanes = 32, room = 65536 / (positions * tiles) / lanes * lanes;
  const ptrdiff_t all = cnf_ceil_div(job->col_chunk, lanes) * lanes, most = room < 256 ? room : 256;
  const ptrdiff_t weights = job->shape.kh * job->shape.kw * job->shape.c * job->shape.k;
  if (job->transposed || weights <= job->shape.groups << 18 || most <= lanes) return lanes;
  return most < all ? most : all;
}
static inline ptrdiff_t cnf_winograd_depth(ptrdiff_t span, ptrdiff_t taps) {
  const ptrdiff_t depth = 36864 / (taps * span) / 16 * 16, least = taps > 9 ? 16 : 32;
  return depth > least ? depth : least;
}

/* Columns, and channels, whose weights are turned and multiplied at once. With few tiles all positions of some of them are
 * multiplied one after the other (512 -> 512 at 28 x 28, one image: 0.78 of the time); of many, each position of all tiles. */
#define CNF_WINOGRAD_PANEL 32
static inline int cnf_winograd_few(ptrdiff_t tiles) { return tiles <= 56; }
static inline ptrdiff_t cnf_winograd_terms(ptrdiff_t tiles) { return cnf_winograd_few(tiles) ? 32 : 64; }

static inline size_t cnf_whole_pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096 + 64; }

/* Tasks of about row_chunk tiles. The adjoint's results overlap: a task takes whole images or, where there are not enough for
 * all workers, a band of an image's rows, and makes the row of tiles above it once more. */
static inline void cnf_winograd_rows(cnf_conv2d_job *job, int workers) {
  const cnf_conv2d *s = &job->shape;
  const ptrdiff_t m = cnf_winograd_m(job);
  if (!job->adjoint) {
    job->row_tasks = cnf_ceil_div(s->n * cnf_tiles(s, s->oh, s->ow, m), job->row_chunk);
    return;
  }
  const ptrdiff_t th = cnf_ceil_div(s->h, m), tw = cnf_ceil_div(s->w, m),
                  images = cnf_ceil_div(job->row_chunk, th * tw);
  ptrdiff_t bands = s->n < workers ? cnf_ceil_div(workers, s->n) : 1;
  if (bands > th / 2) bands = th / 2 > 0 ? th / 2 : 1;
  job->row_chunk = bands > 1 ? cnf_ceil_div(th, bands) * tw : images * th * tw;
  job->row_tasks = bands > 1 ? s->n * cnf_ceil_div(th * tw, job->row_chunk) : cnf_ceil_div(s->n, images);
}

/* Winograd's cut: blocks of tiles x shares of the columns over a shared U, or, if that moves less through memory, chunks of
 * columns over a V that is shared or made by each task. What is shared is a job of its own (cnf_conv2d_shares). */
static inline void cnf_winograd_plan(cnf_conv2d_job *job, size_t itemsize, int workers) {
  const cnf_conv2d *s = &job->shape;
  const ptrdiff_t points = job->algorithm, m = cnf_winograd_m(job), positions = points * points, kc = CNF_KC,
                  lanes = 16;
  const ptrdiff_t cg = s->c / s->groups, kg = s->k / s->groups;
  job->adjoint = job->transposed && cnf_winograd_adjoint(s, points);
  const ptrdiff_t tiles = s->n * (job->adjoint ? cnf_tiles(s, s->h, s->w, m) : cnf_tiles(s, s->oh, s->ow, m));
  const ptrdiff_t pieces = cnf_ceil_div(cg, kc), width = cnf_ceil_div(cg, pieces);
  const size_t packed = (size_t)(s->kh * s->kw) * 16 * 2 * lanes;
  job->splits = 1;
  const ptrdiff_t block = cnf_winograd_block(s, positions, itemsize);
  const size_t whole = pieces * positions * cnf_winograd_strip(width, tiles); /* V of all tiles */
  /* every worker makes V itself: not dear where there are few tiles */
  const int own = whole * itemsize <= 1 << 20 && (cnf_ceil_div(kg, 2 * lanes) >= workers || tiles <= 16);
  job->segment = block;
  if (cnf_winograd_apart(s, positions, tiles, block, itemsize, workers)) {
    job->columns_first = 0;
    job->row_chunk = cnf_ceil_div(tiles, workers);
    cnf_winograd_rows(job, workers);
    job->tasks = job->row_tasks;
    job->col_chunk = kg, job->col_tasks = 1;
    job->shared_bytes = 0;
    if (job->segment > job->row_chunk) job->segment = job->row_chunk;
    const size_t v = pieces * positions * cnf_winograd_strip(width, job->segment),
                 product = positions * cnf_winograd_strip(kg, job->segment);
    job->scratch_bytes = cnf_whole_pages((positions * cnf_winograd_strip(kg, cg) + packed + v + product) * itemsize);
    return;
  }
  job->columns_first =
      (own && workers > 1) || cnf_winograd_columns_first(s, positions, tiles, block, itemsize, workers);
  if (job->columns_first) {
    job->row_chunk = tiles < 8 ? tiles : 8;
    job->row_tasks = cnf_ceil_div(tiles, job->row_chunk);
    job->col_chunk = own ? cnf_ceil_div(cnf_ceil_div(kg, workers), lanes) * lanes : 2 * lanes;
    job->col_tasks = cnf_ceil_div(kg, job->col_chunk);
    job->tasks = job->col_tasks * s->groups;
    job->shared_bytes = own ? 0 : s->groups * whole * itemsize;
    const ptrdiff_t span = cnf_winograd_span(job, positions, tiles);
    const size_t u = positions * cnf_winograd_strip(CNF_WINOGRAD_PANEL, cnf_winograd_terms(tiles)),
                 product = positions * cnf_winograd_strip(span, tiles);
    job->scratch_bytes = cnf_whole_pages((u + (pieces > 1 ? 2 : 1) * product + packed + (own ? whole : 0)) * itemsize);
    return;
  }
  const ptrdiff_t each = tiles < 8 * workers ? tiles : cnf_ceil_div(tiles, workers);
  job->row_chunk = cnf_even_chunk(tiles, each < block ? each : block, workers);
  cnf_winograd_rows(job, workers);
  if (job->segment > job->row_chunk) job->segment = job->row_chunk;
  const ptrdiff_t wanted = workers > 1 ? cnf_ceil_div(2 * workers, job->row_tasks * s->groups) : 1,
                  most = cnf_ceil_div(kg, 2 * lanes), shares = wanted < most ? wanted : most;
  job->col_chunk = cnf_ceil_div(cnf_ceil_div(kg, shares), 2 * lanes) * 2 * lanes;
  job->col_tasks = cnf_ceil_div(kg, job->col_chunk);
  job->tasks = job->row_tasks * job->col_tasks * s->groups;
  job->shared_bytes = s->groups * positions * cnf_winograd_strip(kg, cg) * itemsize;
  const size_t v = pieces * positions * cnf_winograd_strip(width, job->segment),
               product = positions * cnf_winograd_strip(job->col_chunk < kg ? job->col_chunk : kg, job->segment);
  job->scratch_bytes = cnf_whole_pages((v + product > packed ? v + product : packed) * itemsize);
  if (workers > 1 && job->tasks == 1 && job->shared_bytes <= 1 << 20) /* U is made where it is used */
    cnf_winograd_plan(job, itemsize, 1);
}

/* Winograd backward_weight: chunks of channels x chunks of columns x splits of the tiles. The splits are a summation order,
 * so they follow the shape alone. */
static inline void cnf_winograd_weight_plan(cnf_conv2d_job *job, size_t itemsize, int workers) {
  const cnf_conv2d *s = &job->shape;
  const ptrdiff_t positions = job->algorithm * job->algorithm, lanes = 16, most = 64, rows = CNF_WINOGRAD_SUM_TILES;
  const ptrdiff_t cg = s->c / s->groups, kg = s->k / s->groups;
  const ptrdiff_t tiles = s->n * cnf_tiles(s, s->oh, s->ow, cnf_winograd_m(job));
  job->adjoint = 0;
  job->row_chunk = cnf_ceil_div(cnf_ceil_div(cg, cnf_ceil_div(cg, most)), lanes) * lanes;
  job->row_tasks = cnf_ceil_div(cg, job->row_chunk);
  job->col_chunk = cnf_ceil_div(cnf_ceil_div(kg, cnf_ceil_div(kg, most)), lanes) * lanes;
  job->col_tasks = cnf_ceil_div(kg, job->col_chunk);
  const ptrdiff_t blocks = cnf_ceil_div(tiles, rows);
  ptrdiff_t splits = cnf_ceil_div(8, job->row_tasks * job->col_tasks * s->groups);
  if (splits > blocks / 4) splits = blocks / 4;
  /* what is one task is cut, where chunks are too narrow to be (48 -> 10 at 28 x 28, three images: 60 and 33 us) */
  if (splits < 2) splits = cg < 64 && kg < 64 && blocks >= 4 ? 2 : 1;
  if (splits > 2) splits = cnf_ceil_div(splits, 2) * 2; /* or two workers would wait for the last */
  job->splits = splits;
  /* narrower chunks if they are too few: the sums are the same */
  if (job->row_tasks * job->col_tasks * s->groups * job->splits < workers) {
    job->col_chunk = cnf_ceil_div(cnf_ceil_div(kg, 2 * job->col_tasks), lanes) * lanes;
    job->col_tasks = cnf_ceil_div(kg, job->col_chunk);
  }
  job->tasks = job->row_tasks * job->col_tasks * s->groups * job->splits;
  job->shared_bytes = job->splits > 1 ? (size_t)(job->splits * s->kh * s->kw * cg * s->k) * itemsize : 0;
  job->scratch_bytes =
      cnf_whole_pages(positions *
                      (cnf_winograd_strip(job->row_chunk, rows) + cnf_winograd_strip(job->col_chunk, rows) +
                       cnf_winograd_strip(job->col_chunk, job->row_chunk)) *
                      itemsize);
}

/* Tasks of the job, if any, that makes what all workers share. */
static inline ptrdiff_t cnf_conv2d_shares(const cnf_conv2d_job *job) {
  const ptrdiff_t groups = job->shape.groups, cg = job->shape.c / groups;
  if (job->algorithm == CNF_GROUPED) return job->segment;
  if (!job->shared_bytes) return 0;
  if (job->algorithm == CNF_SPLIT) return cnf_ceil_div(job->shape.k, 32);
  return job->columns_first ? groups * cnf_ceil_div(cg, CNF_KC) * job->row_tasks : groups * cnf_ceil_div(cg, 16);
}

static inline void cnf_conv2d_turn(cnf_conv2d_job *job) {
  job->shape = cnf_conv2d_turned(&job->shape);
  job->transposed = 1;
}

/* The kernels that walk down the map in strips. No window is outside the map, left or right. */
static inline int cnf_depthwise_walks(const cnf_conv2d *s, size_t itemsize) {
  const int usual = s->kh == s->kw && s->sh == s->sw && s->sh <= 2 && s->dh == 1 && s->dw == 1;
  return usual && (s->kh == 3 || (s->kh == 5 && itemsize == 4)) && s->pl < s->kw && (s->ow - 1) * s->sw - s->pl < s->w;
}

/* Groups that a vector holds, or 0: a vector lies in a group. float64 is there to check by: little code. */
static inline ptrdiff_t cnf_grouped_side(const cnf_conv2d *s, ptrdiff_t lanes, size_t itemsize) {
  return itemsize == 8 || lanes < 8 ? 0 : lanes * s->groups / (s->c > s->k ? s->c : s->k);
}

/* Lines of results x vectors of groups, in as many tasks as keep all workers busy. */
static inline void cnf_grouped_plan(cnf_conv2d_job *job, int pass, size_t itemsize, ptrdiff_t lanes, int workers) {
  const cnf_conv2d *s = &job->shape;
  const int back = pass == CNF_BACKWARD_INPUT;
  const ptrdiff_t terms = (back ? s->k : s->c) / s->groups, filters = (back ? s->c : s->k) / s->groups;
  const ptrdiff_t side = cnf_grouped_side(s, lanes, itemsize), rows = s->n * (back ? s->h : s->oh);
  const ptrdiff_t wanted = workers > 1 ? 4 * workers : 1;
  const ptrdiff_t fit = 131072 / ((ptrdiff_t)itemsize * (s->w * s->c + s->ow * s->k));
  job->transposed = back;
  job->segment = side ? cnf_ceil_div(s->groups, side) : s->groups * cnf_ceil_div(filters, lanes);
  job->row_chunk = cnf_even_chunk(rows, fit < 1 ? 1 : fit, workers);
  if (job->row_chunk * wanted > rows) job->row_chunk = cnf_ceil_div(rows, wanted);
  job->row_tasks = cnf_ceil_div(rows, job->row_chunk);
  const ptrdiff_t parts = cnf_ceil_div(wanted, job->row_tasks), blocks = cnf_ceil_div(job->segment, 4);
  job->col_chunk = cnf_ceil_div(blocks, parts < blocks ? parts : blocks) * 4;
  job->col_tasks = cnf_ceil_div(job->segment, job->col_chunk);
  job->tasks = job->row_tasks * job->col_tasks;
  job->splits = 1;
  job->scratch_bytes = 0;
  job->shared_bytes = (size_t)(job->segment * s->kh * s->kw * terms * lanes) * itemsize;
}

/* Whether so many terms are one cut of a reduction, see view.inc. */
static inline int cnf_is_one_cut(ptrdiff_t taps, ptrdiff_t channels) {
  return taps * channels <= CNF_TERMS || (taps == 1 && channels <= CNF_KC);
}

/* Whether a pass stores nothing but finished results, so that its residual may lie where they go: one on tiles, or a direct one over
 * single pixels, from `terms` channels to `columns`. A depthwise convolution before it may read the residual all the while. */
static inline int cnf_stores_once(const cnf_conv2d_job *job, int pass) {
  const cnf_conv2d *s = &job->shape;
  const ptrdiff_t terms = pass == CNF_FORWARD ? s->c : s->k, columns = pass == CNF_FORWARD ? s->k : s->c;
  if (job->algorithm == CNF_SPLIT) return !job->before;
  return s->kh * s->kw * s->sh * s->sw * s->groups == 1 && !s->pt && !s->pl && s->oh == s->h && s->ow == s->w &&
         job->algorithm == CNF_DIRECT && !job->before && job->activation != CNF_SIGMOID && cnf_is_one_cut(1, terms) &&
         columns > 4 && s->n * s->h * s->w > 1;
}

/* Depthwise: rows of the result, blocks of one image that fit L2 beside their result; where those are few, shares of the
 * channels. backward_weight sums a fixed number of output rows a task in segments of at most 32, or 64 KB where the maps
 * come from beyond L2. */
static inline void cnf_depthwise_plan(cnf_conv2d_job *job, int pass, size_t itemsize) {
  const cnf_conv2d *s = &job->shape;
  const int input = pass == CNF_BACKWARD_INPUT, weight = pass == CNF_BACKWARD_WEIGHT;
  const ptrdiff_t height = input ? s->h : s->oh, rows = s->n * height;
  const ptrdiff_t line = (ptrdiff_t)itemsize * s->c * (input ? s->w : s->ow), parts = s->c / 32;
  job->row_tasks = job->col_tasks = job->splits = 1;
  job->col_chunk = s->c;
  job->scratch_bytes = job->shared_bytes = 0;
  if (input && !(s->sh == 1 && s->sw == 1)) {
    job->row_chunk = 65536 / line > 1 ? 65536 / line : 1;
    job->tasks = cnf_ceil_div(rows, job->row_chunk);
    return;
  }
  const ptrdiff_t products = rows * s->ow * cnf_ceil_div(s->c, 16) * s->kh * s->kw / 20000; /* in parts of 10 us */
  ptrdiff_t blocks;
  if (weight) {
    const ptrdiff_t least = cnf_ceil_div(rows, 256) > 8 ? cnf_ceil_div(rows, 256) : 8, fits = 262144 / line;
    job->ahead = rows * line + s->n * s->h * s->w * s->c * (ptrdiff_t)itemsize > 7 << 18;
    blocks = cnf_ceil_div(rows, (fits > least ? fits : least) * (job->ahead ? 2 : 1));
    /* little memory but many products: parts of 10 us for threads that the channels are too few for */
    const ptrdiff_t few = cnf_ceil_div(16, parts < 1 ? 1 : parts), more = products < few ? products : few;
    if (blocks < more) blocks = more < rows ? more : rows;
    job->splits = blocks;
    job->row_chunk = cnf_ceil_div(rows, job->splits);
    job->segment = !job->ahead ? 32 : 65536 / line > 2 ? 65536 / line < 32 ? 65536 / line : 32 : 2;
    if (job->splits > 1) job->shared_bytes = (size_t)job->splits * s->kh * s->kw * s->c * itemsize;
  } else {
    /* strided: few rows, or the pixels come in faster than the prefetcher follows (64@112: 24 against 13 GFLOP/s) */
    const ptrdiff_t least = s->sh > 1 ? 2 : 8, fits = (s->sh > 1 ? 16384 : 262144) / line;
    job->row_tasks = cnf_ceil_div(height, fits > least ? fits : least);
    job->row_chunk = cnf_ceil_div(height, job->row_tasks);
    blocks = s->n * job->row_tasks;
    job->ahead = (s->n * s->h * s->w + rows * s->ow) * s->c * (ptrdiff_t)itemsize > (s->sh > 1 ? 7 << 18 : 1 << 24);
  }
  const ptrdiff_t wanted = weight && job->ahead ? 1 : cnf_ceil_div(16, blocks);
  job->col_tasks = parts < 1 ? 1 : parts < wanted ? parts : wanted;
  if (job->col_tasks > 1) job->col_chunk = s->c / job->col_tasks / 16 * 16;
  if (!weight && blocks * job->col_tasks < 16) {
    /* what takes long for so little memory: parts of 10 us, if they share few lines (7 x 7 on 8@101 x 60: 74 and 40 us); an even
     * number of them (32@112: 31 and 28 us) */
    const ptrdiff_t few = 16 / job->col_tasks, more = cnf_ceil_div(products < few ? products : few, s->n);
    const ptrdiff_t most = height / (4 * s->kh - 3);
    ptrdiff_t shares = more < most ? more : most;
    if (shares < 2 * job->row_tasks) shares = job->row_tasks > 1 ? job->row_tasks + job->row_tasks % 2 : 1;
    job->row_chunk = cnf_ceil_div(height, shares);
    job->row_tasks = cnf_ceil_div(height, job->row_chunk);
    blocks = s->n * job->row_tasks;
  }
  job->tasks = blocks * job->col_tasks;
}

/* Backward to an input of few channels: columns of a product fill the lanes only if all taps are columns (conv2d.inc). */
static inline int cnf_conv2d_few(const cnf_conv2d *s) {
  return s->groups == 1 && s->c <= 8 && s->kh * s->kw > 1 && s->kh * s->kw * s->c <= 1024 && s->dw == 1;
}

/* Its tasks: bands of row_chunk input rows of an image. Neighbouring bands share output rows, so they are few and high. */
static inline void cnf_conv2d_few_plan(cnf_conv2d_job *job, size_t itemsize, int workers) {
  const cnf_conv2d *s = &job->shape;
  const ptrdiff_t kc = CNF_KC, columns = cnf_ceil_div(s->kh * s->kw * s->c, 16) * 16;
  const ptrdiff_t wanted = workers > 1 ? cnf_ceil_div(4 * workers, s->n) : 1, most = 1 + s->h / (8 * s->kh * s->dh);
  job->row_chunk = cnf_ceil_div(s->h, wanted < most ? wanted : most);
  job->row_tasks = cnf_ceil_div(s->h, job->row_chunk);
  job->col_tasks = job->splits = 1;
  job->tasks = s->n * job->row_tasks;
  job->shared_bytes = 0;
  const ptrdiff_t lines = CNF_STRIP_ROWS / 2 / s->ow > 1 ? CNF_STRIP_ROWS / 2 / s->ow : 1;
  job->col_chunk = lines < s->oh ? lines : s->oh; /* output lines that are multiplied together */
  const size_t strip = (size_t)(CNF_STRIP_ROWS + 1) * (kc + 16), product = (size_t)job->col_chunk * s->ow * columns;
  job->scratch_bytes =
      ((strip + (s->k + 1) * columns + product) * itemsize + CNF_STRIP_ROWS * sizeof(void *) + 4095) / 4096 * 4096 + 64;
}

/* Parts of a sum of so many chunks: wanted for the threads, but each has some chunks; if it is all in one task, two are enough. */
static inline ptrdiff_t cnf_splits(ptrdiff_t tasks, ptrdiff_t chunks) {
  ptrdiff_t wanted = cnf_ceil_div(16, tasks);
  while (wanted > 1 && wanted * 4 > chunks) wanted /= 2;
  return wanted * tasks == 1 && chunks >= 4 ? 2 : wanted;
}

/* Whether windows are of several pixels, in lines without gaps. */
static inline int cnf_conv2d_overlaps(const cnf_conv2d *s) {
  return s->kh * s->kw > 1 && s->dh == 1 && s->dw == 1 && s->sh <= s->kh && s->sw <= s->kw;
}

/* Whether windows can be read in the lines they share (lines.inc); those of one pixel, where the pixels are the rows of a plain
 * matrix. */
static inline int cnf_conv2d_shares_lines(const cnf_conv2d *s) {
  const int plain = s->sh == 1 && s->sw == 1 && s->oh == s->h && s->ow == s->w; /* then nothing is framed */
  return s->groups == 1 && (s->kh * s->kw > 1 ? cnf_conv2d_overlaps(s) : plain && s->pt == 0 && s->pl == 0);
}

#define CNF_LINE_TERMS 512 /* terms that a tile sums before it stores, where strips are lines */

/* Forward, and back to the weights from few channels: windows that overlap are read in the lines they share (lines.inc). Lines
 * of few outputs make small tiles: forward, to copy windows is less work unless they are high. Wide windows are read so from
 * more channels too, where columns are few, if little of them is padding: no window is copied, nor are sums taken up again for
 * every tap (5 x 5: 1.04-1.18, 7 x 7: 1.16-1.28 of the speed). */
static inline int cnf_conv2d_lines(const cnf_conv2d *s, int pass) {
  const ptrdiff_t least = pass == CNF_BACKWARD_WEIGHT || s->kh >= 5 ? 4 : 8, cg = s->c / s->groups,
                  kg = s->k / s->groups;
  if (!cnf_conv2d_overlaps(s) || kg <= 4 || s->ow < least) return 0;
  if (s->groups == 1 && s->kh * s->kw * s->c <= 256) return 1;
  return pass == CNF_FORWARD && s->kw >= 5 && s->kw * cg >= 48 && s->sw * cg <= 128 && kg <= 128 &&
         11 * cnf_unpadded(s->ow, s->sw, -s->pl, s->kw, 1, s->w) >= 10 * s->kw * s->ow;
}

/* The cuts of their reduction: kernel rows that are summed together; of one row, taps. */
static inline ptrdiff_t cnf_line_rows(const cnf_conv2d *s) {
  const ptrdiff_t fit = CNF_LINE_TERMS / (s->kw * (s->c / s->groups));
  return fit < 2 ? 1 : cnf_ceil_div(s->kh, cnf_ceil_div(s->kh, fit));
}
static inline ptrdiff_t cnf_line_taps(const cnf_conv2d *s) {
  return cnf_ceil_div(s->kw, cnf_ceil_div(s->kw * (s->c / s->groups), CNF_LINE_TERMS));
}

/* Elements of a line of so many channels, with its frame and a window that a tile may read too much; lines under so many
 * lines of outputs. */
static inline ptrdiff_t cnf_conv2d_pitch(const cnf_conv2d *s, ptrdiff_t channels) {
  return cnf_ceil_div((s->ow * s->sw + s->kw) * channels, 16) * 16;
}
static inline ptrdiff_t cnf_conv2d_height(const cnf_conv2d *s, ptrdiff_t lines) { return (lines - 1) * s->sh + s->kh; }

/* Of a band of col_chunk lines: frame, panel and pointers */
static inline size_t cnf_lines_bytes(const cnf_conv2d_job *job, size_t itemsize) {
  const cnf_conv2d *s = &job->shape;
  const size_t frame = (size_t)(cnf_conv2d_height(s, job->col_chunk) * cnf_conv2d_pitch(s, s->c / s->groups)),
               panel = CNF_LINE_TERMS * 3 * 16;
  return cnf_whole_pages((frame + panel) * itemsize + job->col_chunk * s->ow * sizeof(void *));
}

static inline void cnf_conv2d_lines_plan(cnf_conv2d_job *job, size_t itemsize, int workers) {
  const cnf_conv2d *s = &job->shape;
  job->algorithm = CNF_LINES;
  const ptrdiff_t channels = s->c / s->groups, pitch = cnf_conv2d_pitch(s, channels),
                  high = (393216 / (pitch * (ptrdiff_t)itemsize) - s->kh) / s->sh + 1, wide = CNF_TALL_ROWS / s->ow,
                  fit = wide < high ? wide : high, most = fit > 4 ? fit : 4,
                  wanted = cnf_ceil_div(workers, s->n * s->groups);
  job->row_tasks = cnf_ceil_div(cnf_ceil_div(s->oh, most), wanted) * wanted; /* all workers have as many of one image */
  job->row_chunk = cnf_ceil_div(s->oh, job->row_tasks);
  job->row_tasks = cnf_ceil_div(s->oh, job->row_chunk);
  job->col_chunk = job->row_chunk;
  job->col_tasks = job->splits = 1;
  job->tasks = s->n * s->groups * job->row_tasks;
  job->shared_bytes = 0;
  job->scratch_bytes = cnf_lines_bytes(job, itemsize);
}

/* Lines of a map that are summed together, to a gradient of weights or of a bias: 16 KB, which stay in L1 while both are, but
 * 64 pixels at least and CNF_STRIP_ROWS at most; of an even number, so that windows of two lines are not cut. */
static inline ptrdiff_t cnf_band_lines(ptrdiff_t lines, ptrdiff_t width, ptrdiff_t channels, size_t itemsize) {
  const ptrdiff_t held = 16384 / (channels * (ptrdiff_t)itemsize), least = held > 64 ? held : 64,
                  pixels = least < CNF_STRIP_ROWS ? least : CNF_STRIP_ROWS,
                  band = pixels / width > 1 ? pixels / width / 2 * 2 : 1;
  return band < lines ? band : lines;
}

/* Whether the lines of a single channel under a kernel's are stacked, pixel by pixel, so that one tile has all taps: those of a
 * kernel row alone are not enough to hide a latency. */
static inline int cnf_conv2d_stacks(const cnf_conv2d *s) {
  return s->c == 1 && s->kh > 1 && s->kh <= 4 && s->kh * s->kw <= 12;
}

/* Elements of a line of a plane. */
static inline ptrdiff_t cnf_planar_pitch(const cnf_conv2d *s) { return cnf_ceil_div(s->ow + s->kw, 16) * 16 + 32; }

/* Elements of a band of dy as planes, lines ended by zeros. */
static inline ptrdiff_t cnf_planar_band(const cnf_conv2d_job *job) {
  return job->row_chunk * job->shape.k * cnf_ceil_div(job->shape.ow, 16) * 16;
}

/* Backward to the weight: frame, panel and pointers; or planes of channels and filters, and sums in lanes. */
static inline size_t cnf_weight_lines_bytes(const cnf_conv2d_job *job, size_t itemsize) {
  const cnf_conv2d *s = &job->shape;
  if (job->algorithm == CNF_PLANAR) {
    const ptrdiff_t terms = s->kh * s->kw * s->c + 8,
                    frame = cnf_conv2d_height(s, job->row_chunk) * s->c * cnf_planar_pitch(s);
    return cnf_whole_pages((frame + cnf_planar_band(job) + terms * s->k * 16) * itemsize + terms * sizeof(void *));
  }
  const size_t frame = (size_t)(cnf_conv2d_height(s, job->row_chunk) * cnf_conv2d_pitch(s, s->c)),
               stack =
                   cnf_conv2d_stacks(s) ? (size_t)(s->kh * job->row_chunk * cnf_conv2d_pitch(s, s->c) + 16 * s->kh) : 0,
               panel = (size_t)(job->row_chunk * s->ow) * 3 * 16;
  return cnf_whole_pages((frame + stack + panel) * itemsize + s->kh * s->kw * s->c * sizeof(void *));
}

/* A band of dy is made in scratch, from the gradient of its pooling. */
static inline void cnf_conv2d_pool_gradient(cnf_conv2d_job *job, size_t itemsize) {
  job->scratch_bytes =
      cnf_weight_lines_bytes(job, itemsize) + cnf_whole_pages(job->row_chunk * job->shape.ow * job->shape.k * itemsize);
}

/* Bands of output lines, and splits, by the shape alone: both are a summation order. */
static inline void cnf_conv2d_weight_lines_plan(cnf_conv2d_job *job, size_t itemsize, int planar) {
  const cnf_conv2d *s = &job->shape;
  job->algorithm = planar ? CNF_PLANAR : CNF_LINES;
  const ptrdiff_t weights = s->kh * s->kw * s->c;
  job->row_chunk = cnf_band_lines(s->oh, s->ow, s->k, itemsize);
  job->row_tasks = cnf_ceil_div(s->oh, job->row_chunk);
  job->col_chunk = s->k;
  job->col_tasks = 1;
  job->splits = cnf_splits(1, s->n * job->row_tasks);
  job->tasks = job->splits;
  job->shared_bytes = job->splits > 1 ? (size_t)job->splits * weights * s->k * itemsize : 0;
  job->scratch_bytes = cnf_weight_lines_bytes(job, itemsize);
}

/* Few filters would leave most of `lanes` idle: they run along the pixels of a line instead, or where channels are more, along
 * the terms of a window's lines, back to the weights too (lines.inc). Which is better, hundredths of the lanes in use tell. */
static inline ptrdiff_t cnf_lanes_used(ptrdiff_t count, ptrdiff_t lanes) {
  return 100 * count / (cnf_ceil_div(count, lanes) * lanes);
}
static inline int cnf_conv2d_planar(const cnf_conv2d *s, ptrdiff_t lanes) {
  return cnf_conv2d_shares_lines(s) && s->kh * s->kw > 1 && s->sw <= 2 && s->sw * s->c <= 4 &&
         2 * s->sw * s->k <= lanes && 2 * s->ow >= 3 * lanes &&
         5 * cnf_lanes_used(s->ow, lanes) >= 8 * cnf_lanes_used(s->k, lanes);
}
/* Back to the weights: unless the terms of a window's line fill the lanes as well. */
static inline int cnf_conv2d_weight_planar(const cnf_conv2d *s, ptrdiff_t lanes) {
  return s->sw == 1 && cnf_conv2d_planar(s, lanes) &&
         4 * cnf_lanes_used(s->ow, lanes) >= 5 * cnf_lanes_used(s->kw * s->c, lanes);
}
/* Of a plain matrix: whether rows are so short that their lanes are summed up sooner than they are multiplied. */
static inline int cnf_is_short(ptrdiff_t terms, ptrdiff_t columns) { return terms < 16 || terms < 6 * columns; }
static inline int cnf_conv2d_thin(const cnf_conv2d *s, ptrdiff_t lanes) {
  const int tiny = s->kh * s->kw > 1 && s->oh * s->ow < 12; /* maps: each would have the weights packed for it */
  return cnf_conv2d_shares_lines(s) && 2 * s->k <= lanes && !tiny &&
         !(s->kh * s->kw == 1 && cnf_is_short(s->c, s->k)) &&
         7 * cnf_lanes_used(s->kw * s->c, lanes) >= 10 * cnf_lanes_used(s->k, lanes);
}
static inline int cnf_conv2d_weight_thin(const cnf_conv2d *s, ptrdiff_t lanes) {
  return cnf_conv2d_shares_lines(s) && s->k < 2 * lanes && lanes > 1 &&
         4 * cnf_lanes_used(s->kw * s->c, lanes) >= 5 * cnf_lanes_used(s->k, lanes);
}

/* Channels that are framed together, `lines` lines of outputs in 256 KB; with `weights` bytes of weights. */
static inline ptrdiff_t cnf_thin_channels(const cnf_conv2d *s, ptrdiff_t lines, ptrdiff_t weights, size_t itemsize) {
  const ptrdiff_t held = weights / (ptrdiff_t)itemsize / (s->kh * s->kw * s->k),
                  frame = 262144 / (ptrdiff_t)itemsize / ((s->ow * s->sw + s->kw) * cnf_conv2d_height(s, lines));
  ptrdiff_t most = s->kh * s->kw == 1 || held < frame ? held : frame;
  if (most < 16) most = 16;
  return s->c <= most ? s->c : cnf_ceil_div(cnf_ceil_div(s->c, cnf_ceil_div(s->c, most)), 16) * 16;
}

/* Lines of outputs over a frame of 256 KB, at most `most`. */
static inline ptrdiff_t cnf_thin_lines(const cnf_conv2d *s, ptrdiff_t channels, ptrdiff_t most, size_t itemsize) {
  const ptrdiff_t held = 262144 / (ptrdiff_t)itemsize / cnf_conv2d_pitch(s, channels),
                  lines = held > s->kh ? (held - s->kh) / s->sh + 1 : 1;
  return lines < most ? lines : most;
}

/* Tasks: bands of row_chunk output lines of an image, col_chunk of them over a frame; of a plain matrix, rows. */
static inline void cnf_conv2d_thin_plan(cnf_conv2d_job *job, size_t itemsize, int workers) {
  const cnf_conv2d *s = &job->shape;
  job->algorithm = CNF_THIN;
  const ptrdiff_t channels = job->segment = cnf_thin_channels(s, s->oh < 8 ? s->oh : 8, 24576, itemsize);
  size_t frame = 0, pointers;
  job->col_tasks = job->splits = 1;
  job->shared_bytes = 0;
  if (s->kh * s->kw == 1) {
    const ptrdiff_t rows = s->n * s->oh * s->ow;
    pointers = job->row_chunk = cnf_even_chunk(rows, CNF_TALL_ROWS, workers);
    job->tasks = job->row_tasks = cnf_ceil_div(rows, job->row_chunk);
  } else {
    const ptrdiff_t wanted = workers > 1 ? cnf_ceil_div(4 * workers, s->n) : 1, most = cnf_ceil_div(s->oh, 4);
    job->row_chunk = cnf_ceil_div(s->oh, wanted < most ? wanted : most);
    job->row_tasks = cnf_ceil_div(s->oh, job->row_chunk);
    job->tasks = s->n * job->row_tasks;
    job->col_chunk = cnf_thin_lines(s, channels, job->row_chunk, itemsize);
    frame = (size_t)(cnf_conv2d_height(s, job->col_chunk) * cnf_conv2d_pitch(s, channels)) + 16;
    pointers = job->col_chunk * s->ow;
  }
  const size_t panel = (size_t)(s->kh * s->k * cnf_ceil_div(s->kw * channels, 16)) * 16;
  job->scratch_bytes = cnf_whole_pages((panel + frame) * itemsize + pointers * sizeof(void *));
}

/* Planes of the channels (each its own lines, in a frame; every stride-th pixel), of the filters, and weights in their order. */
static inline size_t cnf_planar_bytes(const cnf_conv2d_job *job, size_t itemsize) {
  const cnf_conv2d *s = &job->shape;
  const ptrdiff_t pixels = job->row_chunk * s->ow;
  const ptrdiff_t line = s->sw * s->c * cnf_planar_pitch(s);
  const size_t frame = (size_t)((cnf_conv2d_height(s, job->row_chunk) + (s->sw > 1)) * line + 64),
               planes = (size_t)(s->k * cnf_ceil_div(pixels, 16) * 16),
               weights = (size_t)(s->kh * s->kw * s->c * s->k + 16);
  return cnf_whole_pages((frame + planes + weights) * itemsize + (s->k + pixels) * sizeof(void *));
}
static inline void cnf_conv2d_planar_plan(cnf_conv2d_job *job, size_t itemsize, int workers) {
  cnf_conv2d_lines_plan(job, itemsize, workers);
  job->algorithm = CNF_PLANAR;
  job->scratch_bytes = cnf_planar_bytes(job, itemsize);
}

/* A band's results stay in scratch, and in L1, for a pooling of so many lines a window that takes them there. */
static inline void cnf_conv2d_pool_lines(cnf_conv2d_job *job, ptrdiff_t lines, size_t itemsize) {
  const cnf_conv2d *s = &job->shape;
  const int planar = job->algorithm == CNF_PLANAR;
  job->row_chunk = cnf_ceil_div(job->row_chunk, lines) * lines;
  job->row_tasks = cnf_ceil_div(s->oh, job->row_chunk);
  job->tasks = s->n * job->row_tasks;
  job->col_chunk = job->row_chunk;
  if (!planar) job->col_chunk = cnf_ceil_div(cnf_band_lines(job->row_chunk, s->ow, s->k, itemsize), lines) * lines;
  job->scratch_bytes = (planar ? cnf_planar_bytes : cnf_lines_bytes)(job, itemsize) +
                       cnf_whole_pages(job->col_chunk * s->ow * s->k * itemsize);
}

/* Bands, chunks of channels and splits, by the shape alone. */
static inline void cnf_conv2d_weight_thin_plan(cnf_conv2d_job *job, size_t itemsize) {
  const cnf_conv2d *s = &job->shape;
  const int plain = s->kh * s->kw == 1;
  const ptrdiff_t least = cnf_ceil_div(CNF_STRIP_ROWS, s->ow) > 8 ? cnf_ceil_div(CNF_STRIP_ROWS, s->ow) : 8,
                  lines = least < s->oh ? least : s->oh;
  job->algorithm = CNF_THIN;
  const ptrdiff_t channels = job->segment = cnf_thin_channels(s, lines, 131072, itemsize);
  ptrdiff_t bands = cnf_ceil_div(s->n * s->oh * s->ow, CNF_STRIP_ROWS);
  size_t frame = (size_t)(CNF_STRIP_ROWS + 1) * channels + 48;
  job->row_chunk = CNF_STRIP_ROWS;
  job->row_tasks = bands;
  if (!plain) {
    const ptrdiff_t fits = cnf_thin_lines(s, channels, lines, itemsize);
    job->row_chunk = cnf_ceil_div(s->oh, cnf_ceil_div(s->oh, fits));
    job->row_tasks = cnf_ceil_div(s->oh, job->row_chunk);
    bands = s->n * job->row_tasks;
    frame = (size_t)(cnf_conv2d_height(s, job->row_chunk) * cnf_conv2d_pitch(s, channels)) + 48;
  }
  job->col_chunk = channels;
  job->col_tasks = cnf_ceil_div(s->c, channels);
  job->splits = cnf_splits(job->col_tasks, bands);
  job->tasks = job->splits * job->col_tasks;
  job->shared_bytes = job->splits > 1 ? (size_t)job->splits * s->kh * s->kw * s->c * s->k * itemsize : 0;
  const size_t sums = (size_t)(s->kh * s->kw * channels * s->k);
  job->scratch_bytes = cnf_whole_pages((frame + sums) * itemsize + s->k * sizeof(void *));
}

/* Whether backward to the input is done as forward from dy: where that shares lines, and not every output pixel has much to
 * send to few channels, nor are the weights many to turn for each band of lines. */
static inline int cnf_conv2d_turns(const cnf_conv2d *s, ptrdiff_t lanes) {
  const cnf_conv2d t = cnf_conv2d_turned(s);
  if (cnf_conv2d_few(s) && s->k >= 12) return 0;
  return s->sh == 1 && s->sw == 1 && t.pt >= 0 && t.pl >= 0 &&
         (cnf_conv2d_planar(&t, lanes) || cnf_conv2d_thin(&t, lanes) ||
          (cnf_conv2d_lines(&t, CNF_FORWARD) && t.k <= 256));
}

/* ---- split.inc ---- */
/* Taps of 32 channels. A panel is the weights of 32 columns; behind all of them, where they are shared, for each whether one of its
 * weights is out of range. */
static inline ptrdiff_t cnf_split_steps(const cnf_conv2d *s) { return cnf_ceil_div(s->c, 32) * s->kh * s->kw; }
static inline uint8_t *cnf_split_beyond(const cnf_conv2d_job *job) {
  const cnf_conv2d *s = &job->shape;
  return (uint8_t *)job->shared + cnf_ceil_div(s->k, 32) * cnf_split_steps(s) * 2 * 3072;
}

/* Steps whose pixels a frame holds at a time: all, but of many rows of many channels, where it would leave L2. */
static inline ptrdiff_t cnf_split_part(const cnf_conv2d_job *job) {
  const ptrdiff_t steps = cnf_split_steps(&job->shape);
  return cnf_split_plain(&job->shape) && job->shared_bytes && steps > CNF_SPLIT_STEPS ? CNF_SPLIT_STEPS : steps;
}

/* Bytes of those pixels. */
static inline ptrdiff_t cnf_split_held(const cnf_conv2d_job *job, const cnf_split_frame *f) {
  const ptrdiff_t part = cnf_split_part(job);
  return f->pixels * (part < f->chunks ? part : f->chunks) * 192;
}

/* Bytes of the sums that are taken up again: of each panel, if a frame holds a part of the steps. */
static inline ptrdiff_t cnf_split_before(const cnf_conv2d_job *job, ptrdiff_t pixels) {
  const ptrdiff_t panels = cnf_split_part(job) < cnf_split_steps(&job->shape) ? cnf_ceil_div(job->col_chunk, 32) : 1;
  return cnf_ceil_div(pixels, 32) * panels * 4096;
}

/* Tasks of some rows share split weights; of few rows, each worker has some of the columns and splits all pixels itself. */
static inline void cnf_split_plan(cnf_conv2d_job *job, int workers) {
  const cnf_conv2d *s = &job->shape;
  const int plain = cnf_split_plain(s);
  const ptrdiff_t panels = cnf_ceil_div(s->k, 32), room = CNF_SPLIT_ROOM, pixel = cnf_ceil_div(s->c, 32) * 192,
                  part = CNF_SPLIT_STEPS * 192, rows = plain ? s->n * s->oh * s->ow : s->oh;
  job->algorithm = CNF_SPLIT;
  job->splits = 1;
  cnf_split_frame f = cnf_split_frame_of(s, 1, rows);
  job->segment = 1; /* images a task */
  const int own = (plain || s->n == 1) && f.pixels * pixel <= 2 * room && panels >= workers &&
                  (workers == 1 || 2 * rows * (plain ? 1 : f.pitch) <= s->k * s->kh * s->kw);
  if (own) {
    job->row_chunk = rows;
    job->row_tasks = 1;
  } else if (plain) {
    const ptrdiff_t most = room / (pixel < part ? pixel : part) / 32;
    job->row_chunk = cnf_even_chunk(cnf_ceil_div(rows, 32), most < 4 ? 4 : most, workers) * 32;
    job->row_tasks = cnf_ceil_div(rows, job->row_chunk);
  } else {
    ptrdiff_t lines = s->oh;
    for (; lines > 1 && cnf_split_frame_of(s, 1, lines).pixels * pixel > room; lines--) {
    }
    job->row_chunk =
        s->n % workers == 0 ? cnf_ceil_div(s->oh, cnf_ceil_div(s->oh, lines)) : cnf_even_chunk(s->oh, lines, workers);
    job->row_tasks = cnf_ceil_div(s->oh, job->row_chunk);
    const ptrdiff_t fit = room / (f.pixels * pixel);
    if (job->row_tasks == 1) job->segment = cnf_even_chunk(s->n, fit < 1 ? 1 : fit, workers);
  }
  job->tasks = plain ? job->row_tasks : cnf_ceil_div(s->n, job->segment) * job->row_tasks;
  const ptrdiff_t parts = own ? workers : job->tasks < workers ? workers / job->tasks : 1;
  job->col_chunk = cnf_ceil_div(panels, parts) * 32;
  job->col_tasks = cnf_ceil_div(s->k, job->col_chunk);
  job->tasks *= job->col_tasks;
  f = cnf_split_frame_of(s, job->segment, job->row_chunk);
  const ptrdiff_t panel = cnf_split_steps(s) * 2 * 3072,
                  strip = (CNF_SPLIT_STRIP + 1) * (CNF_KC + 16) * (ptrdiff_t)sizeof(float);
  job->shared_bytes = own ? 0 : cnf_whole_pages(panels * (panel + 1));
  job->scratch_bytes = cnf_whole_pages(
      cnf_split_held(job, &f) + 4096 + cnf_split_before(job, f.pixels) + (own ? CNF_SPLIT_STEPS * 2 * 3072 : 0) +
      (plain ? strip : 0) + f.pixels * ((ptrdiff_t)sizeof(void *) + 2) + s->kh * s->kw * (ptrdiff_t)sizeof(ptrdiff_t));
}

/* Taps of one axis that reach the inputs in this phase of its stride: backward_input does a phase at a time (conv2d.inc). */
static inline ptrdiff_t cnf_phase_taps(ptrdiff_t phase, ptrdiff_t k, ptrdiff_t stride, ptrdiff_t dilation) {
  ptrdiff_t count = 0;
  for (ptrdiff_t t = 0; t < k; t++) count += (phase - t * dilation) % stride == 0;
  return count;
}

#define CNF_FAR (2 << 20)
/* Whether short sums make so many results, more than `least` bytes, that these leave the caches. */
static inline int cnf_goes_far(const cnf_conv2d *s, size_t itemsize, double least) {
  return s->kh * s->kw * (s->c / s->groups) <= 128 && (double)(s->n * s->oh * s->ow) * s->k * (double)itemsize > least;
}

/* Lines of outputs that are summed together where a weight gradient reads x as it lies, or 0: copies of the pixels are a third of
 * the time where columns are few; of wide windows, 5-20 % of it. Rows of 4 KB alias, those of 1 KB if many panels meet them.
 * A tap of few channels would be a thin tile: those are gathered, many taps to a tile. */
static inline ptrdiff_t cnf_conv2d_weight_lies(const cnf_conv2d *s, size_t itemsize) {
  const ptrdiff_t cg = s->c / s->groups, kg = s->k / s->groups, fit = CNF_STRIP_ROWS / s->ow, taps = s->kh * s->kw;
  const size_t row = s->sw * s->c * itemsize;
  if ((cg < 14 && taps > 1) || s->ow < 6 || fit < 1 || row % 4096 == 0) return 0;
  if (kg > 64 && (row % 1024 == 0 || (taps < 25 && (taps > 1 || kg > 128)))) return 0;
  return cnf_ceil_div(s->oh, cnf_ceil_div(s->oh, fit));
}

/* Chunks of outputs, each a sum of its own, of a weight gradient: bands of an image's lines, or rows. */
static inline ptrdiff_t cnf_conv2d_weight_chunks(const cnf_conv2d_job *job) {
  const cnf_conv2d *s = &job->shape;
  return job->segment ? s->n * cnf_ceil_div(s->oh, job->segment) : cnf_ceil_div(s->n * s->oh * s->ow, job->row_chunk);
}

/* Bytes for the results of a forward task that goes far and whose rows end within a line of memory: panels would meet in most
 * lines, and fetch each twice. They are put together first, and written in whole lines. */
static inline size_t cnf_conv2d_stage(const cnf_conv2d_job *job, size_t itemsize) {
  const cnf_conv2d *s = &job->shape;
  const double least = s->k * itemsize >= 384 ? 4 << 20 : 24 << 20; /* narrow rows: a panel has most of a line */
  const int meet = s->groups == 1 && job->col_tasks == 1 && s->k >= 32 && s->k * itemsize % 64 != 0;
  return meet && cnf_goes_far(s, itemsize, least) ? cnf_whole_pages((size_t)(job->row_chunk * s->k) * itemsize) : 0;
}

/* Cuts a pass into tasks and says what workspace it needs. The cuts may follow `workers` where an output's own sum does not
 * cross a task. The splits of backward_weight are a summation order, so they follow the shape alone. */
static inline void cnf_conv2d_plan(cnf_conv2d_job *job, int pass, size_t itemsize, ptrdiff_t lanes, int workers) {
  const cnf_conv2d *s = &job->shape;
  job->algorithm = CNF_DIRECT;
  if (pass == CNF_FORWARD && cnf_conv2d_planar(s, lanes)) {
    cnf_conv2d_planar_plan(job, itemsize, workers);
    return;
  }
  if (pass == CNF_FORWARD && cnf_conv2d_thin(s, lanes)) {
    cnf_conv2d_thin_plan(job, itemsize, workers);
    return;
  }
  if (pass == CNF_BACKWARD_WEIGHT && cnf_conv2d_weight_planar(s, lanes)) {
    cnf_conv2d_weight_lines_plan(job, itemsize, 1);
    return;
  }
  if (pass == CNF_BACKWARD_WEIGHT && cnf_conv2d_weight_thin(s, lanes)) {
    cnf_conv2d_weight_thin_plan(job, itemsize);
    return;
  }
  const ptrdiff_t kc = CNF_KC, columns = (pass == CNF_BACKWARD_INPUT ? s->c : s->k) / s->groups,
                  pixels = s->n * s->oh * s->ow;
  if (pass == CNF_FORWARD && cnf_conv2d_lines(s, pass)) {
    cnf_conv2d_lines_plan(job, itemsize, workers);
    return;
  }
  if (pass == CNF_BACKWARD_WEIGHT && cnf_conv2d_lines(s, pass)) {
    cnf_conv2d_weight_lines_plan(job, itemsize, 0);
    return;
  }
  /* So many tasks can the columns make; of few pixels, each three vectors: then weights are what is dear to read (192 -> 96,
   * 1 x 1, two images of 5 x 5: 0.9 of the time). */
  const int few = pass == CNF_FORWARD && pixels < 96 * workers && pixels <= 2 * columns;
  const ptrdiff_t parts = few && columns >= 96 ? columns / 48 : cnf_ceil_div(columns, 96), shares = s->groups * parts;
  ptrdiff_t rows = pixels, work = 0, heaviest = 1; /* of the row tasks together, in taps, and the most that one has */
  job->splits = 1;
  job->shared_bytes = 0;
  job->row_chunk = rows < CNF_STRIP_ROWS ? rows : CNF_STRIP_ROWS;
  job->segment = pass == CNF_BACKWARD_WEIGHT ? cnf_conv2d_weight_lies(s, itemsize) : 0;
  if (job->segment) job->row_chunk = job->segment * s->ow;
  if (pass == CNF_BACKWARD_WEIGHT) {
    const ptrdiff_t cg = s->c / s->groups, taps = s->kh * s->kw;
    const ptrdiff_t per_cut = cg < kc ? kc / cg : 1, cuts = cnf_ceil_div(taps, per_cut);
    job->row_tasks = cnf_ceil_div(taps, cnf_ceil_div(taps, cuts)) * cnf_ceil_div(cg, kc);
    job->col_tasks = cnf_ceil_div(columns, 256);
    const ptrdiff_t tasks = job->row_tasks * job->col_tasks * s->groups, chunks = cnf_conv2d_weight_chunks(job);
    const ptrdiff_t splits = cnf_splits(tasks, chunks);
    const ptrdiff_t others = job->row_tasks * s->groups * splits, wanted = cnf_ceil_div(4 * workers, others),
                    most = cnf_ceil_div(columns, 128), least = cnf_ceil_div(workers, others),
                    thin = cnf_ceil_div(columns, 32);
    if (workers > 1 && job->col_tasks < wanted) job->col_tasks = wanted < most ? wanted : most;
    if (job->col_tasks < least) job->col_tasks = least < thin ? least : thin;
    if (splits > 1) {
      job->splits = splits;
      job->shared_bytes = (size_t)splits * taps * cg * s->k * itemsize;
    }
  } else if (pass == CNF_BACKWARD_INPUT) {
    job->row_tasks = 0;
    const ptrdiff_t py_count = s->sh < s->h ? s->sh : s->h, px_count = s->sw < s->w ? s->sw : s->w;
    rows = s->n * cnf_ceil_div(s->h, py_count) * cnf_ceil_div(s->w, px_count); /* of the largest phase */
    job->row_chunk = cnf_even_chunk(rows, cnf_most_rows(rows, shares, workers), workers);
    for (ptrdiff_t py = 0; py < py_count; py++)
      for (ptrdiff_t px = 0; px < px_count; px++) {
        const ptrdiff_t chunks = cnf_ceil_div(s->n * cnf_ceil_div(s->h - py, s->sh) * cnf_ceil_div(s->w - px, s->sw),
                                              job->row_chunk),
                        taps = cnf_phase_taps(py + s->pt, s->kh, s->sh, s->dh) *
                               cnf_phase_taps(px + s->pl, s->kw, s->sw, s->dw);
        job->row_tasks += chunks;
        work += chunks * taps;
        if (taps > heaviest) heaviest = taps;
      }
  } else {
    /* a share of the rows each, if there are enough: what a core has made of them is in its cache when the next layer asks */
    ptrdiff_t most = cnf_most_rows(rows, rows < 96 * workers ? shares : 1, workers);
    if (cnf_goes_far(s, itemsize, CNF_FAR)) { /* the lines that two panels share are whole before they leave L2 */
      const ptrdiff_t fits = (ptrdiff_t)(196608 / (s->k * itemsize));
      most = most < fits ? most : fits > 28 ? fits : 28;
    }
    job->row_chunk = cnf_even_chunk(rows, most, workers);
    job->row_tasks = work = cnf_ceil_div(rows, job->row_chunk);
  }
  if (pass != CNF_BACKWARD_WEIGHT) {
    /* few rows: share the columns out too, a share a worker, for each gathers the strip again; two if some have more taps */
    const ptrdiff_t each = workers == 1 || work % heaviest == 0 ? 1 : 2,
                    wanted = cnf_ceil_div(each * workers * heaviest, (work > 0 ? work : 1) * s->groups);
    job->col_tasks = parts < wanted ? parts : wanted;
  }
  job->col_chunk = cnf_ceil_div(cnf_ceil_div(columns, job->col_tasks), 16) * 16;
  job->col_tasks = cnf_ceil_div(columns, job->col_chunk);
  job->tasks = job->row_tasks * job->col_tasks * s->groups * job->splits;
  const size_t strip = (size_t)(job->row_chunk + 1) * (kc + 16), panel = (size_t)kc * 3 * 16;
  const size_t pointers = (size_t)(job->row_chunk > kc ? job->row_chunk : kc) + 4 * (size_t)(job->row_chunk + 1);
  job->scratch_bytes = ((strip + panel) * itemsize + pointers * sizeof(void *) + 4095) / 4096 * 4096 + 64;
  if (pass == CNF_FORWARD) job->scratch_bytes += cnf_conv2d_stage(job, itemsize);
}

/* One axis: windows of k taps, d apart, every s positions from -p on, over n positions. */

/* Taps [*lo, *hi) of window o that meet the map; returns the position of the first. */
static inline ptrdiff_t cnf_taps(ptrdiff_t o, ptrdiff_t s, ptrdiff_t p, ptrdiff_t d, ptrdiff_t k, ptrdiff_t n,
                                 ptrdiff_t *lo, ptrdiff_t *hi) {
  const ptrdiff_t start = o * s - p, reach = (n - start + d - 1) / d;
  *lo = start < 0 ? (d - 1 - start) / d : 0;
  *hi = start >= n ? 0 : reach < k ? reach : k;
  return start + *lo * d;
}

typedef struct { /* the windows over one position, of the `count` of one axis; see cnf_cover */
  ptrdiff_t s, d, k, window, count, deep;
  ptrdiff_t step, tap_step; /* from one such window to the next, and how far its tap number falls */
} cnf_axis;

static inline cnf_axis cnf_axis_of(ptrdiff_t count, ptrdiff_t s, ptrdiff_t d, ptrdiff_t k) {
  const ptrdiff_t window = (k - 1) * d + 1;
  ptrdiff_t a = s, b = d;
  while (b) {
    ptrdiff_t rest = a % b;
    a = b, b = rest;
  }
  return (cnf_axis){s, d, k, window, count, (window - 1) / s, d / a, s / a};
}

/* Windows over padded position q * s + rest: how many, the first of them and its tap there. */
static inline ptrdiff_t cnf_cover(const cnf_axis *axis, ptrdiff_t q, ptrdiff_t rest, ptrdiff_t *first, ptrdiff_t *tap) {
  const ptrdiff_t low = q - axis->deep + (rest + axis->deep * axis->s >= axis->window);
  const ptrdiff_t last = q < axis->count ? q : axis->count - 1;
  ptrdiff_t o = low > 0 ? low : 0, t = (q - o) * axis->s + rest;
  if (axis->d > 1) {
    for (; o <= last && t % axis->d; o++) t -= axis->s;
    t /= axis->d;
  }
  *first = o;
  *tap = t;
  return o > last ? 0 : (last - o) / axis->step + 1;
}

#endif
