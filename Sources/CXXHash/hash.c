#define XXH_INLINE_ALL
#include "CXXHash.h"
#include <stdlib.h>
#include <xxhash.h>

uint64_t cxx_hash64(const void *bytes, size_t length, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, length, seed);
}

struct cxx_digest {
    XXH3_state_t state;
};

cxx_digest *cxx_digest_create(void) {
    // The state wants to begin at a multiple of 64.
    cxx_digest *digest = aligned_alloc(64, (sizeof(cxx_digest) + 63) / 64 * 64);
    if (digest != NULL) XXH3_128bits_reset(&digest->state);
    return digest;
}

void cxx_digest_destroy(cxx_digest *digest) { free(digest); }

void cxx_digest_add(cxx_digest *digest, const void *bytes, size_t length) {
    if (length > 0) XXH3_128bits_update(&digest->state, bytes, length);
}

cxx_digest_value cxx_digest_now(const cxx_digest *digest) {
    XXH128_hash_t hash = XXH3_128bits_digest(&digest->state);
    return (cxx_digest_value){.low = hash.low64, .high = hash.high64};
}
