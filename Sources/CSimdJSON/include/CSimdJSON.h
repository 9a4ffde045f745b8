#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What Swift needs of simdjson, as plain C: it cannot import the C++ header without making every
// package that depends on this one a C++ client.
//
// Every buffer handed in must be readable for `csj_padding()` bytes past its end
// (https://github.com/simdjson/simdjson/blob/v3.0.1/doc/basics.md, "padding").

typedef struct csj_parser csj_parser;

// One field of an object, or one element of an array (then `key` is null). Spans point into the
// caller's buffer, except a key that was written with escapes: it lives in the parser until the
// next call with that parser.
typedef struct {
    const uint8_t *key;
    size_t key_length;
    const uint8_t *value;
    size_t value_length;
} csj_field;

csj_parser *csj_parser_create(void);
void csj_parser_destroy(csj_parser *parser);
size_t csj_padding(void);

// Indexes the fields of the object, or the elements of the array, that the buffer holds.
// Returns 0, or simdjson's error code. `fields` stays valid until the next call with this parser.
int csj_index(csj_parser *parser, const uint8_t *buffer, size_t length, const csj_field **fields,
              size_t *count);

// Checks the whole document: structure, UTF-8, escapes, numbers of any length, and no \u0000 in
// any string. Returns 0, simdjson's error code, or CSJ_NUL_IN_STRING.
int csj_validate(csj_parser *parser, const uint8_t *buffer, size_t length);

enum { CSJ_NUL_IN_STRING = -1 };

// Reads the 36 characters of a UUID, such as 7d444840-9dc0-11d1-b245-5ffdce74fad2, into 16 bytes.
// Returns false, and the bytes mean nothing, when they are something else.
bool csj_uuid(const uint8_t *text, uint8_t *bytes);

// The sentence for an error code.
const char *csj_error_message(int code);

#ifdef __cplusplus
}
#endif
