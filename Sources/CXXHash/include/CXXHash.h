#pragma once
#include <stddef.h>
#include <stdint.h>

// XXH3 of xxHash (https://xxhash.com), whose results are the same in every version since 0.8.0 and
// on every machine, so that they can be stored. Its own header is kept out of Swift's sight: it is
// made for inlining into C.

// XXH3, 64 bits.
uint64_t cxx_hash64(const void *bytes, size_t length, uint64_t seed);

// A digest of 128 bits that grows with what is added to it.
typedef struct cxx_digest cxx_digest;
typedef struct {
    uint64_t low;
    uint64_t high;
} cxx_digest_value;

cxx_digest *cxx_digest_create(void);
void cxx_digest_destroy(cxx_digest *digest);
void cxx_digest_add(cxx_digest *digest, const void *bytes, size_t length);
// The digest of all that was added so far; more may follow.
cxx_digest_value cxx_digest_now(const cxx_digest *digest);
