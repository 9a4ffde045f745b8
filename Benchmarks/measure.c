// Runs a command and writes what it took into a file, as one line of JSON.
//
//   measure FILE COMMAND ARGUMENT...
//
// Linux counts the memory of the process that calls exec(2) towards the peak of the program that it
// becomes, so a command that Python starts seems to need what Python needs. This program is small.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void become(char **command) {
    // Whoever ends the benchmark ends what is being measured as well.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execvp(command[0], command);
    fprintf(stderr, "measure: %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

int main(int count, char **arguments) {
    if (count < 3) {
        fputs("usage: measure FILE COMMAND ARGUMENT...\n", stderr);
        return 2;
    }
    double began = now();
    pid_t child = fork();
    if (child < 0) {
        perror("measure: fork");
        return 1;
    }
    if (child == 0) become(arguments + 2);

    int status;
    struct rusage usage;
    while (wait4(child, &status, 0, &usage) < 0) {
        if (errno == EINTR) continue;
        perror("measure: wait4");
        return 1;
    }
    double took = now() - began;

    FILE *file = fopen(arguments[1], "w");
    if (file == NULL) {
        perror(arguments[1]);
        return 1;
    }
    // ru_maxrss is in KiB on Linux: getrusage(2).
    fprintf(file, "{\"seconds\": %.6f, \"cpuSeconds\": %.6f, \"peakBytes\": %ld}\n", took,
            seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss * 1024);
    if (fclose(file) != 0) {
        perror(arguments[1]);
        return 1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
