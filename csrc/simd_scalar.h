/* The vector words with one lane. No fused multiply-add: without hardware support fma() is a slow call. */
#define CNF_ISA scalar
#if CNF_ELEM == 32
#define CNF_DTYPE f32
#define T float
#define F(name) name##f
#define CNF_UINT uint32_t
#define CNF_BIAS 127
#define CNF_MANTISSA 23
#else
#define CNF_DTYPE f64
#define T double
#define F(name) name
#define CNF_UINT uint64_t
#define CNF_BIAS 1023
#define CNF_MANTISSA 52
#endif
#define V T
#define VL 1
#define VM int     /* lane mask */
#define VB uint8_t /* a byte a lane */
#define TI int32_t /* an element of a table for v_pick */

INLINE T
CNF_NAME(round)(T a) { /* half to even; adding half of 2**mantissa drops the fraction, larger values have none */
  const T big = (T)1.5 * ((CNF_UINT)1 << CNF_MANTISSA);
  return F(fabs)(a) < big / 3 ? (a + big) - big : a;
}
INLINE T CNF_NAME(floor)(T a) {
  T nearest = CNF_NAME(round)(a);
  return nearest > a ? nearest - 1 : nearest;
}
INLINE T CNF_NAME(exponent)(T a) {
  union {
    T value;
    CNF_UINT bits;
  } u = {a};
  return (T)((int)(u.bits >> CNF_MANTISSA) - CNF_BIAS);
}
INLINE T CNF_NAME(exp2i)(T a) {
  union {
    CNF_UINT bits;
    T value;
  } u = {(CNF_UINT)((int)(a == a ? a : 0) + CNF_BIAS) << CNF_MANTISSA};
  return u.value;
}
INLINE T CNF_NAME(ldexp2)(T a, T n) { /* in two steps, so that neither factor leaves the range and only one rounds */
  T half = CNF_NAME(round)(n / 2);
  return a * CNF_NAME(exp2i)(half) * CNF_NAME(exp2i)(n - half);
}

#define v_load(p) (*(const T *)(p))
#define v_store(p, a) (*(T *)(p) = (a))
#define v_stream(p, a) v_store(p, a)
#define v_fence() ((void)0)
#define CNF_MASKED 0
#define v_load_n(p, n) ((n) > 0 ? *(const T *)(p) : (T)0)
#define v_load_or(p, n, a) ((n) > 0 ? *(const T *)(p) : (a))                    /* lanes from n on are those of a */
#define v_if_above(p, least, a) (*(const uint32_t *)(p) > (least) ? (a) : (T)0) /* lanes whose word p[lane] is above */
#define v_keep_n(a, n) ((n) > 0 ? (a) : (T)0)                                   /* lanes from n on become 0 */
#define v_store_n(p, n, a) ((n) > 0 ? (void)(*(T *)(p) = (a)) : (void)0)
#define v_set1(x) ((T)(x))
#define v_zero() ((T)0)
#define v_add(a, b) ((a) + (b))
#define v_sub(a, b) ((a) - (b))
#define v_mul(a, b) ((a) * (b))
#define v_div(a, b) ((a) / (b))
#define v_fma(a, b, c) ((a) * (b) + (c))
#define v_fnma(a, b, c) ((c) - (a) * (b))
#define v_fma_to(c, a, b) ((c) = v_fma(a, b, c))
#define v_fma_at(c, a, p) ((c) = v_fma(a, *(p), c))
#define v_clear(a) ((a) = v_zero())
#define v_load_to(a, p) ((a) = v_load(p))
#define v_spread(a, p) ((a) = v_set1(*(p)))
#define v_fma_spread(c, p, b) v_fma_to(c, v_set1(*(p)), b)
#define CNF_SPREADS(i, nv) 0
#define v_max(a, b) ((a) > (b) ? (a) : (b))
#define v_min(a, b) ((a) < (b) ? (a) : (b))
#define v_sqrt(a) F(sqrt)(a)
#define v_abs(a) F(fabs)(a)
#define v_round(a) CNF_NAME(round)(a)
#define v_floor(a) CNF_NAME(floor)(a)
#define v_exp2i(a) CNF_NAME(exp2i)(a)        /* 2**a for integral a in the normal exponent range */
#define v_ldexp(a, n) CNF_NAME(ldexp2)(a, n) /* a * 2**n for integral n, |n| below twice the exponent range */
#define v_exponent(a) CNF_NAME(exponent)(a)  /* floor(log2(a)) of a normal a > 0 */
#define v_gt(a, b) ((a) > (b))
#define v_ge(a, b) ((a) >= (b))
#define v_eq(a, b) ((a) == (b))
#define v_nle(a, b) (!((a) <= (b)))                  /* greater or unordered */
#define v_unordered(a, b) ((a) != (a) || (b) != (b)) /* one of them is NaN */
#define v_isnan(a) v_unordered(a, a)
#define v_select(m, a, b) ((m) ? (a) : (b))
#define v_add_if(m, a, b) ((m) ? (a) + (b) : (a))
#define v_mask_and(m, k) ((m) & (k))
#define v_mask_or(m, k) ((m) | (k))
#define v_mask_any(m) (m)
#define v_first(a) (a) /* lane 0 */
#define CNF_QUADS 0
#define v_pick(a, b, table) (*(table) ? (b) : (a)) /* lane l: lane table[l] of a followed by b */
/* n lanes from or to integers in memory: bytes, 32 bits; the lanes hold integral values */
#define v_load_u8_n(p, n) ((n) > 0 ? (T) * (const uint8_t *)(p) : (T)0)
#define v_store_u8_n(p, n, a) ((n) > 0 ? (void)(*(uint8_t *)(p) = (uint8_t)(a)) : (void)0)
#define v_bytes_n(p, n) ((n) > 0 ? *(const uint8_t *)(p) : (uint8_t)0)
#define v_eq_bytes(b, t) ((b) == (t))
#define v_load_i32_n(p, n) ((n) > 0 ? (T) * (const int32_t *)(p) : (T)0)
#define v_store_i32_n(p, n, a) ((n) > 0 ? (void)(*(int32_t *)(p) = (int32_t)(a)) : (void)0)
#define v_hsum(a) (a)
#define v_hmax(a) (a)

#define CNF_REGISTERS 16
/* GEMM register tiles, rows x vectors of columns: what fits the registers, and sizes for fewer rows (never two rows apart
 * where the next smaller is missing). CNF_ROWS_n is the most rows at n vectors. */
#define CNF_ROWS_1 4
#define CNF_ROWS_2 4
#define CNF_ROWS_3 4
/* Of a panel, the vectors where so many are left; terms of a reduction at a stretch. */
#define CNF_PANEL(n) ((n) == 1 ? 1 : 2)
#define CNF_BEAT 1
#define CNF_TILE_BEAT(mr, nv, columns) CNF_BEAT
/* clang-format off */
#define CNF_TILES(X) \
  X(1, 1) X(2, 1) X(3, 1) X(4, 1) \
  X(1, 2) X(2, 2) X(3, 2) X(4, 2)
/* clang-format on */

/* Winograd's products: every number of rows, so that none is computed in vain; channels a tile of backward_weight. */
#define CNF_WINOGRAD_ROWS 4
#define CNF_WINOGRAD_STEP 4
/* clang-format off */
#define CNF_WINOGRAD_TILES(X) \
  X(1, 1) X(2, 1) X(3, 1) X(4, 1) \
  X(1, 2) X(2, 2) X(3, 2) X(4, 2)
/* clang-format on */

/* 64-bit lanes for random words */
#define U uint64_t
#define UL 1
#define u_set1(x) ((uint64_t)(x))
#define u_lane() 0u /* its number in each lane */
#define u_add(a, b) ((a) + (b))
#define u_mul(a, b) ((uint64_t)(uint32_t)(a) * (uint32_t)(b)) /* of the lower halves */
#define u_high(a) ((a) >> 32)
#define u_xor(a, b, c) ((a) ^ (b) ^ (c))
#define u_store_words(p, a, b, c, d)                                                                                   \
  ((p)[0] = (uint32_t)(a), (p)[1] = (uint32_t)(b), (p)[2] = (uint32_t)(c),                                             \
   (p)[3] = (uint32_t)(d)) /* lower halves, by lane */
