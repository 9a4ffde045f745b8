#ifndef ALLOCATION_COUNT_H
#define ALLOCATION_COUNT_H

#include <stdint.h>

/// How often this process has asked for memory since it began, from all threads.
uint64_t allocation_count(void);

#endif
