/* Preloaded before the C library, so that a disk can fail and a clock can jump at an exact moment:
 * at the n-th call that changes a file below one folder. See system_calls.py, which arms it.
 *
 * Counted are the calls after which the disk differs, or should: opening for writing, write, pwrite,
 * ftruncate, fsync, fdatasync, rename, unlink, mkdir, rmdir. A sync is counted and not done: only a
 * power cut could tell. Reading is left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum fault { COUNT, KILL, TEAR, REFUSE, FULL, SHORT, JUMP };
/* COUNT  lets every call through.
 * KILL   ends the process before the call.
 * TEAR   ends it in the middle: of a write, the first half is done.
 * REFUSE fails this one call with an error number.
 * FULL   fails it, and all later ones that need room; of a first write, half still fits.
 * SHORT  does half of one write, as a disk may that is just being filled.
 * JUMP   lets every call through; from this one on the clock of the day is another. */

static char under[PATH_MAX];
static long at, counted;
static enum fault fault;
static int number;
static char met[64];

/* `value` is the error number, or the seconds of the jump. */
void faults_arm(const char *folder, long call, int what, int value) {
    snprintf(under, sizeof under, "%s", folder);
    at = call, counted = 0, fault = what, number = value, met[0] = 0;
}

long faults_counted(void) { return counted; }
const char *faults_met(void) { return met; }

static int below(const char *path) {
    size_t length = strlen(under);
    return length && !strncmp(path, under, length) && (path[length] == '/' || !path[length]);
}

static int descriptor_below(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int path_below(int folder, const char *path) {
    if (path[0] == '/') return below(path);
    if (folder != AT_FDCWD) return descriptor_below(folder);
    char here[PATH_MAX];
    return getcwd(here, sizeof here) && below(here);
}

/* Whether this call fails. Does not return where the process ends. */
static int strikes(const char *name, int needs_room) {
    counted++;
    if (at == 0 || counted < at || (counted > at && fault != FULL)) return 0;
    if (!met[0]) snprintf(met, sizeof met, "%s", name);
    if (fault == KILL || fault == TEAR) kill(getpid(), SIGKILL), pause();
    errno = number;
    return fault == REFUSE || (fault == FULL && needs_room);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

#define OPENING(folder, name, ...)                                                                 \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list more;                                                                          \
            va_start(more, flags);                                                                 \
            mode = va_arg(more, mode_t);                                                           \
            va_end(more);                                                                          \
        }                                                                                          \
        if ((flags & WRITING) && path_below(folder, path) && strikes("open", flags & O_CREAT))     \
            return -1;                                                                             \
        return REAL(name)(__VA_ARGS__, flags, mode);                                               \
    }

int open(const char *path, int flags, ...) OPENING(AT_FDCWD, open, path)
int open64(const char *path, int flags, ...) OPENING(AT_FDCWD, open64, path)
int openat(int folder, const char *path, int flags, ...) OPENING(folder, openat, folder, path)
int openat64(int folder, const char *path, int flags, ...) OPENING(folder, openat64, folder, path)

/* `half` and `whole` write so many of the bytes, and are their number. */
#define WRITTEN(half, whole)                                                                       \
    {                                                                                              \
        if (!descriptor_below(file)) return whole;                                                 \
        int in_part = counted + 1 == at && count > 1 && in_part_by(fault);                         \
        ssize_t done = in_part ? half : -1;                                                        \
        return strikes("write", 1) || in_part ? done : whole;                                      \
    }

static int in_part_by(enum fault what) { return what == TEAR || what == FULL || what == SHORT; }

ssize_t write(int file, const void *data, size_t count)
    WRITTEN(REAL(write)(file, data, count / 2), REAL(write)(file, data, count))

ssize_t pwrite(int file, const void *data, size_t count, off_t from)
    WRITTEN(REAL(pwrite)(file, data, count / 2, from), REAL(pwrite)(file, data, count, from))

ssize_t pwrite64(int file, const void *data, size_t count, off64_t from)
    WRITTEN(REAL(pwrite64)(file, data, count / 2, from), REAL(pwrite64)(file, data, count, from))

#define OF_FILE(name, room, call) \
    { return !descriptor_below(file) ? call : strikes(name, room) ? -1 : 0; }

int fsync(int file) OF_FILE("fsync", 1, REAL(fsync)(file))
int fdatasync(int file) OF_FILE("fsync", 1, REAL(fdatasync)(file))

#define OR_FAILS(there, name, room, call) \
    { return there && strikes(name, room) ? -1 : call; }

int ftruncate(int file, off_t length)
    OR_FAILS(descriptor_below(file), "truncate", 0, REAL(ftruncate)(file, length))
int ftruncate64(int file, off64_t length)
    OR_FAILS(descriptor_below(file), "truncate", 0, REAL(ftruncate64)(file, length))
int rename(const char *old, const char *path)
    OR_FAILS(path_below(AT_FDCWD, path), "rename", 1, REAL(rename)(old, path))
int renameat(int from, const char *old, int folder, const char *path)
    OR_FAILS(path_below(folder, path), "rename", 1, REAL(renameat)(from, old, folder, path))
int unlink(const char *path)
    OR_FAILS(path_below(AT_FDCWD, path), "unlink", 0, REAL(unlink)(path))
int unlinkat(int folder, const char *path, int flags)
    OR_FAILS(path_below(folder, path), "unlink", 0, REAL(unlinkat)(folder, path, flags))
int rmdir(const char *path)
    OR_FAILS(path_below(AT_FDCWD, path), "unlink", 0, REAL(rmdir)(path))
int mkdir(const char *path, mode_t mode)
    OR_FAILS(path_below(AT_FDCWD, path), "mkdir", 1, REAL(mkdir)(path, mode))
int mkdirat(int folder, const char *path, mode_t mode)
    OR_FAILS(path_below(folder, path), "mkdir", 1, REAL(mkdirat)(folder, path, mode))

/* The clock of the day; the one that only counts seconds never jumps. */
static long jumped(void) { return fault == JUMP && at && counted >= at ? number : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = REAL(clock_gettime)(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += jumped();
    return failed;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = REAL(gettimeofday)(now, zone);
    if (!failed) now->tv_sec += jumped();
    return failed;
}
