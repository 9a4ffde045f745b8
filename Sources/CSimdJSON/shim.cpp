#include "CSimdJSON.h"

#include <simdjson.h>

#include <deque>
#include <new>
#include <string>
#include <utility>
#include <vector>

using namespace simdjson;

struct csj_parser {
    ondemand::parser lazy;
    dom::parser whole;
    std::vector<csj_field> fields;
    std::deque<std::string> unescaped_keys;
};

namespace {

// A token reaches to the next structural character, so it can end in white space.
size_t trimmed(const char *text, size_t length) {
    while (length > 0) {
        char last = text[length - 1];
        if (last != ' ' && last != '\t' && last != '\n' && last != '\r') break;
        length--;
    }
    return length;
}

error_code value_span(ondemand::value value, csj_field &field) {
    ondemand::json_type type;
    if (error_code error = value.type().get(type)) return error;
    std::string_view text;
    if (type == ondemand::json_type::object) {
        ondemand::object object;
        if (error_code error = value.get_object().get(object)) return error;
        if (error_code error = object.raw_json().get(text)) return error;
    } else if (type == ondemand::json_type::array) {
        ondemand::array array;
        if (error_code error = value.get_array().get(array)) return error;
        if (error_code error = array.raw_json().get(text)) return error;
    } else {
        text = value.raw_json_token();
    }
    field.value = reinterpret_cast<const uint8_t *>(text.data());
    field.value_length = trimmed(text.data(), text.size());
    return SUCCESS;
}

error_code index_object(csj_parser *parser, ondemand::object object) {
    for (auto result : object) {
        ondemand::field entry;
        if (error_code error = std::move(result).get(entry)) return error;
        csj_field field{};
        const char *key = entry.key().raw();
        const char *end = key;
        bool escaped = false;
        while (*end != '"') {
            if (*end == '\\') {
                escaped = true;
                end++;
            }
            end++;
        }
        if (escaped) {
            std::string_view unescaped;
            if (error_code error = entry.unescaped_key().get(unescaped)) return error;
            parser->unescaped_keys.emplace_back(unescaped);
            key = parser->unescaped_keys.back().data();
            end = key + parser->unescaped_keys.back().size();
        }
        field.key = reinterpret_cast<const uint8_t *>(key);
        field.key_length = static_cast<size_t>(end - key);
        if (error_code error = value_span(entry.value(), field)) return error;
        parser->fields.push_back(field);
    }
    return SUCCESS;
}

error_code index_array(csj_parser *parser, ondemand::array array) {
    for (auto result : array) {
        ondemand::value value;
        if (error_code error = std::move(result).get(value)) return error;
        csj_field field{};
        if (error_code error = value_span(value, field)) return error;
        parser->fields.push_back(field);
    }
    return SUCCESS;
}

error_code index_document(csj_parser *parser, const uint8_t *buffer, size_t length) {
    parser->fields.clear();
    parser->unescaped_keys.clear();
    padded_string_view view(buffer, length, length + SIMDJSON_PADDING);
    ondemand::document document;
    if (error_code error = parser->lazy.iterate(view).get(document)) return error;
    ondemand::json_type type;
    if (error_code error = document.type().get(type)) return error;
    if (type == ondemand::json_type::object) {
        ondemand::object object;
        if (error_code error = document.get_object().get(object)) return error;
        if (error_code error = index_object(parser, object)) return error;
    } else if (type == ondemand::json_type::array) {
        ondemand::array array;
        if (error_code error = document.get_array().get(array)) return error;
        if (error_code error = index_array(parser, array)) return error;
    } else {
        return INCORRECT_TYPE;
    }
    const char *rest;
    return document.current_location().get(rest) == OUT_OF_BOUNDS ? SUCCESS : TAPE_ERROR;
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
