#define _GNU_SOURCE
#include "CSignalPipe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

// A handler and not a blocked signal, so that no thread and no child process inherits anything; and
// nothing is lost between the start of the program and the moment in which somebody reads.

static int write_end = -1;
static atomic_bool has_come;

static void take(int signal_number) {
    int error = errno;
    if (atomic_exchange(&has_come, true)) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    } else {
        unsigned char byte = (unsigned char)signal_number;
        (void)!write(write_end, &byte, 1);
    }
    errno = error;
}

int signal_pipe_open(const int *signals, const int *keeps_ignored, size_t count) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    write_end = ends[1];
    struct sigaction action = {.sa_handler = take, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < count; i++) {
        struct sigaction before;
        sigaction(signals[i], NULL, &before);
        if (keeps_ignored[i] && before.sa_handler == SIG_IGN) continue;
        sigaction(signals[i], &action, NULL);
    }
    return ends[0];
}
