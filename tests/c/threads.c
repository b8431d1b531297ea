/* One tensor in several threads: references, views and exports; the last of them on any thread (p17). */
#include "sample.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 5000 };

static float buffer[6] = {0, 1, 2, 3, 4, 5};

static void *on_another_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    void *result = NULL;
    MUST(pthread_create(&thread, NULL, body, argument) == 0 && pthread_join(thread, &result) == 0);
    return result;
}

static void *release_it(void *tensor) {
    dlb_tensor_release(tensor);
    return NULL;
}

static void *delete_it(void *export) {
    ((DLManagedTensorVersioned *)export)->deleter(export);
    return NULL;
}

static pthread_t released_on;

static void note_the_thread(void *context) {
    released_on = pthread_self();
    sample_release(context);
}

static void *release_here(void *tensor) {
    dlb_tensor_release(tensor);
    CHECK(pthread_equal(released_on, pthread_self()));
    return NULL;
}

static void the_owner_goes_on_the_thread_that_released_last(void) {
    sample from;
    dlb_tensor *tensor = NULL;
    SAMPLE(&from, buffer, 2, 3);
    MUST(dlb_tensor_wrap(&from.tensor, 0, note_the_thread, &from, &tensor) == DLB_OK);
    dlb_tensor *also_mine = dlb_tensor_retain(tensor);
    dlb_tensor_release(tensor);
    CHECK_EQUAL(from.released, 0);
    on_another_thread(release_here, also_mine);
    CHECK_EQUAL(from.released, 1);
}

static void p17_the_deleter_runs_on_a_plain_thread(void) {
    sample from;
    DLManagedTensorVersioned *export = NULL;
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    MUST(dlb_tensor_export(tensor, &export) == DLB_OK);
    on_another_thread(release_it, tensor);
    CHECK_EQUAL(from.released, 0);
    on_another_thread(delete_it, export);
    CHECK_EQUAL(from.released, 1);
}

static void export_import_and_look(dlb_tensor *tensor) {
    DLManagedTensorVersioned *export = NULL;
    dlb_tensor *back = NULL;
    const void *data = NULL;
    MUST(dlb_tensor_export(tensor, &export) == DLB_OK && dlb_tensor_import(export, &back) == DLB_OK);
    CHECK_OK(dlb_tensor_data(back, dtype_of(FLOAT, 32, 1), &data));
    CHECK(data == buffer);
    dlb_tensor_release(back);
}

static void view_and_look(dlb_tensor *tensor) {
    dlb_tensor *view = NULL;
    const void *data = NULL;
    MUST(dlb_tensor_slice(tensor, 1, DLB_SLICE_END, DLB_SLICE_END, -1, &view) == DLB_OK);
    CHECK_OK(dlb_tensor_data(view, dtype_of(FLOAT, 32, 1), &data));
    CHECK(data == buffer + 2);
    dlb_tensor_release(view);
}

/* Owns one reference, which it gives back at the end. */
static void *use_it_all_ways(void *tensor) {
    for (int round = 0; round < ROUNDS; round++) {
        dlb_tensor *mine = dlb_tensor_retain(tensor);
        export_import_and_look(mine);
        view_and_look(mine);
        dlb_tensor_release(mine);
    }
    dlb_tensor_release(tensor);
    return NULL;
}

static void four_threads_share_a_tensor(void) {
    sample from;
    pthread_t threads[THREADS];
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, use_it_all_ways, dlb_tensor_retain(tensor)) == 0);
    }
    dlb_tensor_release(tensor); /* whichever thread is the last lets the owner go */
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    CHECK_EQUAL(from.released, 1);
}

/* Exports of one thread are deleted by the others: each slot goes from hand to hand. */
static _Atomic(DLManagedTensorVersioned *) slots[8];

static void *swap_exports(void *tensor) {
    for (int round = 0; round < ROUNDS; round++) {
        DLManagedTensorVersioned *export = NULL;
        MUST(dlb_tensor_export(tensor, &export) == DLB_OK);
        export = atomic_exchange(&slots[round % COUNT(slots)], export);
        if (export != NULL) {
            export->deleter(export);
        }
    }
    return NULL;
}

static void exports_are_deleted_by_other_threads(void) {
    sample from;
    pthread_t threads[THREADS];
    SAMPLE(&from, buffer, 2, 3);
    dlb_tensor *tensor = sample_tensor(&from);
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, swap_exports, tensor) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    dlb_tensor_release(tensor);
    CHECK_EQUAL(dlb_live_exports(), COUNT(slots));
    for (size_t i = 0; i < COUNT(slots); i++) {
        CHECK_EQUAL(from.released, 0);
        slots[i]->deleter(slots[i]);
    }
    CHECK_EQUAL(from.released, 1);
}

RUN_TESTS(TEST(the_owner_goes_on_the_thread_that_released_last), TEST(p17_the_deleter_runs_on_a_plain_thread),
          TEST(four_threads_share_a_tensor), TEST(exports_are_deleted_by_other_threads))
