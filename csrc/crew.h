/* A crew: the threads of one parallel region, going through a list of jobs together. Included where the region is
 * (ops/threads.pyx) and nowhere else.
 *
 * There is no barrier between two jobs. Threads draw the tasks of the job at hand, each from a share of its own first, so
 * that the same images stay near the same core from job to job; who finishes the last one does the jobs after it that are
 * for one thread, and puts the next one at hand. So a thread that is late, asleep or without a CPU holds nobody up unless it
 * has a task. Waiting threads spin, as the next job comes in microseconds, but not where others want the CPUs: there the
 * spinning would cost the very time that the other threads wait for. A training step of a small network (27 jobs, 2 threads)
 * takes 0.79 of the time that a region for each job takes.
 *
 * Every 100 ms the crew leaves its work between two tasks, so that signals can be heard, and takes it up again. */
#ifndef CNF_CREW_H
#define CNF_CREW_H

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "cnf.h"

/* Kernels round to nearest and keep denormals, unless told to flush them, whatever rules the calling thread has (a library
 * built with -ffast-math changes them on loading) and its team inherits; they leave rules and flags as they found them. */
#ifdef __SSE__
#include <xmmintrin.h>
static unsigned cnf_kernel_rules = 0x1f80;
static void cnf_set_flush(int flush) { cnf_kernel_rules = flush ? 0x1f80 | 0x8040 : 0x1f80; }
static unsigned cnf_rules(void) {
  unsigned before = _mm_getcsr();
  _mm_setcsr(cnf_kernel_rules);
  return before;
}
static void cnf_restore_rules(unsigned before) { _mm_setcsr(before); }
#else
static void cnf_set_flush(int flush) { (void)flush; }
static unsigned cnf_rules(void) { return 0; }
static void cnf_restore_rules(unsigned before) { (void)before; }
#endif

typedef struct { /* a share of a job's tasks; a cache line, for each is mostly one thread's */
  ptrdiff_t drawn;
  ptrdiff_t done; /* of the job's first share: tasks of the whole job that are finished */
  char rest[48];
} cnf_progress;

typedef struct {
  const cnf_work *work;
  cnf_progress *progress; /* of each job the shares of `threads`, from zero */
  ptrdiff_t count, at;    /* the job at hand, or -1 before the first */
  int64_t end;            /* when to leave, or 0 */
  int leaving;
  int threads; /* one does everything alone */
  int crowded; /* more threads than CPUs */
  int asleep;
  int cpu;  /* where the first thread is */
  int came; /* of the others: those that are there, ... */
  int left; /* ... and those that have left their work */
  pthread_mutex_t mutex;
  pthread_cond_t news;
} cnf_crew;

/* A thread that wakes up may be put on the CPU of the one that woke it though another is free, a virtual machine's most of
 * all, and there they wait for each other: it moves away, and may be anywhere again. */
#ifdef __linux__
static void cnf_part(int cpu) {
  cpu_set_t allowed, others;
  if (sched_getcpu() != cpu || sched_getaffinity(0, sizeof(allowed), &allowed)) return;
  others = allowed;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof(others), &others)) {
    sched_setaffinity(0, sizeof(allowed), &allowed);
  }
}
#else
static int sched_getcpu(void) { return -1; }
static void cnf_part(int cpu) { (void)cpu; }
#endif

static int64_t cnf_nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

/* For every task: to a few milliseconds, in as many nanoseconds. */
#ifdef CLOCK_MONOTONIC_COARSE
#define CNF_COARSE CLOCK_MONOTONIC_COARSE
#else
#define CNF_COARSE CLOCK_MONOTONIC
#endif

/* The next job from `at` on that is to be drawn from, or `count`; those before it are done. */
static ptrdiff_t cnf_crew_next(const cnf_crew *crew, ptrdiff_t at) {
  for (; at < crew->count; at++) {
    const cnf_work *work = &crew->work[at];
    if (!work->kernel || work->tasks < 1) continue;
    if (crew->threads < 2 || work->workers > 1) break;
    for (ptrdiff_t task = 0; task < work->tasks; task++) {
      work->kernel(work->job, task, 0);
    }
  }
  return at;
}

static void cnf_crew_open(cnf_crew *crew, const cnf_work *work, cnf_progress *progress, ptrdiff_t count, int threads,
                          int cpus) {
  *crew = (cnf_crew){.work = work, .progress = progress, .count = count, .at = -1};
  crew->threads = threads;
  crew->crowded = threads > cpus;
  if (threads < 2) return; /* nobody waits */
  pthread_mutex_init(&crew->mutex, NULL);
  pthread_cond_init(&crew->news, NULL);
}

static void cnf_crew_close(cnf_crew *crew) {
  if (crew->threads < 2) return;
  pthread_cond_destroy(&crew->news);
  pthread_mutex_destroy(&crew->mutex);
}

/* Before the crew sets to work, and before it does so again. Returns whether there is work. */
static int cnf_crew_begin(cnf_crew *crew) {
  const int is_short = crew->at >= crew->count || (crew->count == 1 && crew->work->tasks == 1);
  crew->end = is_short ? 0 : cnf_nanoseconds(CNF_COARSE) + 100000000;
  crew->leaving = crew->came = crew->left = 0;
  crew->cpu = crew->threads > 1 ? sched_getcpu() : -1;
  return crew->at < crew->count;
}

/* Others want the CPUs: nobody spins for long before this time. */
static int64_t cnf_crowded_until;

/* Until another job is at hand, or all leave. */
static void cnf_crew_wait(cnf_crew *crew, ptrdiff_t at) {
  const int64_t start = cnf_nanoseconds(CLOCK_MONOTONIC);
  const int crowded = crew->crowded || start < __atomic_load_n(&cnf_crowded_until, __ATOMIC_RELAXED);
  const int64_t end = start + (crowded ? 2000 : 200000);
  for (int64_t last = start, now; last < end; last = now) {
    for (int i = 0; i < 16; i++) {
      if (__atomic_load_n(&crew->at, __ATOMIC_ACQUIRE) != at || __atomic_load_n(&crew->leaving, __ATOMIC_ACQUIRE))
        return;
      cnf_pause();
    }
    now = cnf_nanoseconds(CLOCK_MONOTONIC);
    if (now - last > 100000) { /* this thread was not running meanwhile */
      __atomic_store_n(&cnf_crowded_until, now + 50000000, __ATOMIC_RELAXED);
    }
  }
  pthread_mutex_lock(&crew->mutex);
  __atomic_fetch_add(&crew->asleep, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&crew->at, __ATOMIC_SEQ_CST) == at && !__atomic_load_n(&crew->leaving, __ATOMIC_SEQ_CST)) {
    pthread_cond_wait(&crew->news, &crew->mutex);
  }
  __atomic_fetch_sub(&crew->asleep, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&crew->mutex);
}

/* After a change, which comes before in the one order of sequentially consistent accesses: who counts as asleep later sees it. */
static void cnf_crew_wake(cnf_crew *crew) {
  if (!__atomic_load_n(&crew->asleep, __ATOMIC_SEQ_CST)) return;
  pthread_mutex_lock(&crew->mutex);
  pthread_cond_broadcast(&crew->news);
  pthread_mutex_unlock(&crew->mutex);
}

static void cnf_crew_move(cnf_crew *crew, ptrdiff_t at) {
  __atomic_store_n(&crew->at, cnf_crew_next(crew, at), __ATOMIC_SEQ_CST);
  cnf_crew_wake(crew);
}

/* A task that nobody has drawn, or -1. `*tried` counts the shares found empty: this thread's own comes first. */
static ptrdiff_t cnf_crew_draw(const cnf_work *work, cnf_progress *progress, int shares, int worker, int *tried) {
  for (; *tried < shares; ++*tried) {
    const int share = (worker + *tried) % shares;
    const ptrdiff_t first = work->tasks * share / shares, end = work->tasks * (share + 1) / shares;
    if (first == end) continue;
    const ptrdiff_t task = first + __atomic_fetch_add(&progress[share].drawn, 1, __ATOMIC_RELAXED);
    if (task < end) return task;
  }
  return -1;
}

/* Whether somebody is late, and may be waiting for the CPU of the first thread. */
static int cnf_crew_lacks(const cnf_crew *crew, int team) {
  return __atomic_load_n(&crew->came, __ATOMIC_RELAXED) < team - 1;
}

/* What each thread calls of the `team` that there is, which may be smaller than the crew. */
static void cnf_crew_work(cnf_crew *crew, int worker, int team) {
  const unsigned rules = cnf_rules();
  ptrdiff_t at;
  if (worker > 0) {
    __atomic_add_fetch(&crew->came, 1, __ATOMIC_RELAXED);
    cnf_part(crew->cpu);
  }
  if (worker == 0 && crew->at < 0) { /* the others wake up meanwhile */
    cnf_crew_move(crew, 0);
    for (int i = 0; i < 64 && cnf_crew_lacks(crew, team); i++) {
      cnf_pause();
    }
    if (cnf_crew_lacks(crew, team)) sched_yield();
  }
  while ((at = __atomic_load_n(&crew->at, __ATOMIC_ACQUIRE)) < crew->count &&
         !__atomic_load_n(&crew->leaving, __ATOMIC_RELAXED)) {
    if (at < 0) {
      cnf_crew_wait(crew, at);
      continue;
    }
    const cnf_work *work = &crew->work[at];
    cnf_progress *progress = &crew->progress[at * crew->threads];
    const int shares = work->workers < crew->threads ? work->workers : crew->threads;
    ptrdiff_t task;
    int is_last = 0, tried = 0;
    while (worker < shares && !is_last && !__atomic_load_n(&crew->leaving, __ATOMIC_RELAXED) &&
           (task = cnf_crew_draw(work, progress, shares, worker, &tried)) >= 0) {
      work->kernel(work->job, task, worker);
      if (worker == 0 && cnf_crew_lacks(crew, team)) sched_yield();
      is_last = __atomic_add_fetch(&progress->done, 1, __ATOMIC_ACQ_REL) == work->tasks;
      if (crew->end && cnf_nanoseconds(CNF_COARSE) > crew->end &&
          !__atomic_exchange_n(&crew->leaving, 1, __ATOMIC_SEQ_CST)) {
        cnf_crew_wake(crew);
      }
    }
    if (is_last) {
      cnf_crew_move(crew, at + 1);
    } else {
      cnf_crew_wait(crew, at);
    }
  }
  if (worker > 0) {
    __atomic_add_fetch(&crew->left, 1, __ATOMIC_RELEASE);
  } else { /* else in the region's barrier, where a thread spins though the other waits for its CPU */
    for (int i = 0; __atomic_load_n(&crew->left, __ATOMIC_ACQUIRE) < team - 1; i++) {
      if (i < 100)
        cnf_pause();
      else
        sched_yield();
    }
  }
  cnf_restore_rules(rules);
}
#endif
