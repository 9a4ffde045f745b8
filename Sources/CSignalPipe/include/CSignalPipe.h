#pragma once

#include <stddef.h>

// From now on the first of these signals is a byte in a pipe, its number, and the second one ends the
// process as if nobody watched. A signal that the caller of the program ignores stays ignored where
// `keeps_ignored` says so.
//
// Returns the end to read from, or -1 with `errno`.
int signal_pipe_open(const int *signals, const int *keeps_ignored, size_t count);
