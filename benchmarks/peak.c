// What the machine can do: fused multiply-adds in registers, and copies. Built by benchmarks/machine.py with -march=native.
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#if defined __AVX512F__
enum { LANES = 16 };
#elif defined __AVX__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vec __attribute__((vector_size(4 * LANES)));

enum { CHAINS = LANES == 16 ? 24 : 12, MAX_THREADS = 256 }; // independent sums, enough to hide the latency

struct job {
    ptrdiff_t n;
    const char *from;
    char *to;
    float result;
};

static void *fma_job(void *p) {
    struct job *job = p;
    vec sum[CHAINS] = {{0}}, a = {0}, b = {0};
    for (int i = 0; i < LANES; i++) {
        a[i] = 0.999f;
        b[i] = 1e-3f;
    }
    __asm__("" : "+x"(a), "+x"(b)); // not constants
    for (ptrdiff_t k = 0; k < job->n; k++) {
#pragma GCC unroll 24
        for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
    }
    for (int i = 0; i < CHAINS; i++)
        for (int l = 0; l < LANES; l++) job->result += sum[i][l];
    return NULL;
}

static void *copy_job(void *p) {
    struct job *job = p;
    memcpy(job->to, job->from, (size_t)job->n);
    return NULL;
}

static void run(void *(*work)(void *), struct job *jobs, int threads) {
    pthread_t handles[MAX_THREADS];
    for (int t = 1; t < threads; t++) pthread_create(&handles[t], NULL, work, &jobs[t]);
    work(&jobs[0]);
    for (int t = 1; t < threads; t++) pthread_join(handles[t], NULL);
}

// Runs `repeats` rounds of FMAs on every thread; returns the operations done.
double fma_peak(ptrdiff_t repeats, int threads) {
    struct job jobs[MAX_THREADS] = {{0}};
    for (int t = 0; t < threads; t++) jobs[t].n = repeats;
    run(fma_job, jobs, threads);
    return jobs[0].result == 0 ? 0 : 2.0 * LANES * CHAINS * (double)repeats * threads;
}

void copy(const char *from, char *to, ptrdiff_t bytes, int threads) {
    struct job jobs[MAX_THREADS];
    for (int t = 0; t < threads; t++) {
        ptrdiff_t start = bytes * t / threads & ~(ptrdiff_t)63, stop = t + 1 == threads ? bytes : bytes * (t + 1) / threads & ~(ptrdiff_t)63;
        jobs[t] = (struct job){stop - start, from + start, to + start, 0};
    }
    run(copy_job, jobs, threads);
}
