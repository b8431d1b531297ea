/* own_memory.c: frames in memory that the program itself gives, reused by a pool.
 *
 *   cc own_memory.c -I include -L target/release -ldlbridge -Wl,-rpath,$PWD/target/release -o own_memory && ./own_memory
 *
 * The program's memory is a mapped file of 64 MiB, which another process could map too and see the frames. Any
 * other memory would do: what a driver gave, NUMA-bound, locked.
 */
#include <dlbridge.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FRAMES = 300, HEIGHT = 720, WIDTH = 1280, CHANNELS = 3, MIB = 1 << 20, ARENA = 64 * MIB };

/* Every call that can fail goes through here. */
static void check(dlb_status status, const char *what) {
    if (status != DLB_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, dlb_status_name(status), dlb_error_message());
        exit(EXIT_FAILURE);
    }
}

static void require(int condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "wrong: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

/* --- the program's allocator: it gives from the front of the arena, and never anything twice --- */

typedef struct {
    unsigned char *base;
    size_t used;
    int given, taken_back;
} arena;

/* This program has one thread. With several, these two would need a lock: they are called without one. */
static void *arena_allocate(void *context, size_t bytes, size_t alignment) {
    arena *self = context;
    size_t start = (self->used + alignment - 1) / alignment * alignment;
    if (start > ARENA || bytes > ARENA - start) {
        return NULL; /* becomes DLB_ERROR_OUT_OF_MEMORY */
    }
    self->used = start + bytes;
    self->given++;
    return self->base + start;
}

static void arena_deallocate(void *context, void *data, size_t bytes, size_t alignment) {
    (void)data, (void)bytes, (void)alignment;
    ((arena *)context)->taken_back++;
}

/* The last user is gone: no tensor, no export and no pool has any of it. */
static void arena_release(void *context) {
    arena *self = context;
    require(self->given == self->taken_back, "the arena has everything back");
    munmap(self->base, ARENA);
    puts("the arena was released once, after its last frame");
}

static void arena_create(arena *self) {
    FILE *file = tmpfile();
    require(file != NULL && ftruncate(fileno(file), ARENA) == 0, "a file to map");
    void *base = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    require(base != MAP_FAILED, "mmap");
    fclose(file);
    *self = (arena){.base = base};
}

/* --- frames --- */

/* A pool over the arena: a frame that is let go is given out again, so the arena is asked for a few frames only. */
static dlb_allocator *frame_pool(arena *memory) {
    dlb_allocator_functions functions = {
        .struct_size = sizeof functions,
        .context = memory,
        .allocate = arena_allocate,
        .deallocate = arena_deallocate,
        .release = arena_release,
    };
    dlb_pool_options limits = {.struct_size = sizeof limits, .limit = 32 * MIB};
    dlb_allocator *own = NULL, *pool = NULL;
    check(dlb_allocator_create(&functions, &own), "make the allocator");
    check(dlb_allocator_pool(own, &limits, &pool), "make the pool");
    dlb_allocator_release(own); /* the pool keeps it */
    return pool;
}

static dlb_tensor *new_frame(const dlb_allocator *pool, int number) {
    int64_t shape[] = {HEIGHT, WIDTH, CHANNELS};
    dlb_tensor_options options = {
        .struct_size = sizeof options,
        .shape = shape,
        .ndim = 3,
        .dtype = {kDLUInt, 8, 1},
        .alignment = 4096,
        .allocator = pool,
    };
    dlb_tensor *frame = NULL;
    void *pixels = NULL;
    check(dlb_tensor_empty(&options, &frame), "a frame");
    check(dlb_tensor_mutable_data(frame, options.dtype, &pixels), "its pixels");
    memset(pixels, number, dlb_tensor_nbytes(frame)); /* the camera */
    return frame;
}

/* Plays the other side: any DLPack consumer, which keeps the last two frames. */
static void consume(dlb_tensor *frame, DLManagedTensorVersioned *kept[2]) {
    if (kept[0] != NULL) {
        kept[0]->deleter(kept[0]); /* back to the pool */
    }
    kept[0] = kept[1];
    check(dlb_tensor_export(frame, &kept[1]), "hand the frame over");
}

int main(void) {
    arena memory;
    arena_create(&memory);
    dlb_allocator *pool = frame_pool(&memory);
    DLManagedTensorVersioned *kept[2] = {NULL, NULL};

    for (int number = 0; number < FRAMES; number++) {
        dlb_tensor *frame = new_frame(pool, number);
        consume(frame, kept);
        dlb_tensor_release(frame);
    }
    unsigned char *last = kept[1]->dl_tensor.data;
    require(last >= memory.base && last < memory.base + ARENA, "the frame lies in the arena");
    require(last[0] == (unsigned char)(FRAMES - 1), "the last frame");

    dlb_pool_stats stats = {.struct_size = sizeof stats};
    check(dlb_allocator_stats(pool, &stats), "the numbers");
    printf("%" PRIu64 " frames, %" PRIu64 " of them in memory that was used before, at most %zu MiB at a time\n",
           stats.allocations, stats.hits, stats.peak_held / MIB);
    require(memory.given == 3, "three frames were enough");

    dlb_allocator_release(pool); /* the frames that are still out keep it */
    kept[0]->deleter(kept[0]);
    kept[1]->deleter(kept[1]);
    require(dlb_live_tensors() == 0 && dlb_live_exports() == 0, "something is still alive");
    return EXIT_SUCCESS;
}
