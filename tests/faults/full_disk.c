/* A disk that is full from the N-th write to a file on: LD_PRELOAD this with FULL_AFTER=N. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int full(int descriptor) {
    static int written;
    struct stat state;
    const char *after = getenv("FULL_AFTER");
    if (!after || fstat(descriptor, &state) != 0 || !S_ISREG(state.st_mode)) return 0;
    if (state.st_nlink == 0) return 0; /* memory that looks like a file */
    if (__sync_add_and_fetch(&written, 1) <= atoi(after)) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int descriptor, const void *data, size_t size) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return full(descriptor) ? -1 : next(descriptor, data, size);
}
