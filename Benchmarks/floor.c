// The least that a rebuild has to do: read every event once, and load rows that are ready.
//
//   floor CONNECTIONS LEDGER PLAN
//   floor scan LEDGER
//
// LEDGER is read in the order of its key, every column and every cache line of the text. Then each
// table of PLAN is made and filled by COPY BINARY FREEZE in one transaction, analysed and indexed.
// CONNECTIONS take one step after the other from the tables, the first table's first. The rows come
// from files, so nothing is folded: what a rebuild takes beyond this is its own doing.
//
// PLAN has a line for each step, a word and what belongs to it: `table NAME` begins a table; then
// follow `create SQL`, `copy SQL`, `ready FILE`, `analyze SQL`, and any number of `index SQL` and
// of `finish SQL`, which comes after the indexes. DATABASE_URL, or PGHOST and its like, name the
// server.
//
// Prints the seconds of each phase as JSON. `scan` reads the events and loads nothing.
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CACHE_LINE = 64, COPY_CHUNK = 1 << 16, MOST_TABLES = 16, MOST_STATEMENTS = 16 };

struct table {
    const char *name, *create, *copy, *ready, *analyze;
    const char *indexes[MOST_STATEMENTS], *finishes[MOST_STATEMENTS];
    int index_count, finish_count;
    // What is taken by a connection, and what is done.
    bool load_taken, loaded, analyze_taken, analyzed, finish_taken, finished;
    int indexes_taken, indexes_done;
};

enum kind { LOAD, ANALYZE, INDEX, FINISH, NOTHING };

struct step {
    enum kind kind;
    struct table *table;
    const char *sql;
};

static struct table tables[MOST_TABLES];
static int table_count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static double copy_seconds, index_seconds, analyze_seconds;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "floor: %s: %s\n", what, why);
    exit(1);
}

// --- The ledger ---------------------------------------------------------------------------------

static uint64_t touch(const unsigned char *bytes, int length) {
    uint64_t sum = 0;
    for (int index = 0; index < length; index += CACHE_LINE) sum += bytes[index];
    return length > 0 ? sum + bytes[length - 1] : sum;
}

// Touches all eight columns of the row that a statement stands on. Metadata and id can be NULL.
static uint64_t touch_row(sqlite3_stmt *statement) {
    uint64_t sum = 0;
    for (int column = 0; column < 8; column++) {
        if (column < 2 || column == 7) {
            sum += (uint64_t)sqlite3_column_int64(statement, column);
        } else {
            const unsigned char *text = sqlite3_column_text(statement, column);
            sum += touch(text, sqlite3_column_bytes(statement, column));
        }
    }
    return sum;
}

static void scan(const char *path, uint64_t *events, uint64_t *sum) {
    sqlite3 *database;
    sqlite3_stmt *statement;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &database, flags, NULL) != SQLITE_OK) {
        fail(path, sqlite3_errmsg(database));
    }
    const char *sql = "SELECT sequence, time, stream, type, payload, metadata, id, checksum"
                      " FROM events ORDER BY sequence";
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail(path, sqlite3_errmsg(database));
    }
    int status;
    while ((status = sqlite3_step(statement)) == SQLITE_ROW) {
        *sum += touch_row(statement);
        *events += 1;
    }
    if (status != SQLITE_DONE) fail(path, sqlite3_errmsg(database));
    sqlite3_finalize(statement);
    sqlite3_close(database);
}

// --- The plan -----------------------------------------------------------------------------------

static void append(const char **statements, int *count, const char *sql) {
    if (*count == MOST_STATEMENTS) fail("plan", "too many statements of a table");
    statements[(*count)++] = sql;
}

static void add_line(const char *word, char *rest) {
    if (strcmp(word, "table") == 0) {
        if (table_count == MOST_TABLES) fail("plan", "too many tables");
        tables[table_count++].name = rest;
        return;
    }
    if (table_count == 0) fail("plan", "it does not begin with a table");
    struct table *table = &tables[table_count - 1];
    if (strcmp(word, "create") == 0) table->create = rest;
    else if (strcmp(word, "copy") == 0) table->copy = rest;
    else if (strcmp(word, "ready") == 0) table->ready = rest;
    else if (strcmp(word, "index") == 0) append(table->indexes, &table->index_count, rest);
    else if (strcmp(word, "finish") == 0) append(table->finishes, &table->finish_count, rest);
    else if (strcmp(word, "analyze") == 0) table->analyze = rest;
    else fail("plan", word);
}

static void read_plan(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) fail(path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, file)) > 0) {
        if (line[length - 1] == '\n') line[length - 1] = '\0';
        char *space = strchr(line, ' ');
        if (space == NULL) fail("plan", line);
        *space = '\0';
        add_line(line, strdup(space + 1));
    }
    free(line);
    fclose(file);
    for (int index = 0; index < table_count; index++) {
        struct table *table = &tables[index];
        if (!table->create || !table->copy || !table->ready || !table->analyze) {
            fail("plan", "a table has no create, copy, ready or analyze");
        }
    }
}

// --- The steps ----------------------------------------------------------------------------------

static PGconn *connect_to_server(void) {
    const char *url = getenv("DATABASE_URL");
    PGconn *connection = PQconnectdb(url ? url : "");
    if (PQstatus(connection) != CONNECTION_OK) fail("connect", PQerrorMessage(connection));
    return connection;
}

static void expect(PGconn *connection, PGresult *result, ExecStatusType status, const char *sql) {
    if (PQresultStatus(result) != status) fail(sql, PQerrorMessage(connection));
    PQclear(result);
}

static void execute(PGconn *connection, const char *sql) {
    expect(connection, PQexec(connection, sql), PGRES_COMMAND_OK, sql);
}

static void send_file(PGconn *connection, const char *path) {
    int file = open(path, O_RDONLY);
    if (file < 0) fail(path, strerror(errno));
    char bytes[COPY_CHUNK];
    ssize_t length;
    while ((length = read(file, bytes, sizeof bytes)) > 0) {
        if (PQputCopyData(connection, bytes, (int)length) != 1) {
            fail(path, PQerrorMessage(connection));
        }
    }
    if (length < 0) fail(path, strerror(errno));
    close(file);
}

// FREEZE wants the table to have been made in the same transaction: PostgreSQL's manual, "COPY".
static void load(PGconn *connection, const struct table *table) {
    execute(connection, "BEGIN");
    execute(connection, table->create);
    expect(connection, PQexec(connection, table->copy), PGRES_COPY_IN, table->copy);
    send_file(connection, table->ready);
    if (PQputCopyEnd(connection, NULL) != 1) fail(table->copy, PQerrorMessage(connection));
    expect(connection, PQgetResult(connection), PGRES_COMMAND_OK, table->copy);
    while (PQgetResult(connection) != NULL) {}
    execute(connection, "COMMIT");
}

// What this table has for a connection that is free; NOTHING while it waits for others, or is done.
//
// ANALYZE and CREATE INDEX of one table exclude each other. ANALYZE comes first, so that nothing is
// left for one connection alone once the largest table's indexes are there.
static struct step next_of(struct table *table) {
    if (!table->load_taken) {
        table->load_taken = true;
        return (struct step){LOAD, table, NULL};
    }
    if (table->loaded && !table->analyze_taken) {
        table->analyze_taken = true;
        return (struct step){ANALYZE, table, table->analyze};
    }
    if (table->analyzed && table->indexes_taken < table->index_count) {
        return (struct step){INDEX, table, table->indexes[table->indexes_taken++]};
    }
    if (table->analyzed && table->indexes_done == table->index_count && !table->finish_taken) {
        table->finish_taken = true;
        return (struct step){FINISH, table, NULL};
    }
    return (struct step){NOTHING, table, NULL};
}

static bool all_finished(void) {
    for (int index = 0; index < table_count; index++) {
        if (!tables[index].finished) return false;
    }
    return true;
}

// Waits until there is a step to take; NOTHING when every table is done.
static struct step take(void) {
    struct step step = {NOTHING, NULL, NULL};
    pthread_mutex_lock(&mutex);
    while (!all_finished()) {
        for (int index = 0; index < table_count && step.kind == NOTHING; index++) {
            step = next_of(&tables[index]);
        }
        if (step.kind != NOTHING) break;
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    return step;
}

static void run(PGconn *connection, struct step step) {
    if (step.kind == LOAD) {
        load(connection, step.table);
    } else if (step.kind == FINISH) {
        for (int index = 0; index < step.table->finish_count; index++) {
            execute(connection, step.table->finishes[index]);
        }
    } else {
        execute(connection, step.sql);
    }
}

static void note(struct step step, double took) {
    struct table *table = step.table;
    pthread_mutex_lock(&mutex);
    switch (step.kind) {
        case LOAD: table->loaded = true; copy_seconds += took; break;
        case ANALYZE: table->analyzed = true; analyze_seconds += took; break;
        case INDEX: table->indexes_done += 1; index_seconds += took; break;
        case FINISH: table->finished = true; index_seconds += took; break;
        case NOTHING: break;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void *work(void *unused) {
    PGconn *connection = connect_to_server();
    for (struct step step = take(); step.kind != NOTHING; step = take()) {
        double began = now();
        run(connection, step);
        note(step, now() - began);
    }
    PQfinish(connection);
    return unused;
}

static void work_on(int connections) {
    pthread_t others[8];
    for (int index = 1; index < connections; index++) {
        int error = pthread_create(&others[index - 1], NULL, work, NULL);
        if (error != 0) fail("thread", strerror(error));
    }
    work(NULL);
    for (int index = 1; index < connections; index++) pthread_join(others[index - 1], NULL);
}

int main(int count, char **arguments) {
    bool only_scans = count == 3 && strcmp(arguments[1], "scan") == 0;
    int connections = count == 4 ? atoi(arguments[1]) : 0;
    if (!only_scans && (connections < 1 || connections > 8)) {
        fputs("usage: floor CONNECTIONS LEDGER PLAN\n       floor scan LEDGER\n", stderr);
        return 2;
    }
    if (!only_scans) read_plan(arguments[3]);

    uint64_t events = 0, sum = 0;
    double began = now();
    scan(arguments[2], &events, &sum);
    double scanned = now();
    printf("{\"events\": %llu, \"sum\": %llu, \"seconds\": {\"scan\": %.6f",
           (unsigned long long)events, (unsigned long long)sum, scanned - began);
    if (only_scans) {
        printf("}}\n");
        return 0;
    }
    work_on(connections);
    double loaded = now();

    printf(", ");
    // Side by side the steps overlap, so that their sum says nothing.
    if (connections > 1) {
        printf("\"load\": %.6f}}\n", loaded - scanned);
    } else {
        printf("\"copy\": %.6f, \"index\": %.6f, \"analyze\": %.6f}}\n", copy_seconds,
               index_seconds, analyze_seconds);
    }
    return 0;
}
