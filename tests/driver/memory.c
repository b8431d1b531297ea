/* The stand-in's memory. A device has a window of addresses that nobody can touch, and behind it memory of the host of the
 * same size: so a pointer of a device that is used on the host ends the test at once. What is freed is filled with 0xDD. */
#define _GNU_SOURCE
#include "standin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { POISON = 0xDD, CANARY = 0xCA, CANARIES = 64, STEP = 512, MOST_BLOCKS = 1 << 16, PAGE = 4096 };

/* Ranges are sparse in the window, so that what was freed is not given out again soon. */
static const size_t WINDOW = (size_t)512 << 20;

typedef struct block {
    uintptr_t start;
    size_t bytes;
    int device; /* -1: the host's, allocated; -2: the host's, registered */
    bool abandoned; /* it was to be given back when the device was lost, which gives nothing back */
} block;

static block blocks[MOST_BLOCKS];
static int count;
static uintptr_t windows[MOST_DEVICES];
static char *stores[MOST_DEVICES];
static size_t cursors[MOST_DEVICES], capacity;
static int opened;

void open_memory(int devices, size_t bytes) {
    capacity = bytes;
    opened = devices;
    for (int device = 0; device < devices; device++) {
        void *window = mmap(NULL, WINDOW, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        void *store = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (window == MAP_FAILED || store == MAP_FAILED) abort();
        windows[device] = (uintptr_t)window;
        stores[device] = store;
    }
}

void *behind(uintptr_t address) {
    for (int device = 0; device < opened; device++) {
        if (address - windows[device] < WINDOW) return stores[device] + (address - windows[device]);
    }
    return (void *)address;
}

static block *find(uintptr_t address) {
    for (int i = 0; i < count; i++) {
        if (address - blocks[i].start < blocks[i].bytes) return &blocks[i];
    }
    return NULL;
}

static bool add(uintptr_t start, size_t bytes, int device) {
    if (count == MOST_BLOCKS) return false;
    blocks[count++] = (block){start, bytes, device, false};
    return true;
}

/* Ends the life of a block; what was allocated is filled with poison. */
static void drop(block *gone) {
    if (gone->device != -2) memset(behind(gone->start), POISON, gone->bytes);
    if (gone->device == -1) free((void *)gone->start);
    *gone = blocks[--count];
}

/* The end of a function that gives back. On a lost device the block stays, and is counted as such. */
static CUresult give_back(block *gone, CUresult told) {
    if (lost == SUCCESS) {
        drop(gone);
    } else if (gone->abandoned) {
        violation("gave back what was given back before", gone->start, gone->bytes);
    } else {
        gone->abandoned = true;
    }
    return leave(told);
}

void reclaim(void) {
    for (int i = count - 1; i >= 0; i--) {
        if (blocks[i].abandoned) drop(&blocks[i]);
    }
}

int kind_of(uintptr_t address, int *device, uintptr_t *start, size_t *room) {
    block *found = find(address);
    if (found == NULL) return UNKNOWN_MEMORY;
    *device = found->device;
    *start = found->start;
    *room = found->bytes - (address - found->start);
    return found->device < 0 ? HOST_MEMORY : DEVICE_MEMORY;
}

bool is_memory(uintptr_t address, size_t bytes, int kind) {
    int device;
    uintptr_t start;
    size_t room;
    return kind_of(address, &device, &start, &room) == kind && bytes <= room;
}

long live_memory(const char *what) {
    long found = 0;
    bool abandoned = strcmp(what, "abandoned blocks") == 0;
    for (int i = 0; i < count; i++) {
        int device = blocks[i].device;
        found += abandoned && blocks[i].abandoned;
        if (blocks[i].abandoned) continue;
        if (strcmp(what, "device blocks") == 0) found += device >= 0;
        if (strcmp(what, "device bytes") == 0) found += device >= 0 ? (long)blocks[i].bytes : 0;
        if (strcmp(what, "pinned blocks") == 0) found += device == -1;
        if (strcmp(what, "registered blocks") == 0) found += device == -2;
    }
    return found;
}

EXPORT CUresult cuMemAlloc_v2(uint64_t *result, size_t bytes) {
    ENTER_UNSAFE(cuMemAlloc);
    NEED_CONTEXT;
    int device = current_device();
    size_t taken = 0, room = (bytes + CANARIES + STEP - 1) / STEP * STEP;
    if (bytes == 0) return leave(INVALID_VALUE);
    for (int i = 0; i < count; i++) taken += blocks[i].device == device ? blocks[i].bytes : 0;
    if (bytes > capacity || taken > capacity - bytes) return leave(OUT_OF_MEMORY);
    for (int turns = 0; turns < 2;) {
        uintptr_t start = windows[device] + cursors[device];
        if (cursors[device] + room > WINDOW) {
            cursors[device] = 0;
            turns++;
            continue;
        }
        block *used = NULL;
        for (int i = 0; i < count; i++) {
            if (blocks[i].start < start + room && start < blocks[i].start + blocks[i].bytes + CANARIES) used = &blocks[i];
        }
        if (used == NULL) {
            if (!add(start, bytes, device)) return leave(OUT_OF_MEMORY);
            cursors[device] += room;
            memset(behind(start), POISON, bytes);
            memset((char *)behind(start) + bytes, CANARY, CANARIES);
            *result = start;
            return leave(SUCCESS);
        }
        cursors[device] = (used->start - windows[device] + used->bytes + CANARIES + STEP - 1) / STEP * STEP;
    }
    return leave(OUT_OF_MEMORY);
}

EXPORT CUresult cuMemFree_v2(uint64_t address) {
    ENTER_TO_FREE(cuMemFree);
    NEED_CONTEXT;
    block *found = find(address);
    if (found == NULL || found->start != address || found->device < 0) {
        violation("freed what is no block of a device", address, 0);
        return leave(INVALID_VALUE);
    }
    const unsigned char *after = (unsigned char *)behind(address) + found->bytes;
    for (int i = 0; i < CANARIES; i++) {
        if (after[i] != CANARY) {
            violation("something wrote past the end of a block", address, found->bytes);
            break;
        }
    }
    return give_back(found, told);
}

EXPORT CUresult cuMemHostAlloc(void **result, size_t bytes, unsigned flags) {
    ENTER_UNSAFE(cuMemHostAlloc);
    NEED_CONTEXT;
    if (flags != 1) return leave(INVALID_VALUE);
    void *data = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
    if (data == NULL || !add((uintptr_t)data, bytes, -1)) return leave(OUT_OF_MEMORY);
    memset(data, POISON, bytes);
    *result = data;
    return leave(SUCCESS);
}

EXPORT CUresult cuMemFreeHost(void *data) {
    ENTER_TO_FREE(cuMemFreeHost);
    NEED_CONTEXT;
    block *found = find((uintptr_t)data);
    if (found == NULL || found->start != (uintptr_t)data || found->device != -1) {
        violation("freed what is no pinned block", (uintptr_t)data, 0);
        return leave(INVALID_VALUE);
    }
    return give_back(found, told);
}

EXPORT CUresult cuMemHostRegister_v2(void *data, size_t bytes, unsigned flags) {
    ENTER_UNSAFE(cuMemHostRegister);
    NEED_CONTEXT;
    uintptr_t start = (uintptr_t)data;
    if (flags != 1 || start % PAGE != 0 || bytes % PAGE != 0) return leave(INVALID_VALUE);
    for (int i = 0; i < count; i++) {
        if (blocks[i].start < start + bytes && start < blocks[i].start + blocks[i].bytes) return leave(ALREADY_REGISTERED);
    }
    return leave(add(start, bytes, -2) ? SUCCESS : OUT_OF_MEMORY);
}

EXPORT CUresult cuMemHostUnregister(void *data) {
    ENTER_TO_FREE(cuMemHostUnregister);
    NEED_CONTEXT;
    /* It takes its time, in which others go on. */
    pthread_mutex_unlock(&lock);
    usleep(500);
    pthread_mutex_lock(&lock);
    block *found = find((uintptr_t)data);
    if (found == NULL || found->start != (uintptr_t)data || found->device != -2) {
        violation("unregistered what is not registered", (uintptr_t)data, 0);
        return leave(NOT_REGISTERED);
    }
    return give_back(found, told);
}

EXPORT CUresult cuPointerGetAttribute(void *result, int attribute, uint64_t address) {
    ENTER(cuPointerGetAttribute);
    int device;
    uintptr_t start;
    size_t room;
    int kind = kind_of(address, &device, &start, &room);
    if (kind == UNKNOWN_MEMORY) return leave(INVALID_VALUE);
    switch (attribute) {
    case 2: *(unsigned *)result = (unsigned)kind; break;
    case 9: *(int *)result = device < 0 ? 0 : device; break;
    case 11: *(uint64_t *)result = start; break;
    default: return leave(INVALID_VALUE);
    }
    return leave(SUCCESS);
}
