#pragma once

#include <stddef.h>
#include <sys/types.h>

// Where the running program lies in memory: the program itself also where the dynamic loader was
// called with it as an argument, and not the loader.

// A part of memory that was mapped from the program's file and is not written.
struct program_segment {
    const void *start;
    size_t length;
};

// Writes the parts that are not written, `capacity` at most.
//
// Returns how many there are.
size_t program_segments(struct program_segment *segments, size_t capacity);

// Opens the file that the program was mapped from, also when another one has its name by now.
//
// Returns a descriptor, or -1 where it cannot be read.
int program_open(void);
