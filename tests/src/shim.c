/* Faults for a real server: preloaded before the C library, this fails calls on files and moves the clock, as told
 * through a file that both sides have mapped (see faults.rs for its form).
 *
 * All that a caller of these functions would find in a real fault is kept: -1 and errno; nothing is written or synced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, ALLOCATE = 4, OPEN = 8, RENAME = 16, READ = 32 };

struct control {
    _Atomic int64_t operations; /* which fail */
    _Atomic int64_t error;      /* with which errno */
    _Atomic int64_t spare;      /* how many go well before */
    _Atomic int64_t failed;     /* how many have failed */
    _Atomic int64_t clock_ns;   /* what is added to the time of day */
    char needle[216];           /* only on files whose path has this in it */
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) control = mapped;
}

static int fails_path(int operation, const char *path) {
    if (!control || !(control->operations & operation)) return 0;
    if (control->needle[0] && !strstr(path, control->needle)) return 0;
    if (control->spare > 0) {
        control->spare--;
        return 0;
    }
    control->failed++;
    errno = (int)control->error;
    return 1;
}

static int fails(int operation, int fd) {
    if (!control || !(control->operations & operation)) return 0;
    char link[64], path[4096];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length < 0) return 0;
    path[length] = 0;
    return fails_path(operation, path);
}

#define NEXT(type, name) \
    static type next; \
    if (!next) next = (type)dlsym(RTLD_NEXT, name)

#define ON_FD(operation, result, name, parameters, arguments) \
    result name parameters { \
        typedef result (*function) parameters; \
        NEXT(function, #name); \
        return fails(operation, fd) ? -1 : next arguments; \
    }

ON_FD(WRITE, ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
ON_FD(WRITE, ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FD(WRITE, ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
ON_FD(WRITE, ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
ON_FD(WRITE, ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at))
ON_FD(READ, ssize_t, read, (int fd, void *bytes, size_t count), (fd, bytes, count))
ON_FD(READ, ssize_t, pread, (int fd, void *bytes, size_t count, off_t at), (fd, bytes, count, at))
ON_FD(READ, ssize_t, pread64, (int fd, void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
ON_FD(SYNC, int, fsync, (int fd), (fd))
ON_FD(SYNC, int, fdatasync, (int fd), (fd))
ON_FD(SYNC, int, sync_file_range, (int fd, off64_t from, off64_t count, unsigned flags), (fd, from, count, flags))
ON_FD(ALLOCATE, int, fallocate, (int fd, int mode, off_t from, off_t count), (fd, mode, from, count))
ON_FD(ALLOCATE, int, fallocate64, (int fd, int mode, off64_t from, off64_t count), (fd, mode, from, count))
ON_FD(ALLOCATE, int, ftruncate, (int fd, off_t length), (fd, length))
ON_FD(ALLOCATE, int, ftruncate64, (int fd, off64_t length), (fd, length))

int rename(const char *from, const char *to) {
    typedef int (*function)(const char *, const char *);
    NEXT(function, "rename");
    return fails_path(RENAME, to) ? -1 : next(from, to);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    typedef int (*function)(clockid_t, struct timespec *);
    NEXT(function, "clock_gettime");
    int result = next(clock, time);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t nanos = (int64_t)time->tv_nsec + control->clock_ns % 1000000000;
        time->tv_sec += control->clock_ns / 1000000000;
        if (nanos < 0) {
            nanos += 1000000000;
            time->tv_sec--;
        } else if (nanos >= 1000000000) {
            nanos -= 1000000000;
            time->tv_sec++;
        }
        time->tv_nsec = nanos;
    }
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
