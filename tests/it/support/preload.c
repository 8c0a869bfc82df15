/* What the tests put into the program's own process (see preload.rs): a machine's clock that a test
 * sets, and an end together with the test. Rust and its libraries ask clock_gettime for the time;
 * nothing else is answered for, least of all the monotonic clocks, which nobody can set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static int (*machine)(clockid_t, struct timespec *);
/* Microseconds that the clock is ahead, in a file that the test writes. */
static const volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void)
{
    /* Whatever becomes of the test, kill -9 included. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    machine = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("CLOCK_AHEAD_FILE"), O_RDONLY | O_CLOEXEC);
    void *memory = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (machine == NULL || memory == MAP_FAILED)
        abort();
    close(file);
    ahead = memory;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = machine(clock, now);
    if (status == 0 && clock == CLOCK_REALTIME) {
        int64_t micros = now->tv_nsec / 1000 + *ahead;
        /* Rounded down, also before zero. */
        int64_t seconds = micros / 1000000 - (micros % 1000000 < 0);
        now->tv_sec += seconds;
        now->tv_nsec = (micros - seconds * 1000000) * 1000 + now->tv_nsec % 1000;
    }
    return status;
}
