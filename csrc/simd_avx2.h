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
#define v_exp2i(a) cnf_exp2i_f32(a)
#define v_ldexp(a, n) cnf_ldexp_f32(a, n)
#define v_hsum(a) cnf_hsum_f32(a)
#define v_hmax(a) cnf_hmax_f32(a)
#define CNF_SIGN _mm256_set1_ps(-0.0f)
#else
#define CNF_DTYPE f64
#define T double
#define V __m256d
#define VL 4
#define I(op) _mm256_##op##_pd
#define CNF_MASK(n) _mm256_loadu_si256((const __m256i *)(cnf_mask_words + 8 - 2 * (n)))
#define v_exp2i(a) cnf_exp2i_f64(a)
#define v_ldexp(a, n) cnf_ldexp_f64(a, n)
#define v_hsum(a) cnf_hsum_f64(a)
#define v_hmax(a) cnf_hmax_f64(a)
#define CNF_SIGN _mm256_set1_pd(-0.0)
#endif
#define VM V

#define v_load(p) I(loadu)(p)
#define v_store(p, a) I(storeu)(p, a)
#define v_load_n(p, n) I(maskload)(p, CNF_MASK(n))
#define v_store_n(p, n, a) I(maskstore)(p, CNF_MASK(n), a)
#define v_set1(x) I(set1)(x)
#define v_zero() I(setzero)()
#define v_add(a, b) I(add)(a, b)
#define v_sub(a, b) I(sub)(a, b)
#define v_mul(a, b) I(mul)(a, b)
#define v_div(a, b) I(div)(a, b)
#define v_fma(a, b, c) I(fmadd)(a, b, c)
#define v_fnma(a, b, c) I(fnmadd)(a, b, c)
#define v_max(a, b) I(max)(a, b)
#define v_min(a, b) I(min)(a, b)
#define v_sqrt(a) I(sqrt)(a)
#define v_abs(a) I(andnot)(CNF_SIGN, a)
#define v_round(a) I(round)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_floor(a) I(round)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)
#define v_gt(a, b) I(cmp)(a, b, _CMP_GT_OQ)
#define v_ge(a, b) I(cmp)(a, b, _CMP_GE_OQ)
#define v_eq(a, b) I(cmp)(a, b, _CMP_EQ_OQ)
#define v_isnan(a) I(cmp)(a, a, _CMP_UNORD_Q)
#define v_select(m, a, b) I(blendv)(b, a, m)
#define v_mask_and(m, k) I(and)(m, k)
#define v_mask_or(m, k) I(or)(m, k)
#define v_mask_any(m) (I(movemask)(m) != 0)

#define CNF_ROWS_1 12
#define CNF_ROWS_2 6
#define CNF_ROWS_3 4
#define CNF_ROWS_4 3
#define CNF_PANEL_OF_4 2 /* vectors a panel when four remain */
