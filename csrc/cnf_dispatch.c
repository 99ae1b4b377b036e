/* Which kernels this CPU can run. Scalar always exists; an ISA counts only if the OS saves its registers (XCR0). */
#include "cnf.h"

extern const cnf_kernels cnf_kernels_f32_scalar, cnf_kernels_f64_scalar;
#if defined(__x86_64__)
#include <cpuid.h>
extern const cnf_kernels cnf_kernels_f32_avx2, cnf_kernels_f64_avx2, cnf_kernels_f32_avx512, cnf_kernels_f32_amx;
#if CNF_HAS_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

const char *const cnf_isa_names[CNF_ISA_COUNT] = {"scalar", "avx2", "avx512", "amx"};

const char *const cnf_kernel_names[] = {
#define CNF_KERNEL(name) #name,
#include "cnf_kernels.inc"
#undef CNF_KERNEL
    NULL};

const cnf_kernels *const cnf_table[CNF_ISA_COUNT][CNF_DTYPE_COUNT] = {
    [CNF_SCALAR] = {&cnf_kernels_f32_scalar, &cnf_kernels_f64_scalar},
#if defined(__x86_64__)
    [CNF_AVX2] = {&cnf_kernels_f32_avx2, &cnf_kernels_f64_avx2},
    [CNF_AVX512] = {&cnf_kernels_f32_avx512, &cnf_kernels_f64_avx2},
#if CNF_HAS_AMX
    [CNF_AMX] = {&cnf_kernels_f32_amx, &cnf_kernels_f64_avx2},
#endif
#endif
};

int cnf_isa_of(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_edx, uint64_t xcr0) {
  const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28;
  const uint32_t avx2 = 1u << 5, f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
  const uint32_t amx_bf16 = 1u << 22, amx_tile = 1u << 24;
  const uint64_t ymm = 0x6, zmm = 0xe6, tiles = 0x60000;
  if ((leaf1_ecx & (fma | osxsave | avx)) != (fma | osxsave | avx) || !(leaf7_ebx & avx2) || (xcr0 & ymm) != ymm)
    return CNF_SCALAR;
  if ((leaf7_ebx & (f | dq | bw | vl)) != (f | dq | bw | vl) || (xcr0 & zmm) != zmm) return CNF_AVX2;
  if ((leaf7_edx & (amx_bf16 | amx_tile)) != (amx_bf16 | amx_tile) || (xcr0 & tiles) != tiles) return CNF_AVX512;
  return CNF_AMX;
}

/* Linux lets a process use the tiles that asks for it; one whose signal handlers have too small a stack is refused. */
static int may_use_tiles(void) {
#if CNF_HAS_AMX
  const long request = 0x1023, data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA */
  return syscall(SYS_arch_prctl, request, data) == 0;
#else
  return 0;
#endif
}

int cnf_isa_detect(void) {
#if defined(__x86_64__)
  uint32_t a, b, c, d, leaf1_ecx, low = 0, high = 0;
  if (!__get_cpuid(1, &a, &b, &leaf1_ecx, &d)) return CNF_SCALAR;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return CNF_SCALAR;
  if (leaf1_ecx & (1u << 27)) __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const int isa = cnf_isa_of(leaf1_ecx, b, d, ((uint64_t)high << 32) | low);
  return isa == CNF_AMX && !may_use_tiles() ? CNF_AVX512 : isa;
#else
  return CNF_SCALAR;
#endif
}
