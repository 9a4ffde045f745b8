#include "CCrashReport.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What the handler reads. It allocates nothing, takes no lock and calls no function but those that
// signal-safety(7) lists: the crash can have happened inside malloc.

static const int signals[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
static const char *const signal_names[] = {
    "SIGILL", "SIGTRAP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT",
};
enum { signal_count = sizeof signals / sizeof *signals, stack_size = 64 * 1024 };

static struct sigaction before[signal_count];
static atomic_bool is_watching, is_reported;
// Where a program reads the report as JSON; -1 where none does, or where a result has begun.
static atomic_int json_descriptor = -1;
static const char *_Atomic program, *_Atomic ledger;
static struct crash_record_layout layout;

struct type_name { const char *text; size_t length; };
// Replaced by a larger one when it is full; the smaller one stays, because a handler may read it.
static struct type_name *_Atomic type_names;
static _Atomic uint32_t type_capacity;

// Initial-exec: a handler must not make a thread's variables.
static __attribute__((tls_model("initial-exec"))) _Thread_local struct crash_fold *current;

// MARK: The text

struct text { char bytes[4096]; size_t count; };

static void add_bytes(struct text *text, const char *bytes, size_t count) {
    size_t room = sizeof text->bytes - text->count;
    if (count > room) count = room;
    memcpy(text->bytes + text->count, bytes, count);
    text->count += count;
}

static void add(struct text *text, const char *string) { add_bytes(text, string, strlen(string)); }

static void add_hex(struct text *text, uint64_t value, int digits) {
    while (digits-- > 0) add_bytes(text, "0123456789abcdef" + (value >> (digits * 4) & 15), 1);
}

static void add_decimal(struct text *text, uint64_t value) {
    char digits[20];
    size_t first = sizeof digits;
    do digits[--first] = (char)('0' + value % 10); while (value /= 10);
    add_bytes(text, digits + first, sizeof digits - first);
}

// Whether a shell takes it as one word that means itself.
static bool is_word(const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char byte = bytes[i];
        bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        bool is_digit = byte >= '0' && byte <= '9';
        if (!is_letter && !is_digit && (byte <= 0 || !strchr("/._-+:,=@%", byte))) return false;
    }
    return count > 0 && count <= 255 && bytes[0] != '-';
}

// A name from elsewhere: plain ASCII as it is, the rest by numbers.
static void add_name(struct text *text, const char *bytes, size_t count) {
    size_t most = count < 255 ? count : 255;
    add(text, "'");
    for (size_t i = 0; i < most; i++) {
        if (bytes[i] >= ' ' && bytes[i] <= '~' && bytes[i] != '\'' && bytes[i] != '\\') {
            add_bytes(text, bytes + i, 1);
        } else {
            add(text, "\\x");
            add_hex(text, (unsigned char)bytes[i], 2);
        }
    }
    add(text, most < count ? "…'" : "'");
}

// MARK: The report

static uint32_t number_at(const char *record, size_t offset) {
    uint32_t number;
    memcpy(&number, record + offset, sizeof number);
    return number;
}

static uint64_t word_at(const char *record, size_t offset) {
    uint64_t word;
    memcpy(&word, record + offset, sizeof word);
    return word;
}

static void add_event(struct text *text, const char *texts, const char *record) {
    const char *stream = texts + word_at(record, layout.offset);
    uint32_t stream_length = number_at(record, layout.stream_length);
    const char *id = stream + stream_length + number_at(record, layout.payload_length);
    uint32_t id_length = number_at(record, layout.id_length);
    bool has_id = id_length != UINT32_MAX;
    uint32_t type = number_at(record, layout.type);

    add(text, "\n  event     ");
    if (has_id) add_name(text, id, id_length); else add(text, "without an id");
    add(text, "\n  position  ");
    for (size_t word = 0; word < 3; word++) {
        if (word > 0) add(text, "-");
        add_hex(text, word_at(record, layout.position + word * 8), 16);
    }
    add(text, "\n  stream    ");
    add_name(text, stream, stream_length);
    add(text, "\n  type      ");
    if (type < atomic_load(&type_capacity)) {
        struct type_name name = atomic_load(&type_names)[type];
        if (name.text) add_name(text, name.text, name.length);
    }
    add(text, "\nThe live tables are whole: what was not committed is undone.\nRun '");
    add(text, atomic_load(&program));
    add(text, " ledger show --ledger ");
    add(text, atomic_load(&ledger) ? atomic_load(&ledger) : "LEDGER");
    if (has_id && is_word(id, id_length)) {
        add(text, " --id ");
        add_bytes(text, id, id_length);
    } else {
        uint64_t number = word_at(record, layout.position);
        add(text, " --oldest --limit 1 --after ");
        add_decimal(text, number > 0 ? number - 1 : 0);
    }
    add(text, "' to see the event. Change the reducer, then run the same command again.\n");
}

// What goes wrong while it is written cannot be told any more.
static void write_all(int descriptor, const char *bytes, size_t count) {
    for (size_t done = 0; done < count;) {
        ssize_t written = write(descriptor, bytes + done, count - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        done += (size_t)written;
    }
}

// The message as the object that --json prints of a command that failed before it had a result.
static void write_json(const char *message, size_t count, int which) {
    int descriptor = atomic_load(&json_descriptor);
    if (descriptor < 0) return;
    struct text text = {.count = 0};
    add(&text, "{\"error\":\"");
    write_all(descriptor, text.bytes, text.count);
    for (size_t i = 0; i < count; i++) {
        text.count = 0;
        if (message[i] == '\n') {
            add(&text, "\\n");
        } else {
            if (message[i] == '"' || message[i] == '\\') add(&text, "\\");
            add_bytes(&text, message + i, 1);
        }
        write_all(descriptor, text.bytes, text.count);
    }
    text.count = 0;
    add(&text, "\",\"exitStatus\":");
    // As a shell tells of a process that a signal ended.
    add_decimal(&text, 128 + (uint64_t)signals[which]);
    add(&text, "}\n");
    write_all(descriptor, text.bytes, text.count);
}

static const char label[] = "Error: ";

static void report(int which) {
    struct text text = {.count = 0};
    struct crash_fold *fold = current;
    const char *record = fold ? fold->record : NULL;
    add(&text, label);
    if (record) {
        add(&text, "The reducer of '");
        add(&text, fold->projection);
        add(&text, "' crashed");
    } else {
        add(&text, "The program crashed outside a reducer");
    }
    add(&text, " (");
    add(&text, signal_names[which]);
    add(&text, which == 2 || which == 3
        ? "): memory was touched that is not there, none was left, or calls were nested too deeply."
        : "): an unexpected nil, an overflow, an index out of range or a failed precondition.");
    if (record) {
        add_event(&text, fold->texts, record);
    } else {
        add(&text, "\nThe live tables are whole: what was not committed is undone.\nRun '");
        add(&text, atomic_load(&program));
        add(&text, " status' to see which generation is live, and report the crash as a defect.\n");
    }
    write_all(STDERR_FILENO, text.bytes, text.count);
    size_t start = sizeof label - 1;
    // Without the label and the last line end.
    write_json(text.bytes + start, text.count - start - 1, which);
}

static void handle(int signal, siginfo_t *info, void *context) {
    (void)context;
    int error = errno;
    int which = 0;
    while (signals[which] != signal) which++;
    // What follows is what would have happened without this handler.
    sigaction(signal, &before[which], NULL);
    bool is_sent = info->si_code <= 0;
    // A signal from elsewhere is no crash.
    if (!is_sent || info->si_pid == getpid()) {
        if (atomic_exchange(&is_reported, true)) {
            // Another thread crashed first, and writes: this one waits for the process's end.
            for (;;) pause();
        }
        report(which);
    }
    errno = error;
    // An instruction that crashed does so again.
    if (is_sent) raise(signal);
}

// MARK: What is told before

void crash_report_begin(const char *name) {
    atomic_store(&program, strdup(name));
    if (atomic_exchange(&is_watching, true)) return;
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (int which = 0; which < signal_count; which++)
        sigaction(signals[which], &action, &before[which]);
}

// The old text stays: a handler may read it. Of several ledgers none is named.
void crash_report_set_ledger(const char *argument) {
    const char *known = atomic_load(&ledger);
    atomic_store(&ledger, known && strcmp(known, argument) != 0 ? "LEDGER" : strdup(argument));
}

void crash_report_set_json(int descriptor) { atomic_store(&json_descriptor, descriptor); }

void crash_report_set_layout(struct crash_record_layout given) { layout = given; }

void crash_report_name_type(uint32_t number, const char *name, size_t length) {
    uint32_t capacity = atomic_load(&type_capacity);
    if (number >= capacity) {
        uint32_t larger = capacity == 0 ? 256 : capacity * 2;
        struct type_name *names = calloc(larger, sizeof *names);
        if (!names || number >= larger) return;
        if (capacity > 0) memcpy(names, atomic_load(&type_names), capacity * sizeof *names);
        atomic_store(&type_names, names);
        atomic_store(&type_capacity, larger);
    }
    char *text = malloc(length + 1);
    if (!text) return;
    memcpy(text, name, length);
    atomic_load(&type_names)[number] = (struct type_name){.text = text, .length = length};
}

struct crash_fold *crash_fold_make(const char *projection) {
    struct crash_fold *fold = calloc(1, sizeof *fold);
    if (!fold || !(fold->projection = strdup(projection))) abort();
    return fold;
}

void crash_fold_free(struct crash_fold *fold) {
    free(fold->projection);
    free(fold->signal_stack);
    free(fold);
}

void crash_fold_enter(struct crash_fold *fold, const void *texts) {
    fold->texts = texts;
    current = fold;
    if (!atomic_load_explicit(&is_watching, memory_order_relaxed)) return;
    if (!fold->signal_stack) fold->signal_stack = malloc(stack_size);
    if (!fold->signal_stack) return;
    // A thread whose stack is full has no other place for the handler.
    stack_t stack = {.ss_sp = fold->signal_stack, .ss_size = stack_size};
    sigaltstack(&stack, NULL);
}

void crash_fold_leave(struct crash_fold *fold) {
    fold->record = NULL;
    current = NULL;
    if (!fold->signal_stack) return;
    stack_t stack = {.ss_flags = SS_DISABLE};
    sigaltstack(&stack, NULL);
}
