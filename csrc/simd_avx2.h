/* The vector words on AVX2 + FMA. */
#define CNF_ISA avx2
#ifndef CNF_AVX2_ONCE
#define CNF_AVX2_ONCE
static const int32_t cnf_mask_words[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
INLINE __m256 cnf_exp2i_f32(__m256 a) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127)), 23));
}
INLINE __m256d cnf_exp2i_f64(__m256d a) {
  __m256i i = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(a));
  return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_add_epi64(i, _mm256_set1_epi64x(1023)), 52));
}
/* a * 2**n in two steps, so that neither factor leaves the range and only one rounds */
INLINE __m256 cnf_ldexp_f32(__m256 a, __m256 n) {
  __m256 half = _mm256_floor_ps(_mm256_mul_ps(n, _mm256_set1_ps(0.5f)));
  return _mm256_mul_ps(_mm256_mul_ps(a, cnf_exp2i_f32(half)), cnf_exp2i_f32(_mm256_sub_ps(n, half)));
}
INLINE __m256d cnf_ldexp_f64(__m256d a, __m256d n) {
  __m256d half = _mm256_floor_pd(_mm256_mul_pd(n, _mm256_set1_pd(0.5)));
  return _mm256_mul_pd(_mm256_mul_pd(a, cnf_exp2i_f64(half)), cnf_exp2i_f64(_mm256_sub_pd(n, half)));
}
INLINE __m256 cnf_exponent_f32(__m256 a) {
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(a), 23), _mm256_set1_epi32(127)));
}
INLINE __m256d cnf_exponent_f64(__m256d a) { /* the exponent's bits become the last digits of 2**52 */
  __m256d big = _mm256_set1_pd(0x1p52);
  __m256i bits = _mm256_or_si256(_mm256_srli_epi64(_mm256_castpd_si256(a), 52), _mm256_castpd_si256(big));
  return _mm256_sub_pd(_mm256_castsi256_pd(bits), _mm256_set1_pd(0x1p52 + 1023));
}
/* Bytes have no masked load: n < 8 of them come and go in pieces of 4, 2, 1. */
INLINE __m128i cnf_load_bytes(const uint8_t *p, ptrdiff_t n) {
  uint64_t bytes = 0;
  uint32_t four;
  uint16_t two;
  if (n == 8) return _mm_loadl_epi64((const __m128i *)p);
  if (n & 1) bytes = p[n - 1];
  if (n & 2) memcpy(&two, p + (n & 4), 2), bytes = bytes << 16 | two;
  if (n & 4) memcpy(&four, p, 4), bytes = bytes << 32 | four;
  return _mm_cvtsi64_si128((long long)bytes);
}
INLINE void cnf_store_bytes(uint8_t *p, ptrdiff_t n, __m128i a) {
  uint64_t bytes = (uint64_t)_mm_cvtsi128_si64(a);
  if (n == 8) {
    memcpy(p, &bytes, 8);
    return;
  }
  if (n & 4) memcpy(p, &bytes, 4), p += 4, bytes >>= 32;
  if (n & 2) memcpy(p, &bytes, 2), p += 2, bytes >>= 16;
  if (n & 1) *p = (uint8_t)bytes;
}
/* The first n lanes, in pieces: a masked store is 42 steps of microcode on a Zen 3, 12 cycles (the pooled 5 x 5 convolution of
 * LeNet-5, six channels: 0.8 of the time without). */
INLINE void cnf_store_n_f32(float *p, ptrdiff_t n, __m256 a) {
  __m128 low = _mm256_castps256_ps128(a);
  if (n == 8) {
    _mm256_storeu_ps(p, a);
    return;
  }
  if (n & 4) _mm_storeu_ps(p, low), p += 4, low = _mm256_extractf128_ps(a, 1);
  if (n & 2) _mm_storel_pi((__m64 *)p, low), p += 2, low = _mm_movehl_ps(low, low);
  if (n & 1) _mm_store_ss(p, low);
}
INLINE void cnf_store_n_f64(double *p, ptrdiff_t n, __m256d a) {
  __m128d low = _mm256_castpd256_pd128(a);
  if (n == 4) {
    _mm256_storeu_pd(p, a);
    return;
  }
  if (n & 2) _mm_storeu_pd(p, low), p += 2, low = _mm256_extractf128_pd(a, 1);
  if (n & 1) _mm_store_sd(p, low);
}
INLINE __m256 cnf_pick_f32(__m256 a, __m256 b, const int32_t *table) {
  __m256i t = _mm256_loadu_si256((const __m256i *)table);
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(a, t), _mm256_permutevar8x32_ps(b, t),
                          _mm256_castsi256_ps(_mm256_slli_epi32(t, 28)));
}
INLINE __m256d cnf_pick_f64(__m256d a, __m256d b, const int64_t *table) {
  __m256i t = _mm256_loadu_si256((const __m256i *)table);
  __m256i halves = _mm256_add_epi32(_mm256_shuffle_epi32(_mm256_slli_epi32(t, 1), 0xa0), _mm256_set1_epi64x(1LL << 32));
  __m256 low = _mm256_permutevar8x32_ps(_mm256_castpd_ps(a), halves);
  __m256 high = _mm256_permutevar8x32_ps(_mm256_castpd_ps(b), halves);
  return _mm256_blendv_pd(_mm256_castps_pd(low), _mm256_castps_pd(high), _mm256_castsi256_pd(_mm256_slli_epi64(t, 61)));
}
INLINE __m128i cnf_to_bytes(__m128i low, __m128i high) { return _mm_packus_epi16(_mm_packus_epi32(low, high), low); }
INLINE __m256 cnf_if_above_f32(const uint32_t *p, uint32_t least, __m256 a) { /* unsigned, by signed comparison */
  const __m256i sign = _mm256_set1_epi32(INT32_MIN);
  __m256i words = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p), sign);
  return _mm256_and_ps(
      a, _mm256_castsi256_ps(_mm256_cmpgt_epi32(words, _mm256_xor_si256(_mm256_set1_epi32((int)least), sign))));
}
INLINE __m256d cnf_if_above_f64(const uint32_t *p, uint32_t least, __m256d a) {
  __m256i words = _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)p));
  return _mm256_and_pd(a, _mm256_castsi256_pd(_mm256_cmpgt_epi64(words, _mm256_set1_epi64x(least))));
}
INLINE void cnf_store_words(uint32_t *p, __m256i a, __m256i b, __m256i c, __m256i d) {
  __m256i ab = _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa),
          cd = _mm256_blend_epi32(c, _mm256_slli_epi64(d, 32), 0xaa);
  __m256i even = _mm256_unpacklo_epi64(ab, cd), odd = _mm256_unpackhi_epi64(ab, cd);
  _mm256_storeu_si256((__m256i *)p, _mm256_permute2x128_si256(even, odd, 0x20));
  _mm256_storeu_si256((__m256i *)(p + 8), _mm256_permute2x128_si256(even, odd, 0x31));
}
INLINE float cnf_hsum_f32(__m256 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
INLINE double cnf_hsum_f64(__m256d a) {
  __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}
INLINE float cnf_hmax_f32(__m256 a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
INLINE double cnf_hmax_f64(__m256d a) {
  __m128d s = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
  return _mm_cvtsd_f64(_mm_max_sd(s, _mm_unpackhi_pd(s, s)));
}
#endif
#if CNF_ELEM == 32
#define CNF_DTYPE f32
#define T float
#define V __m256
#define VL 8
#define I(op) _mm256_##op##_ps
#define CNF_MASK(n) _mm256_loadu_si256((const __m256i *)(cnf_mask_words + 8 - (n)))
#define TI int32_t
#define CNF_INT(a) _mm256_cvtps_epi32(a)
#define v_load_u8_n(p, n) _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(cnf_load_bytes(p, n)))
#define v_store_u8_n(p, n, a)                                                                                          \
  cnf_store_bytes(p, n, cnf_to_bytes(_mm256_castsi256_si128(CNF_INT(a)), _mm256_extracti128_si256(CNF_INT(a), 1)))
#define v_eq_bytes(b, t) _mm256_castsi256_ps(_mm256_cvtepi8_epi32(_mm_cmpeq_epi8(b, _mm_set1_epi8((char)(t)))))
#define v_load_i32_n(p, n) _mm256_cvtepi32_ps(_mm256_maskload_epi32(p, CNF_MASK(n)))
#define v_store_i32_n(p, n, a) _mm256_maskstore_epi32(p, CNF_MASK(n), CNF_INT(a))
#define v_permute(a, table) _mm256_permutevar8x32_ps(a, _mm256_loadu_si256((const __m256i *)(table)))
#define v_pick(a, b, table) cnf_pick_f32(a, b, table)
#define CNF_QUADS 1
#define v_quads(p, step) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps((p) + (step)), 1)
#define v_zip_low(a, b) _mm256_unpacklo_ps(a, b)
#define v_zip_high(a, b) _mm256_unpackhi_ps(a, b)
#define v_join_low(a, b) _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#define v_join_high(a, b) _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#define v_exp2i(a) cnf_exp2i_f32(a)
#define v_first(a) _mm256_cvtss_f32(a)
#define v_if_above(p, least, a) cnf_if_above_f32(p, least, a)
#define v_exponent(a) cnf_exponent_f32(a)
#define v_ldexp(a, n) cnf_ldexp_f32(a, n)
#define CNF_MASK_AS_V(n) _mm256_castsi256_ps(CNF_MASK(n))
#define v_hsum(a) cnf_hsum_f32(a)
#define v_hmax(a) cnf_hmax_f32(a)
#define CNF_SIGN _mm256_set1_ps(-0.0f)
#define CNF_FMA "vfmadd231ps"
#define CNF_SPREAD "vbroadcastss"
#define CNF_VECTOR __m256_u
#define v_store_n(p, n, a) cnf_store_n_f32(p, n, a)
#else
#define CNF_DTYPE f64
#define T double
#define V __m256d
#define VL 4
#define I(op) _mm256_##op##_pd
#define CNF_MASK(n) _mm256_loadu_si256((const __m256i *)(cnf_mask_words + 8 - 2 * (n)))
#define TI int64_t
#define CNF_MASK32(n) _mm_loadu_si128((const __m128i *)(cnf_mask_words + 8 - (n)))
#define CNF_INT(a) _mm256_cvtpd_epi32(a)
#define v_load_u8_n(p, n) _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(cnf_load_bytes(p, n)))
#define v_store_u8_n(p, n, a) cnf_store_bytes(p, n, cnf_to_bytes(CNF_INT(a), CNF_INT(a)))
#define v_eq_bytes(b, t) _mm256_castsi256_pd(_mm256_cvtepi8_epi64(_mm_cmpeq_epi8(b, _mm_set1_epi8((char)(t)))))
#define v_load_i32_n(p, n) _mm256_cvtepi32_pd(_mm_maskload_epi32(p, CNF_MASK32(n)))
#define v_store_i32_n(p, n, a) _mm_maskstore_epi32(p, CNF_MASK32(n), CNF_INT(a))
#define v_pick(a, b, table) cnf_pick_f64(a, b, table)
#define CNF_QUADS 0
#define v_exp2i(a) cnf_exp2i_f64(a)
#define v_first(a) _mm256_cvtsd_f64(a)
#define v_if_above(p, least, a) cnf_if_above_f64(p, least, a)
#define v_exponent(a) cnf_exponent_f64(a)
#define v_ldexp(a, n) cnf_ldexp_f64(a, n)
#define CNF_MASK_AS_V(n) _mm256_castsi256_pd(CNF_MASK(n))
#define v_hsum(a) cnf_hsum_f64(a)
#define v_hmax(a) cnf_hmax_f64(a)
#define CNF_SIGN _mm256_set1_pd(-0.0)
#define CNF_FMA "vfmadd231pd"
#define CNF_SPREAD "vbroadcastsd"
#define CNF_VECTOR __m256d_u
#define v_store_n(p, n, a) cnf_store_n_f64(p, n, a)
#endif
#define VM V
#define VB __m128i
#define v_bytes_n(p, n) cnf_load_bytes(p, n)

#define v_load(p) I(loadu)(p)
#define v_store(p, a) I(storeu)(p, a)
#define v_stream(p, a) I(stream)(p, a) /* past the caches; p is aligned */
#define v_fence() _mm_sfence()
#define CNF_MASKED 0
#define v_load_n(p, n) I(maskload)(p, CNF_MASK(n))
#define v_load_or(p, n, a) I(blendv)(a, v_load_n(p, n), CNF_MASK_AS_V(n))
#define v_keep_n(a, n) I (and)(a, CNF_MASK_AS_V(n))
#define v_set1(x) I(set1)(x)
#define v_zero() I(setzero)()
#define v_add(a, b) I(add)(a, b)
#define v_sub(a, b) I(sub)(a, b)
#define v_mul(a, b) I(mul)(a, b)
#define v_div(a, b) I(div)(a, b)
#define v_fma(a, b, c) I(fmadd)(a, b, c)
#define v_fnma(a, b, c) I(fnmadd)(a, b, c)
/* c += a b where many such follow each other, and the number at p in all lanes of a: in their order, or GCC would run out of
 * registers (a tile of 12 sums, three vectors and a number has them all) */
#define v_fma_to(c, a, b) __asm__(CNF_FMA " %2, %1, %0" : "+x"(c) : "x"(a), "x"(b))
/* and b of memory, whatever registers the compiler would rather put it in */
#define v_fma_at(c, a, p) __asm__(CNF_FMA " %2, %1, %0" : "+x"(c) : "x"(a), "m"(*(p)))
/* Zero that no register is kept for. */
#define v_clear(a) __asm__ volatile("vxorps %0, %0, %0" : "=x"(a))
#define v_load_to(a, p) __asm__ volatile("vmovups %1, %0" : "=x"(a) : "m"(*(const CNF_VECTOR *)(p)))
#define v_spread(a, p) __asm__ volatile(CNF_SPREAD " %1, %0" : "=x"(a) : "m"(*(p)))
#define v_fma_spread(c, p, b) v_fma_to(c, v_set1(*(p)), b)
#define CNF_SPREADS(i, nv) 0
#define v_max(a, b) I(max)(a, b)
#define v_min(a, b) I(min)(a, b)
#define v_sqrt(a) I(sqrt)(a)
#define v_abs(a) I(andnot)(CNF_SIGN, a)
#define v_round(a) I(round)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_floor(a) I(round)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)
#define v_gt(a, b) I(cmp)(a, b, _CMP_GT_OQ)
#define v_ge(a, b) I(cmp)(a, b, _CMP_GE_OQ)
#define v_eq(a, b) I(cmp)(a, b, _CMP_EQ_OQ)
#define v_nle(a, b) I(cmp)(a, b, _CMP_NLE_UQ)
#define v_unordered(a, b) I(cmp)(a, b, _CMP_UNORD_Q)
#define v_isnan(a) v_unordered(a, a)
#define v_select(m, a, b) I(blendv)(b, a, m)
#define v_add_if(m, a, b) I(add)(a, I (and)(m, b))
#define v_mask_and(m, k) I (and)(m, k)
#define v_mask_or(m, k) I(or)(m, k)
#define v_mask_any(m) (I(movemask)(m) != 0)

#define CNF_REGISTERS 16
/* GEMM register tiles, rows x vectors of columns: what fits the registers, and sizes for fewer rows (never two rows apart
 * where the next smaller is missing). CNF_ROWS_n is the most rows at n vectors. */
#define CNF_ROWS_1 12
#define CNF_ROWS_2 6
#define CNF_ROWS_3 4
/* Of a panel, the vectors where so many are left; terms of a reduction at a stretch: what else a turn of the loop does, a tile
 * of so few sums would feel (1 x 1, 1024 -> 256 @14, one image, a thread of a Zen 3: 42 and 65 GFLOP/s). */
#if CNF_ELEM == 32
#define CNF_PANEL(n) ((n) == 1 ? 1 : (n) == 2 || (n) == 4 ? 2 : 3)
#define CNF_BEAT 4
#define CNF_TILE_BEAT(mr, nv, columns) CNF_BEAT
#else
#define CNF_PANEL(n) ((n) == 1 ? 1 : 2)
#define CNF_BEAT 1
#define CNF_TILE_BEAT(mr, nv, columns) CNF_BEAT
#endif
/* clang-format off */
#if CNF_ELEM == 32
#define CNF_TILES(X) \
  X(1, 1) X(2, 1) X(4, 1) X(6, 1) X(8, 1) X(10, 1) X(12, 1) \
  X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) \
  X(1, 3) X(2, 3) X(3, 3) X(4, 3)
#define CNF_RUNS(X) X(12, 1) X(6, 2) X(4, 3)
#define CNF_RUN_1(rows) 12
#else
#define CNF_TILES(X) \
  X(1, 1) X(2, 1) X(4, 1) X(6, 1) X(8, 1) X(10, 1) X(12, 1) \
  X(1, 2) X(2, 2) X(4, 2) X(6, 2)
#endif
/* clang-format on */

/* Winograd's products: every number of rows, so that none is computed in vain; channels a tile of backward_weight. */
#define CNF_WINOGRAD_ROWS 6
#define CNF_WINOGRAD_STEP 4
/* clang-format off */
#define CNF_WINOGRAD_TILES(X) \
  X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) \
  X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2)
/* clang-format on */

#define U __m256i
#define UL 4
#define u_set1(x) _mm256_set1_epi64x((long long)(x))
#define u_lane() _mm256_set_epi64x(3, 2, 1, 0)
#define u_add(a, b) _mm256_add_epi64(a, b)
#define u_mul(a, b) _mm256_mul_epu32(a, b)
#define u_high(a) _mm256_srli_epi64(a, 32)
#define u_xor(a, b, c) _mm256_xor_si256(_mm256_xor_si256(a, b), c)
#define u_store_words(p, a, b, c, d) cnf_store_words(p, a, b, c, d)
