#include "CSimdJSON.h"

#include <simdjson.h>

#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <vector>

using namespace simdjson;

// simdjson's first stage finds every structural character outside strings and the beginning of every
// value, and checks strings and UTF-8. Its second stages build a document or walk one; what is wanted
// here is less, the fields of one object, so the walk over the first stage's result is our own: half
// the instructions of the lazy parser for an object of a hundred bytes.
struct csj_parser {
    std::unique_ptr<internal::dom_parser_implementation> scanner;
    dom::parser whole;
    std::vector<csj_field> fields;
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
    while (walk.peek() == '"') {
        csj_field field;
        const uint8_t *key = walk.take();
        if (walk.peek() != ':') return TAPE_ERROR;
        if (error_code error = key_of(parser, key, walk.take(), has_escapes, field)) return error;
        if (walk.is_done()) return INCOMPLETE_ARRAY_OR_OBJECT;
        if (error_code error = walk.value(field, length)) return error;
        parser->fields.push_back(field);
        if (walk.is_done()) return INCOMPLETE_ARRAY_OR_OBJECT;
        switch (*walk.take()) {
            case ',': break;
            case '}': return SUCCESS;
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
        parser->fields.push_back(field);
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
    parser->fields.clear();
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

}  // namespace

extern "C" {

csj_parser *csj_parser_create(void) { return new (std::nothrow) csj_parser(); }

void csj_parser_destroy(csj_parser *parser) { delete parser; }

size_t csj_padding(void) { return SIMDJSON_PADDING; }

int csj_index(csj_parser *parser, const uint8_t *buffer, size_t length, const csj_field **fields,
              size_t *count) {
    error_code error = index_document(parser, buffer, length);
    *fields = parser->fields.data();
    *count = error ? 0 : parser->fields.size();
    return error;
}

int csj_validate(csj_parser *parser, const uint8_t *buffer, size_t length) {
    error_code error = parser->whole.parse(buffer, length, false).error();
    if (error == NUMBER_ERROR) error = validate_without_numbers(parser, buffer, length);
    if (error) return error;
    return holds_escaped_nul(buffer, length) ? CSJ_NUL_IN_STRING : 0;
}

const char *csj_error_message(int code) {
    if (code == CSJ_NUL_IN_STRING) return "a string holds \\u0000, which PostgreSQL cannot store";
    return error_message(static_cast<error_code>(code));
}

}
