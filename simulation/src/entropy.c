/* The operating system's randomness, for one process that runs one seed.
 *
 * The keys of hash maps, election timeouts, and the order in which tokio wakes tasks are drawn from
 * getrandom(2). While CHANCERY_SIMULATION_SEED is set, the process's first thread gets a stream made of that
 * seed (splitmix64) instead. Every other thread, and a process without a seed, gets what the kernel gives.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static enum { UNDECIDED, KERNEL, SEEDED } source;
static uint64_t state;

static uint64_t next(void) {
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    if (syscall(SYS_gettid) != getpid()) {
        return syscall(SYS_getrandom, buffer, length, flags);
    }
    if (source == UNDECIDED) {
        const char *seed = getenv("CHANCERY_SIMULATION_SEED");
        source = seed ? SEEDED : KERNEL;
        state = seed ? strtoull(seed, NULL, 10) : 0;
    }
    if (source == KERNEL) {
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
