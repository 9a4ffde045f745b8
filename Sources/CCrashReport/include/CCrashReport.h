#pragma once

#include <stddef.h>
#include <stdint.h>

// Says which event a reducer was at when the process dies by a trap or by memory it may not touch.
//
// What a report needs is written before, so that a signal handler only has to read it.

// Where the record of an event holds what a report shows, in bytes from its beginning.
struct crash_record_layout {
    // Three words of 64 bits.
    size_t position;
    // A word: where the texts begin.
    size_t offset;
    // 32 bits each; an id of UINT32_MAX bytes is none.
    size_t stream_length, payload_length, id_length;
    // 32 bits: a number that has a name.
    size_t type;
};

// A fold of one projection, used by one thread at a time.
struct crash_fold {
    char *projection;
    const char *texts;
    const void *volatile record;
    void *signal_stack;
};

// Reports crashes from now on; `program` is what the user types to start this one.
void crash_report_begin(const char *program);

// Names the ledger that is read, as an argument of a shell command.
void crash_report_set_ledger(const char *argument);

// Writes reports to a descriptor as well, as an object of JSON; -1 ends that.
void crash_report_set_json(int descriptor);

// Says once where records hold what.
void crash_report_set_layout(struct crash_record_layout layout);

// Gives a type's number its name, UTF-8. The caller lets one thread at a time call it.
void crash_report_name_type(uint32_t number, const char *name, size_t length);

struct crash_fold *crash_fold_make(const char *projection);
void crash_fold_free(struct crash_fold *fold);

// The calling thread folds events whose texts begin there, until it leaves.
void crash_fold_enter(struct crash_fold *fold, const void *texts);
void crash_fold_leave(struct crash_fold *fold);

// The fold is at this event.
static inline void crash_fold_note(struct crash_fold *fold, const void *record) {
    fold->record = record;
}
