/* The operating system's randomness, clocks and threads, for one process that runs one seed.
 *
 * The keys of hash maps, election timeouts, and the order in which tokio wakes tasks are drawn from
 * getrandom(2); HTTP replies bear the date. While CHANCERY_SIMULATION_SEED is set, the process gets a stream
 * made of that seed (splitmix64) and clocks that stand still: virtual time is turmoil's. And it gets no second
 * thread: when that would be done with its work, the machine decides. A process without a seed gets what the
 * system gives.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* What every clock shows, in seconds. */
#define STANDS_AT 1800000000

static enum { UNDECIDED, KERNEL, SEEDED } source;
static uint64_t state;

static uint64_t next(void) {
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Decided before main, by whatever first draws: there is one thread then, and in a seeded process ever after. */
static int seeded(void) {
    if (source == UNDECIDED) {
        const char *seed = getenv("CHANCERY_SIMULATION_SEED");
        state = seed ? strtoull(seed, NULL, 10) : 0;
        source = seed ? SEEDED : KERNEL;
    }
    return source == SEEDED;
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    if (!seeded()) {
        return syscall(SYS_getrandom, buffer, length, flags);
    }
    for (size_t i = 0; i < length; i++) {
        ((uint8_t *)buffer)[i] = (uint8_t)next();
    }
    return (ssize_t)length;
}

int getentropy(void *buffer, size_t length) {
    return length <= 256 && getrandom(buffer, length, 0) == (ssize_t)length ? 0 : -1;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!seeded()) {
        return (int)syscall(SYS_clock_gettime, clock, at);
    }
    at->tv_sec = STANDS_AT;
    at->tv_nsec = 0;
    return 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    if (seeded()) {
        static const char why[] = "violation: something runs on a second thread (gdb: break pthread_create)\n";
        ssize_t written = write(STDOUT_FILENO, why, sizeof why - 1);
        _exit(written < 0 ? 2 : 1);
    }
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *found = dlsym(RTLD_NEXT, "pthread_create");
    if (!found) {
        return EAGAIN;
    }
    /* ISO C knows no cast from an object's address to a function's. */
    memcpy(&create, &found, sizeof create);
    return create(thread, attributes, run, argument);
}
