#include <sqlite3.h>

// Reads the database's file itself, past its log; as many bytes as asked for, or an error.
static inline int csqlite_read_file(sqlite3 *database, void *bytes, int length, sqlite3_int64 offset) {
    sqlite3_file *file = 0;
    if (sqlite3_file_control(database, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) {
        return SQLITE_ERROR;
    }
    if (file == 0 || file->pMethods == 0) return SQLITE_ERROR;
    return file->pMethods->xRead(file, bytes, length, offset);
}

// sqlite3_db_config() takes its arguments as `...`, which Swift cannot call.
static inline int csqlite_configure(sqlite3 *database, int option, int value) {
    return sqlite3_db_config(database, option, value, (int *)0);
}
