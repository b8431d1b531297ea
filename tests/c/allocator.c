/* Allocators of the program, and pools. */
#include "memory.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- an allocator of the program --- */

typedef struct {
    atomic_int allocated, freed, released;
    atomic_size_t bytes; /* that are out */
    int fails;
} own;

static void *own_allocate(void *context, size_t bytes, size_t alignment) {
    own *self = context;
    void *data = NULL;
    if (self->fails || posix_memalign(&data, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) != 0) {
        return NULL;
    }
    atomic_fetch_add(&self->allocated, 1);
    atomic_fetch_add(&self->bytes, bytes);
    return data;
}

static void own_deallocate(void *context, void *data, size_t bytes, size_t alignment) {
    own *self = context;
    CHECK(alignment != 0 && (uintptr_t)data % alignment == 0);
    atomic_fetch_add(&self->freed, 1);
    atomic_fetch_sub(&self->bytes, bytes);
    free(data);
}

static void own_release(void *context) { atomic_fetch_add(&((own *)context)->released, 1); }

static dlb_allocator_functions functions_of(own *self) {
    dlb_allocator_functions functions = {.struct_size = sizeof functions, .context = self, .allocate = own_allocate,
                                         .deallocate = own_deallocate, .release = own_release};
    return functions;
}

static dlb_allocator *allocator_of(own *self) {
    dlb_allocator *allocator = NULL;
    dlb_allocator_functions functions = functions_of(self);
    MUST(dlb_allocator_create(&functions, &allocator) == DLB_OK);
    return allocator;
}

static dlb_tensor *bytes_from(const dlb_allocator *allocator, int64_t bytes) {
    dlb_tensor *tensor = NULL;
    dlb_tensor_options options = options_of(&bytes, 1, UINT8);
    options.allocator = allocator;
    CHECK_OK(dlb_tensor_empty(&options, &tensor));
    return tensor;
}

static void its_memory_is_zeroed_too(void) {
    own self = {0};
    int64_t shape[] = {3 * MIB};
    dlb_tensor_options options = options_of(shape, 1, UINT8);
    options.allocator = allocator_of(&self);
    for (int turn = 0; turn < 2; turn++) {
        dlb_tensor *tensor = NULL;
        const void *data = NULL;
        MUST(dlb_tensor_zeros(&options, &tensor) == DLB_OK);
        CHECK_OK(dlb_tensor_data(tensor, UINT8, &data));
        const unsigned char *bytes = data;
        CHECK(bytes[0] == 0 && memcmp(bytes, bytes + 1, 3 * MIB - 1) == 0);
        written(tensor, UINT8);
        dlb_tensor_release(tensor);
    }
    CHECK_EQUAL(self.freed, 2);
    dlb_allocator_release((dlb_allocator *)options.allocator);
}

static void the_program_may_bring_its_own(void) {
    own self = {0};
    dlb_allocator *allocator = allocator_of(&self);
    dlb_tensor *tensor = bytes_from(allocator, 1000), *view = NULL;
    written(tensor, UINT8);
    CHECK_EQUAL(self.bytes, 1000);
    dlb_allocator_release(allocator); /* the tensor keeps it */
    CHECK_OK(dlb_tensor_slice(tensor, 0, 10, 20, 1, &view));
    dlb_tensor_release(tensor);
    CHECK_EQUAL(self.freed, 0);
    CHECK_EQUAL(self.released, 0);
    dlb_tensor_release(view);
    CHECK_EQUAL(self.freed, 1);
    CHECK_EQUAL(self.released, 1);
    CHECK_EQUAL(self.bytes, 0);
}

static void references_are_counted(void) {
    own self = {0};
    dlb_allocator *allocator = allocator_of(&self);
    CHECK(dlb_allocator_retain(allocator) == allocator);
    dlb_allocator_release(allocator);
    CHECK_EQUAL(self.released, 0);
    dlb_allocator_release(allocator);
    CHECK_EQUAL(self.released, 1);
    dlb_allocator_release(NULL);
    CHECK(dlb_allocator_retain(NULL) == NULL);
}

static void what_it_cannot_give_is_out_of_memory(void) {
    own self = {.fails = 1};
    dlb_allocator *allocator = allocator_of(&self);
    int64_t shape[] = {10};
    dlb_tensor_options options = options_of(shape, 1, UINT8);
    options.allocator = allocator;
    refused(options, DLB_ERROR_OUT_OF_MEMORY, "10 bytes could not be allocated: the allocator's function");
    options.device = (DLDevice){kDLCUDA, 0};
    refused(options, DLB_ERROR_INVALID_ARGUMENT, "the allocator gives memory on cpu and cuda:0 is asked for");
    dlb_allocator_release(allocator);
    CHECK_EQUAL(self.released, 1);
}

static void its_device_is_the_tensors(void) {
    own self = {0};
    dlb_allocator *allocator = NULL;
    dlb_allocator_functions functions = functions_of(&self);
    functions.device = (DLDevice){kDLCUDA, 2};
    MUST(dlb_allocator_create(&functions, &allocator) == DLB_OK);
    dlb_tensor *tensor = bytes_from(allocator, 10);
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_type, kDLCUDA);
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_id, 2);
    dlb_tensor_release(tensor);
    int64_t ten[] = {10};
    dlb_tensor_options zeros = options_of(ten, 1, UINT8);
    zeros.allocator = allocator;
    CHECK_FAILS(dlb_tensor_zeros(&zeros, &tensor), DLB_ERROR_UNAVAILABLE, "cuda:2 cannot be used here");
    dlb_allocator_release(allocator);

    // The host is one device, whatever number it is given.
    int64_t shape[] = {10};
    dlb_tensor_options options = options_of(shape, 1, UINT8);
    CHECK_OK(dlb_allocator_host(&allocator));
    options.allocator = allocator;
    options.device = (DLDevice){kDLCPU, 1};
    CHECK_OK(dlb_tensor_empty(&options, &tensor));
    CHECK_EQUAL(dlb_tensor_view(tensor)->device.device_id, 0);
    dlb_tensor_release(tensor);
    dlb_allocator_release(allocator);
}

static void a_table_that_lacks_something_is_refused(void) {
    own self = {0};
    dlb_allocator *out = NULL;
    dlb_allocator_functions functions = functions_of(&self);
    functions.deallocate = NULL;
    CHECK_FAILS(dlb_allocator_create(&functions, &out), DLB_ERROR_INVALID_ARGUMENT, "deallocate is NULL");
    functions = functions_of(&self);
    functions.allocate = NULL;
    CHECK_FAILS(dlb_allocator_create(&functions, &out), DLB_ERROR_INVALID_ARGUMENT, "allocate is NULL");
    functions = functions_of(&self);
    functions.struct_size = 0;
    CHECK_FAILS(dlb_allocator_create(&functions, &out), DLB_ERROR_INVALID_ARGUMENT, "struct_size");
    functions = functions_of(&self);
    CHECK_FAILS(dlb_allocator_create(&functions, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_allocator_create(NULL, &out), DLB_ERROR_INVALID_ARGUMENT, "functions is NULL");
    CHECK_EQUAL(self.released, 0);
}

/* --- pools --- */

static void a_pool_reuses_and_gives_back(void) {
    own self = {0};
    dlb_allocator *below = allocator_of(&self), *pool = NULL;
    CHECK_OK(dlb_allocator_pool(below, NULL, &pool));
    dlb_allocator_release(below);
    for (int i = 0; i < 5; i++) {
        dlb_tensor_release(bytes_from(pool, 3 * MIB));
    }
    dlb_pool_stats stats = stats_of(pool);
    CHECK_EQUAL(self.allocated, 1);
    CHECK_EQUAL(stats.allocations, 5);
    CHECK_EQUAL(stats.hits, 4);
    CHECK_EQUAL(stats.asked + stats.held, 0);
    CHECK_EQUAL(stats.cached, 3 * MIB);
    CHECK_EQUAL(stats.peak_asked, 3 * MIB);
    CHECK_EQUAL(stats.peak_held, 3 * MIB);
    CHECK_EQUAL(dlb_allocator_trim(pool, 3 * MIB), 0);
    CHECK_EQUAL(dlb_allocator_trim(pool, 0), 3 * MIB);
    CHECK_EQUAL(self.bytes, 0);
    dlb_tensor *last = bytes_from(pool, 100);
    dlb_allocator_release(pool);
    CHECK_EQUAL(self.released, 0);
    dlb_tensor_release(last);
    CHECK_EQUAL(self.released, 1);
    CHECK_EQUAL(self.freed, 2);
}

static void a_pool_keeps_its_limit(void) {
    int64_t shape[] = {5 * MIB};
    dlb_allocator *pool = NULL;
    dlb_pool_options limits = {.struct_size = sizeof limits, .limit = 8 * MIB, .cached = 4 * MIB};
    CHECK_OK(dlb_allocator_pool(NULL, &limits, &pool));
    dlb_tensor *first = bytes_from(pool, 4 * MIB);
    dlb_tensor_options options = options_of(shape, 1, UINT8);
    options.allocator = pool;
    refused(options, DLB_ERROR_OUT_OF_MEMORY, "of the pool's limit of 8388608, 4194304 are in use");
    dlb_tensor_release(first);
    CHECK_EQUAL(stats_of(pool).cached, 4 * MIB);
    CHECK_EQUAL(stats_of(pool).cached_limit, 4 * MIB);
    CHECK_OK(dlb_allocator_limit(pool, MIB));
    CHECK_EQUAL(stats_of(pool).cached, 0);
    CHECK_EQUAL(stats_of(pool).limit, 8 * MIB);
    CHECK_EQUAL(stats_of(pool).cached_limit, MIB);
    /* Who knows the first version alone is told no more than that. */
    dlb_pool_stats old = {.struct_size = offsetof(dlb_pool_stats, limit), .limit = 7, .cached_limit = 7};
    CHECK_OK(dlb_allocator_stats(pool, &old));
    CHECK_EQUAL(old.allocations, 1);
    CHECK_EQUAL(old.struct_size, offsetof(dlb_pool_stats, limit));
    CHECK_EQUAL(old.limit + old.cached_limit, 14);
    dlb_allocator_release(pool);
    limits.struct_size = 1;
    CHECK_FAILS(dlb_allocator_pool(NULL, &limits, &pool), DLB_ERROR_INVALID_ARGUMENT, "dlb_pool_options is 1");
}

static void the_shared_pool_can_be_asked_and_trimmed(void) {
    dlb_allocator_trim(NULL, 0);
    dlb_pool_stats before = stats_of(NULL);
    dlb_tensor_release(bytes_from(NULL, MIB - 1)); /* too small for it */
    CHECK_EQUAL(stats_of(NULL).allocations, before.allocations);
    dlb_tensor_release(bytes_from(NULL, 2 * MIB));
    CHECK_EQUAL(stats_of(NULL).allocations, before.allocations + 1);
    CHECK_EQUAL(stats_of(NULL).cached, 2 * MIB);
    CHECK_EQUAL(dlb_allocator_trim(NULL, 0), 2 * MIB);
}

static void what_is_no_pool_counts_nothing(void) {
    dlb_allocator *host = NULL;
    dlb_pool_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(dlb_allocator_host(&host));
    dlb_tensor_release(bytes_from(host, 5 * MIB));
    CHECK_FAILS(dlb_allocator_stats(host, &stats), DLB_ERROR_INVALID_ARGUMENT, "dlb_allocator_pool");
    CHECK_FAILS(dlb_allocator_limit(host, 1), DLB_ERROR_INVALID_ARGUMENT, "dlb_allocator_pool");
    CHECK_EQUAL(dlb_allocator_trim(host, 0), 0);
    CHECK_FAILS(dlb_allocator_stats(NULL, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    stats.struct_size = 16;
    CHECK_FAILS(dlb_allocator_stats(NULL, &stats), DLB_ERROR_INVALID_ARGUMENT, "dlb_pool_stats is 16");
    CHECK_FAILS(dlb_allocator_host(NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    dlb_allocator_release(host);
}

/* --- threads and processes --- */

enum { THREADS = 8 };
static dlb_allocator *shared;

static void *churn(void *unused) {
    int rounds = getenv("CHECK_QUICK") != NULL ? 200 : 5000;
    for (int i = 0; i < rounds; i++) {
        int64_t bytes = 1000 + i % 7 * 5000;
        dlb_tensor *tensor = bytes_from(shared, bytes);
        unsigned char *data = written(tensor, UINT8);
        memset(data, i, (size_t)bytes);
        CHECK(data[0] == (unsigned char)i && data[bytes - 1] == (unsigned char)i);
        dlb_tensor_release(tensor);
    }
    return unused;
}

static void eight_threads_share_one(void) {
    own self = {0};
    pthread_t threads[THREADS];
    dlb_allocator *below = allocator_of(&self);
    dlb_pool_options limits = {.struct_size = sizeof limits, .limit = 400000};
    CHECK_OK(dlb_allocator_pool(below, &limits, &shared));
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    CHECK_EQUAL(stats_of(shared).held, 0);
    CHECK(stats_of(shared).hits > 0 && stats_of(shared).peak_held <= 400000);
    dlb_allocator_release(shared);
    dlb_allocator_release(below);
    CHECK_EQUAL(self.bytes, 0);
    CHECK_EQUAL(self.released, 1);
}

static void a_child_starts_afresh(void) {
    dlb_allocator *pool = NULL;
    int status = 0;
    CHECK_OK(dlb_allocator_pool(NULL, NULL, &pool));
    dlb_tensor *before = bytes_from(pool, 3 * MIB);
    dlb_tensor_release(bytes_from(pool, 5 * MIB));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int fresh = stats_of(pool).cached == 0 && stats_of(pool).held == 0;
        dlb_tensor_release(before);
        fresh = fresh && stats_of(pool).cached == 0;
        dlb_tensor_release(bytes_from(pool, 5 * MIB));
        fresh = fresh && stats_of(pool).cached == 5 * MIB;
        dlb_allocator_release(pool);
        _exit(fresh ? 7 : 1);
    }
    MUST(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(WEXITSTATUS(status), 7);
    CHECK_EQUAL(stats_of(pool).held, 3 * MIB);
    dlb_tensor_release(before);
    dlb_allocator_release(pool);
}

RUN_TESTS(TEST(the_program_may_bring_its_own), TEST(its_memory_is_zeroed_too), TEST(references_are_counted),
          TEST(what_it_cannot_give_is_out_of_memory), TEST(its_device_is_the_tensors),
          TEST(a_table_that_lacks_something_is_refused), TEST(a_pool_reuses_and_gives_back),
          TEST(a_pool_keeps_its_limit), TEST(the_shared_pool_can_be_asked_and_trimmed),
          TEST(what_is_no_pool_counts_nothing), TEST(eight_threads_share_one), TEST(a_child_starts_afresh))
