#include "CSimdJSON.h"

#include <simdjson.h>

#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

using namespace simdjson;

// simdjson's first stage finds every structural character outside strings and the beginning of every
// value, and checks strings and UTF-8. Its second stages build a document or walk one; what is wanted
// here is less, the fields of one object, so the walk over the first stage's result is our own: half
// the instructions of the lazy parser for an object of a hundred bytes.
struct csj_parser {
    std::unique_ptr<internal::dom_parser_implementation> scanner;
    dom::parser whole;
    // Longer than `count` when an object has fewer fields than it might have.
    std::vector<csj_field> fields;
    size_t count;
    std::deque<std::string> unescaped_keys;
};

namespace {

bool is_space(uint8_t byte) {
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

error_code reserve(csj_parser *parser, size_t length) {
    // The scanner's smallest block is 64 bytes; room is made in steps, not for each length.
    size_t wanted = 4096;
    while (wanted <= length) wanted *= 2;
    if (!parser->scanner) {
        return get_active_implementation()->create_dom_parser_implementation(
            wanted, DEFAULT_MAX_DEPTH, parser->scanner);
    }
    if (parser->scanner->capacity() >= wanted) return SUCCESS;
    return parser->scanner->allocate(wanted, DEFAULT_MAX_DEPTH);
}

// The structural characters of one text, one after the other.
class walk {
  public:
    walk(const uint8_t *text, const internal::dom_parser_implementation &scanner)
        : text(text), next(scanner.structural_indexes.get()),
          end(next + scanner.n_structural_indexes) {}

    bool is_done() const { return next == end; }

    // How many are left.
    size_t rest() const { return static_cast<size_t>(end - next); }

    // The character, or 0 behind the last one.
    uint8_t peek() const { return next == end ? 0 : text[*next]; }

    const uint8_t *take() { return text + *next++; }

    // Passes over one value.
    //
    // Of what is inside an object or an array only the brackets are looked at; whoever reads it
    // indexes it by itself.
    error_code value(csj_field &field, size_t length) {
        const uint8_t *begin = take();
        const uint8_t *last;
        if (*begin == '{' || *begin == '[') {
            if (error_code error = skip_rest(last)) return error;
            last++;
        } else {
            if (!begins_scalar(*begin)) return TAPE_ERROR;
            // It reaches to the next structural character, so white space can stand behind it.
            last = next == end ? text + length : text + *next;
            while (last > begin && is_space(last[-1])) last--;
        }
        field.value = begin;
        field.value_length = static_cast<size_t>(last - begin);
        return SUCCESS;
    }

  private:
    const uint8_t *text;
    const uint32_t *next;
    const uint32_t *end;

    static bool begins_scalar(uint8_t byte) {
        return byte == '"' || byte == '-' || (byte >= '0' && byte <= '9') || byte == 't'
            || byte == 'f' || byte == 'n';
    }

    error_code skip_rest(const uint8_t *&last) {
        for (size_t depth = 1; next != end;) {
            last = take();
            if (*last == '{' || *last == '[') {
                depth++;
            } else if (*last == '}' || *last == ']') {
                if (--depth == 0) return SUCCESS;
            }
        }
        return INCOMPLETE_ARRAY_OR_OBJECT;
    }
};

// The closing quote stands in front of the colon, with nothing or white space between them.
error_code key_of(csj_parser *parser, const uint8_t *begin, const uint8_t *colon, bool has_escapes,
                  csj_field &field) {
    const uint8_t *last = colon - 1;
    while (is_space(*last)) last--;
    if (last <= begin || *last != '"') return TAPE_ERROR;
    field.key = begin + 1;
    field.key_length = static_cast<size_t>(last - begin - 1);
    if (!has_escapes || !memchr(field.key, '\\', field.key_length)) return SUCCESS;
    std::vector<uint8_t> plain(field.key_length + SIMDJSON_PADDING);
    uint8_t *plain_end = parser->scanner->parse_string(field.key, plain.data());
    if (!plain_end) return STRING_ERROR;
    parser->unescaped_keys.emplace_back(plain.data(), plain_end);
    field.key = reinterpret_cast<const uint8_t *>(parser->unescaped_keys.back().data());
    field.key_length = parser->unescaped_keys.back().size();
    return SUCCESS;
}

error_code index_object(csj_parser *parser, walk &walk, const uint8_t *text, size_t length) {
    bool has_escapes = memchr(text, '\\', length) != nullptr;
    if (walk.peek() == '}') {
        walk.take();
        return SUCCESS;
    }
    // Each field has three structural characters at least.
    parser->fields.resize(walk.rest() / 3 + 1);
    csj_field *field = parser->fields.data();
    while (walk.peek() == '"') {
        const uint8_t *key = walk.take();
        if (walk.peek() != ':') return TAPE_ERROR;
        if (error_code error = key_of(parser, key, walk.take(), has_escapes, *field)) return error;
        if (walk.is_done()) return INCOMPLETE_ARRAY_OR_OBJECT;
        if (error_code error = walk.value(*field, length)) return error;
        field++;
        if (walk.is_done()) return INCOMPLETE_ARRAY_OR_OBJECT;
        switch (*walk.take()) {
            case ',': break;
            case '}': parser->count = static_cast<size_t>(field - parser->fields.data()); return SUCCESS;
            default: return TAPE_ERROR;
        }
    }
    return TAPE_ERROR;
}

error_code index_array(csj_parser *parser, walk &walk, size_t length) {
    if (walk.peek() == ']') {
        walk.take();
        return SUCCESS;
    }
    while (!walk.is_done()) {
        csj_field field{};
        if (error_code error = walk.value(field, length)) return error;
        parser->fields.resize(parser->count + 1);
        parser->fields[parser->count++] = field;
        if (walk.is_done()) return INCOMPLETE_ARRAY_OR_OBJECT;
        switch (*walk.take()) {
            case ',': break;
            case ']': return SUCCESS;
            default: return TAPE_ERROR;
        }
    }
    return INCOMPLETE_ARRAY_OR_OBJECT;
}

error_code index_document(csj_parser *parser, const uint8_t *text, size_t length) {
    parser->count = 0;
    if (!parser->unescaped_keys.empty()) parser->unescaped_keys.clear();
    if (error_code error = reserve(parser, length)) return error;
    if (error_code error = parser->scanner->stage1(text, length, stage1_mode::regular)) {
        return error;
    }
    walk walk(text, *parser->scanner);
    error_code error;
    switch (walk.is_done() ? 0 : *walk.take()) {
        case '{': error = index_object(parser, walk, text, length); break;
        case '[': error = index_array(parser, walk, length); break;
        default: return INCORRECT_TYPE;
    }
    if (error) return error;
    return walk.is_done() ? SUCCESS : TAPE_ERROR;
}

// Only a backslash can hide a NUL: a raw one is refused by the parser as a control character.
bool holds_escaped_nul(const uint8_t *buffer, size_t length) {
    for (size_t i = 0; i + 1 < length; i++) {
        if (buffer[i] != '\\') continue;
        if (i + 5 < length && buffer[i + 1] == 'u' && buffer[i + 2] == '0' && buffer[i + 3] == '0'
            && buffer[i + 4] == '0' && buffer[i + 5] == '0') {
            return true;
        }
        i++;
    }
    return false;
}

bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

// The number grammar of RFC 8259 section 6, for numbers too long for 64 bits or too large for a
// double: simdjson's document parser refuses those although they are valid JSON.
bool is_number(const uint8_t *text, size_t length) {
    size_t i = 0;
    if (i < length && text[i] == '-') i++;
    if (i >= length || !is_digit(text[i])) return false;
    if (text[i] == '0') {
        i++;
    } else {
        while (i < length && is_digit(text[i])) i++;
    }
    if (i < length && text[i] == '.') {
        size_t first = ++i;
        while (i < length && is_digit(text[i])) i++;
        if (i == first) return false;
    }
    if (i < length && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < length && (text[i] == '+' || text[i] == '-')) i++;
        size_t first = i;
        while (i < length && is_digit(text[i])) i++;
        if (i == first) return false;
    }
    return i == length;
}

bool is_outside_number(uint8_t byte) {
    return !is_digit(byte) && byte != '-' && byte != '+' && byte != '.' && byte != 'e'
        && byte != 'E';
}

// Writes `0` over every number that is valid by the grammar, so that the document parser can judge
// the rest. Numbers stand outside strings only.
error_code validate_without_numbers(csj_parser *parser, const uint8_t *buffer, size_t length) {
    std::string plain(reinterpret_cast<const char *>(buffer), length);
    bool in_string = false;
    for (size_t i = 0; i < plain.size(); i++) {
        if (in_string) {
            if (plain[i] == '\\') {
                i++;
            } else if (plain[i] == '"') {
                in_string = false;
            }
            continue;
        }
        if (plain[i] == '"') {
            in_string = true;
        } else if (plain[i] == '-' || is_digit(static_cast<uint8_t>(plain[i]))) {
            size_t end = i;
            while (end < plain.size() && !is_outside_number(static_cast<uint8_t>(plain[end]))) {
                end++;
            }
            if (!is_number(reinterpret_cast<const uint8_t *>(plain.data()) + i, end - i)) {
                return NUMBER_ERROR;
            }
            plain[i] = '0';
            for (size_t rest = i + 1; rest < end; rest++) plain[rest] = ' ';
            i = end - 1;
        }
    }
    return parser->whole.parse(plain.data(), plain.size(), true).error();
}

// The digits of a UUID without its dashes.
struct uuid_digits {
    uint8_t digits[32];

    explicit uuid_digits(const uint8_t *text) {
        memcpy(digits, text, 8);
        memcpy(digits + 8, text + 9, 4);
        memcpy(digits + 12, text + 14, 4);
        memcpy(digits + 16, text + 19, 4);
        memcpy(digits + 20, text + 24, 12);
    }
};

#if defined(__SSE2__)

// The values of sixteen hexadecimal digits; `valid` loses a bit for each byte that is none.
__m128i nibbles(__m128i digits, int &valid) {
    // Below the first of a range the difference wraps around and is large.
    __m128i numeral = _mm_sub_epi8(digits, _mm_set1_epi8('0'));
    __m128i letter = _mm_sub_epi8(_mm_or_si128(digits, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i is_numeral = _mm_cmpeq_epi8(_mm_min_epu8(numeral, _mm_set1_epi8(9)), numeral);
    __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
    valid &= _mm_movemask_epi8(_mm_or_si128(is_numeral, is_letter));
    return _mm_or_si128(_mm_and_si128(is_numeral, numeral),
                        _mm_andnot_si128(is_numeral, _mm_add_epi8(letter, _mm_set1_epi8(10))));
}

// The first digit of a byte is its upper half, and stands in the lower byte of a pair.
__m128i joined(__m128i nibbles) {
    return _mm_and_si128(_mm_or_si128(_mm_slli_epi16(nibbles, 4), _mm_srli_epi16(nibbles, 8)),
                         _mm_set1_epi16(0xff));
}

bool read_digits(const uuid_digits &text, uint8_t *bytes) {
    int valid = 0xffff;
    const __m128i *digits = reinterpret_cast<const __m128i *>(text.digits);
    __m128i first = joined(nibbles(_mm_loadu_si128(digits), valid));
    __m128i second = joined(nibbles(_mm_loadu_si128(digits + 1), valid));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(bytes), _mm_packus_epi16(first, second));
    return valid == 0xffff;
}

#else

int nibble(uint8_t digit) {
    if (is_digit(digit)) return digit - '0';
    uint8_t letter = digit | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

bool read_digits(const uuid_digits &text, uint8_t *bytes) {
    for (size_t i = 0; i < 16; i++) {
        int upper = nibble(text.digits[2 * i]), lower = nibble(text.digits[2 * i + 1]);
        if (upper < 0 || lower < 0) return false;
        bytes[i] = static_cast<uint8_t>(upper << 4 | lower);
    }
    return true;
}

#endif

}  // namespace

extern "C" {

csj_parser *csj_parser_create(void) { return new (std::nothrow) csj_parser(); }

void csj_parser_destroy(csj_parser *parser) { delete parser; }

size_t csj_padding(void) { return SIMDJSON_PADDING; }

int csj_index(csj_parser *parser, const uint8_t *buffer, size_t length, const csj_field **fields,
              size_t *count) {
    error_code error = index_document(parser, buffer, length);
    *fields = parser->fields.data();
    *count = error ? 0 : parser->count;
    return error;
}

int csj_validate(csj_parser *parser, const uint8_t *buffer, size_t length) {
    error_code error = parser->whole.parse(buffer, length, false).error();
    if (error == NUMBER_ERROR) error = validate_without_numbers(parser, buffer, length);
    if (error) return error;
    return holds_escaped_nul(buffer, length) ? CSJ_NUL_IN_STRING : 0;
}

bool csj_uuid(const uint8_t *text, uint8_t *bytes) {
    if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') return false;
    return read_digits(uuid_digits(text), bytes);
}

const char *csj_error_message(int code) {
    if (code == CSJ_NUL_IN_STRING) return "a string holds \\u0000, which PostgreSQL cannot store";
    return error_message(static_cast<error_code>(code));
}

}
