/* The vector words on AVX-512 (F, DQ, BW, VL): of floats, for no kernel of doubles uses it. */
#define CNF_ISA avx512
#ifndef CNF_AVX512_ONCE
#define CNF_AVX512_ONCE
INLINE __m512 cnf_exp2i_f32(__m512 a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127)), 23));
}
INLINE void cnf_store_words512(uint32_t *p, __m512i a, __m512i b, __m512i c, __m512i d) {
  __m512i ab = _mm512_mask_blend_epi32(0xaaaa, a, _mm512_slli_epi64(b, 32));
  __m512i cd = _mm512_mask_blend_epi32(0xaaaa, c, _mm512_slli_epi64(d, 32));
  _mm512_storeu_si512(p, _mm512_permutex2var_epi64(ab, _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), cd));
  _mm512_storeu_si512(p + 16, _mm512_permutex2var_epi64(ab, _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4), cd));
}
INLINE __m512 cnf_quads512(const float *p, ptrdiff_t step) {
  __m512 a = _mm512_castps128_ps512(_mm_loadu_ps(p));
  a = _mm512_insertf32x4(a, _mm_loadu_ps(p + step), 1);
  a = _mm512_insertf32x4(a, _mm_loadu_ps(p + 2 * step), 2);
  return _mm512_insertf32x4(a, _mm_loadu_ps(p + 3 * step), 3);
}
#endif
#define CNF_DTYPE f32
#define T float
#define V __m512
#define VL 16
#define VM __mmask16
#define TI int32_t
#define v_load_u8_n(p, n) _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(CNF_MASK(n), p)))
#define v_store_u8_n(p, n, a) _mm512_mask_cvtepi32_storeu_epi8(p, CNF_MASK(n), _mm512_cvtps_epi32(a))
#define v_eq_bytes(b, t) _mm_cmpeq_epi8_mask(b, _mm_set1_epi8((char)(t)))
#define v_load_i32_n(p, n) _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(CNF_MASK(n), p))
#define v_store_i32_n(p, n, a) _mm512_mask_storeu_epi32(p, CNF_MASK(n), _mm512_cvtps_epi32(a))
#define v_permute(a, table) _mm512_permutexvar_ps(_mm512_loadu_si512(table), a)
#define v_pick(a, b, table) _mm512_permutex2var_ps(a, _mm512_loadu_si512(table), b)
/* Four elements each of rows `step` apart; and, of each row's four, those of a and b in turns: the first two, the last two. */
#define CNF_QUADS 1
#define v_quads(p, step) cnf_quads512(p, step)
#define v_zip_low(a, b) _mm512_unpacklo_ps(a, b)
#define v_zip_high(a, b) _mm512_unpackhi_ps(a, b)
#define v_join_low(a, b) _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#define v_join_high(a, b) _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#define v_nle(a, b) _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ)
#define I(op) _mm512_##op##_ps
#define v_exp2i(a) cnf_exp2i_f32(a)
#define v_first(a) _mm512_cvtss_f32(a)
#define CNF_ABOVE(p, least) _mm512_cmpgt_epu32_mask(_mm512_loadu_si512(p), _mm512_set1_epi32((int)(least)))
#define v_gt(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define v_ge(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ)
#define v_eq(a, b) _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)
#define v_unordered(a, b) _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q)
#define CNF_MASK(n) ((VM)((1u << (n)) - 1))
#define VB __m128i
#define v_bytes_n(p, n) _mm_maskz_loadu_epi8(CNF_MASK(n), p)

#define v_load(p) I(loadu)(p)
#define v_store(p, a) I(storeu)(p, a)
#define v_stream(p, a) I(stream)(p, a) /* past the caches; p is aligned */
#define v_fence() _mm_sfence()
#define CNF_MASKED 1 /* an access to a part of a vector is one instruction, as fast as any */
#define v_load_n(p, n) I(maskz_loadu)(CNF_MASK(n), p)
#define v_load_or(p, n, a) I(mask_loadu)(a, CNF_MASK(n), p)
#define v_if_above(p, least, a) I(maskz_mov)(CNF_ABOVE(p, least), a)
#define v_keep_n(a, n) I(maskz_mov)(CNF_MASK(n), a)
#define v_store_n(p, n, a) I(mask_storeu)(p, CNF_MASK(n), a)
#define v_set1(x) I(set1)(x)
#define v_zero() I(setzero)()
#define v_add(a, b) I(add)(a, b)
#define v_sub(a, b) I(sub)(a, b)
#define v_mul(a, b) I(mul)(a, b)
#define v_div(a, b) I(div)(a, b)
#define v_fma(a, b, c) I(fmadd)(a, b, c)
#define v_fnma(a, b, c) I(fnmadd)(a, b, c)
#define v_fma_to(c, a, b) ((c) = v_fma(a, b, c))
#define v_fma_at(c, a, p) ((c) = v_fma(a, *(p), c))
#define v_clear(a) ((a) = v_zero())
/* Once, however many use it: the compiler would read memory for each of them. */
#define v_load_to(a, p)                                                                                                \
  do {                                                                                                                 \
    (a) = v_load(p);                                                                                                   \
    __asm__("" : "+v"(a));                                                                                             \
  } while (0)
#define v_spread(a, p) ((a) = v_set1(*(p)))
/* c += *p b. Every other row of a tile reads its numbers so: an instruction less, a load more (14 x 2 on an Emerald Rapids
 * whose other hyperthread is at work: 0.72 and 0.78 of the peak; alone 0.97 both). */
#define v_fma_spread(c, p, b) __asm__ volatile("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*(p)))
#define CNF_SPREADS(i, nv) ((nv) > 1 && (i) % 2 == 1)
#define v_max(a, b) I(max)(a, b)
#define v_min(a, b) I(min)(a, b)
#define v_sqrt(a) I(sqrt)(a)
#define v_isnan(a) v_unordered(a, a)
#define v_ldexp(a, n) I(scalef)(a, n)
#define v_exponent(a) I(getexp)(a)
#define v_abs(a) I(abs)(a)
#define v_round(a) I(roundscale)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_floor(a) I(roundscale)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)
#define v_select(m, a, b) I(mask_blend)(m, b, a)
#define v_add_if(m, a, b) I(mask_add)(a, m, a, b)
#define v_mask_and(m, k) ((VM)((m) & (k)))
#define v_mask_or(m, k) ((VM)((m) | (k)))
#define v_mask_any(m) ((m) != 0)
#define v_hsum(a) I(reduce_add)(a)
#define v_hmax(a) I(reduce_max)(a)

#define CNF_REGISTERS 32
/* GEMM register tiles, rows x vectors of columns: what fits the registers, and sizes for fewer rows (never two rows apart
 * where the next smaller is missing). CNF_ROWS_n is the most rows at n vectors. */
#define CNF_ROWS_1 28
#define CNF_ROWS_2 14
#define CNF_ROWS_3 8
/* Of a panel, the vectors where so many are left; terms of a reduction at a stretch, and whether a tile has its loop unrolled for
 * them (on an Emerald Rapids 1 x 1, 512 -> 512 @14: 0.95 of the time; 4 x 4 stride 2, 64 @33: 0.85; elsewhere it is only code). */
#define CNF_PANEL(n) ((n) <= 3 ? (n) : (n) == 4 ? 2 : 3)
#define CNF_BEAT 2
#define CNF_TILE_BEAT(mr, nv, columns) ((nv) > 1 && (mr) * (nv) >= 16 && !(columns) ? 2 : 1)
/* clang-format off */
#define CNF_TILES(X) \
  X(1, 1) X(2, 1) X(4, 1) X(6, 1) X(8, 1) X(10, 1) X(12, 1) X(14, 1) \
  X(16, 1) X(18, 1) X(20, 1) X(22, 1) X(24, 1) X(26, 1) X(28, 1) \
  X(1, 2) X(2, 2) X(4, 2) X(6, 2) X(8, 2) X(10, 2) X(12, 2) X(14, 2) \
  X(1, 3) X(2, 3) X(4, 3) X(6, 3) X(8, 3)
#define CNF_RUNS(X) X(14, 1) X(16, 1) X(14, 2) X(8, 3)
/* clang-format on */
#define CNF_RUN_1(rows) (CNF_NAME(run_cost)(rows, 16) <= CNF_NAME(run_cost)(rows, 14) ? 16 : 14) /* at one vector */

/* Winograd's products: every number of rows, so that none is computed in vain; channels a tile of backward_weight. */
#define CNF_WINOGRAD_ROWS 14
#define CNF_WINOGRAD_STEP 8
/* clang-format off */
#define CNF_WINOGRAD_TILES(X) \
  X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1) X(13, 1) X(14, 1) \
  X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2) X(13, 2) X(14, 2)
/* clang-format on */

#define U __m512i
#define UL 8
#define u_set1(x) _mm512_set1_epi64((long long)(x))
#define u_lane() _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0)
#define u_add(a, b) _mm512_add_epi64(a, b)
#define u_mul(a, b) _mm512_mul_epu32(a, b)
#define u_high(a) _mm512_srli_epi64(a, 32)
#define u_xor(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define u_store_words(p, a, b, c, d) cnf_store_words512(p, a, b, c, d)
