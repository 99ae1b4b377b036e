/* The vector words with one lane. No fused multiply-add: without hardware support fma() is a slow call. */
#define CNF_ISA scalar
#if CNF_ELEM == 32
#define CNF_DTYPE f32
#define T float
#define F(f) f##f
#else
#define CNF_DTYPE f64
#define T double
#define F(f) f
#endif
#define V T
#define VL 1
#define VM int /* lane mask */

#define v_load(p) (*(const T *)(p))
#define v_store(p, a) (*(T *)(p) = (a))
#define v_load_n(p, n) ((n) > 0 ? *(const T *)(p) : (T)0)
#define v_store_n(p, n, a) ((n) > 0 ? (void)(*(T *)(p) = (a)) : (void)0)
#define v_set1(x) ((T)(x))
#define v_zero() ((T)0)
#define v_add(a, b) ((a) + (b))
#define v_sub(a, b) ((a) - (b))
#define v_mul(a, b) ((a) * (b))
#define v_div(a, b) ((a) / (b))
#define v_fma(a, b, c) ((a) * (b) + (c))
#define v_fnma(a, b, c) ((c) - (a) * (b))
#define v_max(a, b) ((a) > (b) ? (a) : (b))
#define v_min(a, b) ((a) < (b) ? (a) : (b))
#define v_sqrt(a) F(sqrt)(a)
#define v_abs(a) F(fabs)(a)
#define v_round(a) F(rint)(a)
#define v_floor(a) F(floor)(a)
#define v_exp2i(a) F(ldexp)((T)1, (int)(a)) /* 2**a for integral a in the normal exponent range */
#define v_gt(a, b) ((a) > (b))
#define v_ge(a, b) ((a) >= (b))
#define v_eq(a, b) ((a) == (b))
#define v_isnan(a) ((a) != (a))
#define v_select(m, a, b) ((m) ? (a) : (b))
#define v_mask_and(m, k) ((m) & (k))
#define v_mask_or(m, k) ((m) | (k))
#define v_mask_any(m) (m)
#define v_hsum(a) (a)
#define v_hmax(a) (a)

/* GEMM register tile: rows for 1, 2, 3, 4 vectors of columns */
#define CNF_ROWS_1 4
#define CNF_ROWS_2 4
#define CNF_ROWS_3 4
#define CNF_ROWS_4 4
