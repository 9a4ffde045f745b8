#define _GNU_SOURCE

#include "CProgramImage.h"

#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct search {
    struct program_segment *segments;
    size_t capacity;
    size_t count;
};

// The program is the first object of the list, see dl_iterate_phdr(3).
static int take_first(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    struct search *search = context;
    for (size_t index = 0; index < info->dlpi_phnum; index++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[index];
        if (header->p_type != PT_LOAD || (header->p_flags & PF_W) || header->p_filesz == 0) continue;
        if (search->count < search->capacity) {
            search->segments[search->count].start = (const void *)(info->dlpi_addr + header->p_vaddr);
            search->segments[search->count].length = header->p_filesz;
        }
        search->count++;
    }
    return 1;
}

size_t program_segments(struct program_segment *segments, size_t capacity) {
    struct search search = {segments, capacity, 0};
    dl_iterate_phdr(take_first, &search);
    return search.count;
}

// What /proc/self/maps says of the mapping at an address.
static bool find_mapping(uintptr_t address, dev_t *device, ino_t *inode, char *path, size_t length) {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL) return false;
    char *line = NULL;
    size_t capacity = 0;
    bool is_found = false;
    while (!is_found && getline(&line, &capacity, maps) > 0) {
        unsigned long long start, end, number;
        unsigned int major_number, minor_number;
        int place = 0;
        if (sscanf(line, "%llx-%llx %*s %*s %x:%x %llu %n", &start, &end, &major_number,
                   &minor_number, &number, &place) < 5) continue;
        if (address < start || address >= end || place == 0) continue;
        *device = makedev(major_number, minor_number);
        *inode = (ino_t)number;
        line[strcspn(line, "\n")] = 0;
        snprintf(path, length, "%s", line + place);
        is_found = true;
    }
    free(line);
    fclose(maps);
    return is_found;
}

// Opens a path, where it leads to that file.
static int open_same(const char *path, dev_t device, ino_t inode) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    struct stat found;
    if (fstat(file, &found) == 0 && found.st_dev == device && found.st_ino == inode) return file;
    close(file);
    return -1;
}

int program_open(void) {
    struct program_segment first;
    if (program_segments(&first, 1) == 0) return -1;
    dev_t device;
    ino_t inode;
    char path[4096];
    if (!find_mapping((uintptr_t)first.start, &device, &inode, path, sizeof path)) return -1;
    // Leads to the file itself, also where its name is another one's by now.
    int file = open_same("/proc/self/exe", device, inode);
    return file >= 0 ? file : open_same(path, device, inode);
}
