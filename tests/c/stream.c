/* Streams and events: copies that go on, who waits for them, what is refused, and what a fork leaves of them. Work is held
 * up without a clock: a source whose release function blocks keeps the stream's thread in it. */
#include "sample.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* a_program_may_end_meanwhile comes first: its child is to have lost no threads. */
enum { MANY = 1 << 20, SECOND = 1000000000 };

static dlb_stream *new_stream(void) {
    dlb_stream *stream = NULL;
    MUST(dlb_stream_create(device_of(CPU, 0), &stream) == DLB_OK);
    return stream;
}

static dlb_tensor *wrap_floats(float *data, int64_t rows, int64_t columns) {
    int64_t shape[] = {rows, columns};
    DLTensor description = {data, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, NULL, 0};
    dlb_tensor *tensor = NULL;
    MUST(dlb_tensor_wrap(&description, 0, NULL, NULL, &tensor) == DLB_OK);
    return tensor;
}

static const float *floats(const dlb_tensor *tensor) {
    const void *data = NULL;
    CHECK_OK(dlb_tensor_data(tensor, dtype_of(FLOAT, 32, 1), &data));
    return data;
}

/* --- a stream that is held up --- */

typedef struct {
    pthread_t opener;
    sem_t open;
    int missed; /* the release function ran on the test's thread */
    float element, copied;
} gate;

static void wait_at_gate(void *context) {
    gate *self = context;
    if (pthread_equal(self->opener, pthread_self())) {
        self->missed = 1;
        return;
    }
    while (sem_wait(&self->open) != 0) {
    }
}

/* What is queued behind this waits until the gate is opened, because the source's release function blocks the stream's
 * thread. Where the stream was so fast that this thread is the last to release, it is tried again. */
static void hold_up(dlb_stream *stream, gate *self) {
    int64_t shape[] = {1};
    DLTensor from = {&self->element, {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, shape, NULL, 0}, to = from;
    to.data = &self->copied;
    self->opener = pthread_self();
    MUST(sem_init(&self->open, 0, 0) == 0);
    do {
        dlb_tensor *source = NULL, *destination = NULL;
        self->missed = 0;
        MUST(dlb_tensor_wrap(&from, 0, wait_at_gate, self, &source) == DLB_OK);
        MUST(dlb_tensor_wrap(&to, 0, NULL, NULL, &destination) == DLB_OK);
        MUST(dlb_copy_async(source, destination, stream, NULL) == DLB_OK);
        dlb_tensor_release(source);
        dlb_tensor_release(destination);
    } while (self->missed);
}

static void *open_it_soon(void *self) {
    usleep(30000);
    sem_post(&((gate *)self)->open);
    return NULL;
}

static pthread_t open_soon(gate *self) {
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, open_it_soon, self) == 0);
    return thread;
}

static void join(pthread_t thread) {
    MUST(pthread_join(thread, NULL) == 0);
}

/* --- the tests --- */

static float here[6], there[6], elsewhere[6];

static void count_up(void) {
    for (int i = 0; i < 6; i++) {
        here[i] = (float)(i + 1), there[i] = elsewhere[i] = 0;
    }
}

static void a_copy_goes_on_and_access_waits_for_it(void) {
    count_up();
    gate gate;
    dlb_stream *stream = new_stream();
    dlb_tensor *source = wrap_floats(here, 2, 3), *destination = wrap_floats(there, 2, 3), *view = NULL;
    dlb_event *done = NULL;
    hold_up(stream, &gate);
    CHECK_OK(dlb_copy_async(source, destination, stream, &done));
    CHECK(!dlb_event_done(done));
    CHECK_FAILS(dlb_event_wait(done, 0), DLB_ERROR_TIMEOUT, "not done within 0 ms");
    CHECK_FAILS(dlb_event_wait(done, SECOND / 100), DLB_ERROR_TIMEOUT, "within 10 ms");
    CHECK_EQUAL(there[0], 0);
    CHECK_OK(dlb_tensor_slice(destination, 0, 1, DLB_SLICE_END, 1, &view));
    pthread_t opener = open_soon(&gate);
    CHECK_EQUAL(floats(view)[2], 6); /* a view waits for the same copy */
    CHECK(dlb_event_done(done));
    CHECK_OK(dlb_event_wait(done, 0));
    join(opener);
    dlb_event_release(done);
    dlb_tensor_release(view);
    dlb_tensor_release(source);
    dlb_tensor_release(destination);
    dlb_stream_release(stream);
}

/* One way to reach the elements of a tensor that a copy is on its way to; true if it was waited for. */
typedef int reaching(dlb_tensor *destination);

static int by_view(dlb_tensor *destination) {
    return ((float *)dlb_tensor_view(destination)->data)[0] == 1;
}

static int by_export(dlb_tensor *destination) {
    DLManagedTensorVersioned *export = NULL;
    MUST(dlb_tensor_export(destination, &export) == DLB_OK);
    int there = ((float *)export->dl_tensor.data)[0] == 1;
    export->deleter(export);
    return there;
}

static int by_legacy_export(dlb_tensor *destination) {
    DLManagedTensor *export = NULL;
    MUST(dlb_tensor_export_legacy(destination, &export) == DLB_OK);
    int there = ((float *)export->dl_tensor.data)[0] == 1;
    export->deleter(export);
    return there;
}

static int by_mutable_data(dlb_tensor *destination) {
    void *data = NULL;
    MUST(dlb_tensor_mutable_data(destination, dtype_of(FLOAT, 32, 1), &data) == DLB_OK);
    return ((float *)data)[0] == 1;
}

static void every_way_to_the_elements_waits(void) {
    static reaching *const ways[] = {by_view, by_export, by_legacy_export, by_mutable_data};
    for (size_t i = 0; i < COUNT(ways); i++) {
        count_up();
        gate gate;
        dlb_stream *stream = new_stream();
        dlb_tensor *source = wrap_floats(here, 3, 2), *destination = wrap_floats(there, 3, 2);
        hold_up(stream, &gate);
        CHECK_OK(dlb_copy_async(source, destination, stream, NULL));
        pthread_t opener = open_soon(&gate);
        CHECK(ways[i](destination));
        join(opener);
        dlb_tensor_release(source);
        dlb_tensor_release(destination);
        dlb_stream_release(stream);
    }
}

static void writing_the_source_waits_and_reading_it_does_not(void) {
    count_up();
    gate gate;
    dlb_stream *stream = new_stream();
    dlb_tensor *source = wrap_floats(here, 2, 3), *destination = wrap_floats(there, 2, 3);
    void *data = NULL;
    hold_up(stream, &gate);
    CHECK_OK(dlb_copy_async(source, destination, stream, NULL));
    CHECK_EQUAL(floats(source)[0], 1); /* would hang if it waited: nobody opens the gate yet */
    CHECK(dlb_tensor_view(source) != NULL);
    pthread_t opener = open_soon(&gate);
    CHECK_OK(dlb_tensor_mutable_data(source, dtype_of(FLOAT, 32, 1), &data));
    CHECK_EQUAL(there[5], 6);
    join(opener);
    dlb_tensor_release(source);
    dlb_tensor_release(destination);
    dlb_stream_release(stream);
}

static void streams_wait_for_events_and_for_memory(void) {
    count_up();
    gate gate;
    dlb_stream *one = new_stream(), *other = new_stream();
    dlb_tensor *first = wrap_floats(here, 2, 3), *second = wrap_floats(there, 2, 3);
    dlb_tensor *third = wrap_floats(elsewhere, 2, 3);
    dlb_event *done = NULL, *last = NULL;
    hold_up(one, &gate);
    CHECK_OK(dlb_copy_async(first, second, one, NULL));
    CHECK_OK(dlb_copy_async(second, third, other, &done)); /* ordered by the memory, though on another stream */
    CHECK_OK(dlb_stream_record(one, &last));
    dlb_stream *third_stream = new_stream();
    CHECK_OK(dlb_stream_wait_event(third_stream, last));
    CHECK_FAILS(dlb_event_wait(done, SECOND / 100), DLB_ERROR_TIMEOUT, "");
    CHECK_FAILS(dlb_stream_synchronize_for(third_stream, 0), DLB_ERROR_TIMEOUT, "within 0 ms");
    CHECK_FAILS(dlb_stream_synchronize_for(third_stream, SECOND / 100), DLB_ERROR_TIMEOUT, "within 10 ms");
    sem_post(&gate.open);
    CHECK_OK(dlb_stream_synchronize_for(third_stream, DLB_WAIT_FOREVER));
    CHECK_OK(dlb_stream_synchronize_for(third_stream, 600ull * SECOND));
    CHECK_OK(dlb_stream_synchronize(third_stream));
    CHECK_EQUAL(there[5], 6);
    CHECK_OK(dlb_event_wait(done, DLB_WAIT_FOREVER));
    CHECK_EQUAL(elsewhere[5], 6);
    CHECK_OK(dlb_stream_synchronize(one));
    dlb_event_release(dlb_event_retain(last));
    dlb_event_release(last);
    dlb_event_release(done);
    dlb_tensor_release(first);
    dlb_tensor_release(second);
    dlb_tensor_release(third);
    dlb_stream_release(one);
    dlb_stream_release(other);
    dlb_stream_release(third_stream);
}

static void a_released_stream_finishes_and_keeps_nothing(void) {
    count_up();
    gate gate;
    sample from;
    SAMPLE(&from, here, 2, 3);
    dlb_stream *stream = new_stream();
    dlb_tensor *source = sample_tensor(&from), *destination = wrap_floats(there, 2, 3);
    dlb_event *done = NULL;
    hold_up(stream, &gate);
    CHECK_OK(dlb_copy_async(source, destination, stream, &done));
    dlb_tensor_release(source);
    dlb_stream_release(dlb_stream_retain(stream));
    dlb_stream_release(stream); /* does not wait */
    CHECK_EQUAL(from.released, 0);
    sem_post(&gate.open);
    CHECK_OK(dlb_event_wait(done, DLB_WAIT_FOREVER));
    CHECK_EQUAL(from.released, 1); /* let go before the event is done */
    CHECK_EQUAL(floats(destination)[5], 6);
    dlb_event_release(done);
    dlb_tensor_release(destination);
}

static void what_cannot_be_copied_is_refused(void) {
    count_up();
    dlb_stream *stream = new_stream(), *none = NULL;
    dlb_tensor *table = wrap_floats(here, 2, 3), *turned = wrap_floats(there, 3, 2), *frozen = NULL, *bytes = NULL;
    dlb_event *event = NULL;
    CHECK_OK(dlb_tensor_read_only(turned, &frozen));
    CHECK_OK(dlb_tensor_reinterpret(turned, dtype_of(INT, 32, 1), &bytes));
    CHECK_FAILS(dlb_copy_async(NULL, table, stream, &event), DLB_ERROR_INVALID_ARGUMENT, "source is NULL");
    CHECK_FAILS(dlb_copy_async(table, NULL, stream, &event), DLB_ERROR_INVALID_ARGUMENT, "destination is NULL");
    CHECK_FAILS(dlb_copy_async(table, turned, NULL, &event), DLB_ERROR_INVALID_ARGUMENT, "stream is NULL");
    CHECK_FAILS(dlb_copy_async(table, turned, stream, &event), DLB_ERROR_INVALID_ARGUMENT, "[2, 3]");
    CHECK_FAILS(dlb_copy_async(turned, frozen, stream, &event), DLB_ERROR_READ_ONLY, "read-only");
    CHECK_FAILS(dlb_copy_async(turned, bytes, stream, &event), DLB_ERROR_INVALID_ARGUMENT, "int32");
    CHECK_FAILS(dlb_copy_async(turned, turned, stream, &event), DLB_ERROR_UNSUPPORTED, "lie between each other");
    CHECK(event == NULL);
    CHECK_FAILS(dlb_stream_create(device_of(CPU, 0), NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_stream_create(device_of(CUDA, 0), &none), DLB_ERROR_UNAVAILABLE, "; pass kDLCPU");
    CHECK_FAILS(dlb_device_check(device_of(CUDA, 1)), DLB_ERROR_UNAVAILABLE, "cuda:1");
    CHECK_FAILS(dlb_stream_create(device_of(99, 0), &none), DLB_ERROR_INVALID_TENSOR, "no device");
    CHECK_FAILS(dlb_stream_from_native(device_of(CPU, 0), NULL, &none), DLB_ERROR_UNSUPPORTED, "dlb_stream_create");
    CHECK_FAILS(dlb_stream_record(NULL, &event), DLB_ERROR_INVALID_ARGUMENT, "stream is NULL");
    CHECK_FAILS(dlb_stream_record(stream, NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_FAILS(dlb_stream_wait_event(stream, NULL), DLB_ERROR_INVALID_ARGUMENT, "event is NULL");
    CHECK_FAILS(dlb_stream_synchronize(NULL), DLB_ERROR_INVALID_ARGUMENT, "stream is NULL");
    CHECK_FAILS(dlb_stream_synchronize_for(NULL, 0), DLB_ERROR_INVALID_ARGUMENT, "stream is NULL");
    CHECK_FAILS(dlb_event_wait(NULL, 0), DLB_ERROR_INVALID_ARGUMENT, "event is NULL");
    CHECK(none == NULL && dlb_event_done(NULL) && dlb_stream_retain(NULL) == NULL && dlb_event_retain(NULL) == NULL);
    dlb_stream_release(NULL);
    dlb_event_release(NULL);
    dlb_tensor_release(table);
    dlb_tensor_release(turned);
    dlb_tensor_release(frozen);
    dlb_tensor_release(bytes);
    dlb_stream_release(stream);
}

static void the_cpu_is_listed(void) {
    DLDevice devices[4];
    CHECK_EQUAL(dlb_device_list(NULL, 0), 1);
    CHECK_EQUAL(dlb_device_list(devices, COUNT(devices)), 1);
    CHECK(devices[0].device_type == kDLCPU && devices[0].device_id == 0);
    CHECK_OK(dlb_device_check(devices[0]));
}

/* Ends a child: by a signal if all was well. What its lost threads held is no leak, but checkers would ask at an exit. */
static void end_child(int wrong) {
    if (wrong == 0) {
        signal(SIGUSR1, SIG_DFL);
        raise(SIGUSR1);
    }
    _exit(wrong);
}

static void child_ends_well(pid_t child) {
    int ended = 0;
    MUST(waitpid(child, &ended, 0) == child);
    CHECK_EQUAL(WIFEXITED(ended) ? WEXITSTATUS(ended) : 0, 0);
    CHECK_EQUAL(WIFSIGNALED(ended) ? WTERMSIG(ended) : 0, SIGUSR1);
}

/* What a child of a fork finds: 0, or the number of what was wrong. */
static int look_around(dlb_stream *old, dlb_event *pending, dlb_event *past, dlb_tensor *source, dlb_tensor *destination,
                       dlb_tensor *fresh) {
    const void *data = NULL;
    void *writable = NULL;
    dlb_event *event = NULL;
    dlb_stream *stream = NULL;
    if (dlb_copy_async(source, fresh, old, NULL) != DLB_ERROR_UNAVAILABLE) return 1;
    if (strstr(dlb_error_message(), "create a new stream in the child") == NULL) return 2;
    if (dlb_stream_synchronize(old) != DLB_ERROR_UNAVAILABLE) return 3;
    if (dlb_stream_record(old, &event) != DLB_ERROR_UNAVAILABLE) return 4;
    if (!dlb_event_done(pending) || dlb_event_wait(pending, DLB_WAIT_FOREVER) != DLB_ERROR_UNAVAILABLE) return 5;
    if (!dlb_event_done(past) || dlb_event_wait(past, DLB_WAIT_FOREVER) != DLB_OK) return 6;
    if (dlb_tensor_data(destination, dtype_of(FLOAT, 32, 1), &data) != DLB_ERROR_UNAVAILABLE) return 7;
    if (dlb_tensor_view(destination) != NULL) return 8;
    if (dlb_tensor_mutable_data(source, dtype_of(FLOAT, 32, 1), &writable) != DLB_OK) return 9;
    if (dlb_stream_create(device_of(CPU, 0), &stream) != DLB_OK) return 10;
    if (dlb_stream_wait_event(stream, past) != DLB_OK) return 11;
    if (dlb_copy_async(source, fresh, stream, &event) != DLB_OK) return 12;
    if (dlb_event_wait(event, 20ull * SECOND) != DLB_OK) return 13;
    if (dlb_tensor_data(fresh, dtype_of(FLOAT, 32, 1), &data) != DLB_OK || ((const float *)data)[5] != 6) return 14;
    dlb_event_release(event);
    dlb_stream_release(stream);
    dlb_stream_release(old);
    dlb_event_release(pending);
    return 0;
}

static void a_child_of_a_fork_hangs_on_nothing(void) {
    count_up();
    gate gate;
    dlb_stream *stream = new_stream();
    dlb_tensor *source = wrap_floats(here, 2, 3), *destination = wrap_floats(there, 2, 3);
    dlb_tensor *fresh = wrap_floats(elsewhere, 2, 3);
    dlb_event *past = NULL, *pending = NULL;
    CHECK_OK(dlb_stream_record(stream, &past));
    hold_up(stream, &gate);
    CHECK_OK(dlb_copy_async(source, destination, stream, &pending));
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        alarm(60);
        end_child(look_around(stream, pending, past, source, destination, fresh));
    }
    child_ends_well(child);
    sem_post(&gate.open);
    CHECK_OK(dlb_event_wait(pending, DLB_WAIT_FOREVER)); /* the parent goes on as ever */
    CHECK_EQUAL(floats(destination)[5], 6);
    dlb_event_release(past);
    dlb_event_release(pending);
    dlb_tensor_release(source);
    dlb_tensor_release(destination);
    dlb_tensor_release(fresh);
    dlb_stream_release(stream);
}

static atomic_int stop;

static void *copy_on_and_on(void *unused) {
    (void)unused;
    float from[64] = {0}, to[64];
    dlb_stream *stream = new_stream();
    dlb_tensor *source = wrap_floats(from, 8, 8), *destination = wrap_floats(to, 8, 8);
    while (!atomic_load(&stop)) {
        MUST(dlb_copy_async(source, destination, stream, NULL) == DLB_OK);
        floats(destination);
    }
    dlb_stream_release(stream);
    dlb_tensor_release(source);
    dlb_tensor_release(destination);
    return NULL;
}

/* Forks in the midst of everything: whatever the other threads were at, the child's streams work. */
static void forks_while_others_copy(void) {
    pthread_t threads[2];
#ifdef __SANITIZE_ADDRESS__
    int rounds = 0; /* gcc's AddressSanitizer allocates under locks that a child finds taken: it hangs in there itself */
#else
    int rounds = getenv("CHECK_QUICK") ? 5 : 50;
#endif
    atomic_store(&stop, 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        MUST(pthread_create(&threads[i], NULL, copy_on_and_on, NULL) == 0);
    }
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        MUST(child >= 0);
        if (child == 0) {
            alarm(60);
            float from = 7, to = 0;
            dlb_stream *stream = new_stream();
            dlb_tensor *source = wrap_floats(&from, 1, 1), *destination = wrap_floats(&to, 1, 1);
            MUST(dlb_copy_async(source, destination, stream, NULL) == DLB_OK);
            end_child(floats(destination)[0] == 7 ? 0 : 1);
        }
        child_ends_well(child);
    }
    atomic_store(&stop, 1);
    for (size_t i = 0; i < COUNT(threads); i++) {
        join(threads[i]);
    }
    usleep(100000); /* the last test: valgrind finds the streams' threads at their end */
}

/* Copies are in flight when a program ends, and it ends as if they were not. */
static void a_program_may_end_meanwhile(void) {
    static float from[MANY], to[MANY];
    if (getenv("CHECK_QUICK") != NULL) {
        return; /* valgrind takes a thread that still runs for a leak */
    }
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        dlb_stream *stream = new_stream();
        dlb_tensor *source = wrap_floats(from, MANY, 1), *destination = wrap_floats(to, MANY, 1);
        for (int i = 0; i < 50; i++) {
            MUST(dlb_copy_async(source, destination, stream, NULL) == DLB_OK);
        }
        exit(0);
    }
    int ended = -1;
    MUST(waitpid(child, &ended, 0) == child);
    CHECK_EQUAL(ended, 0);
}

RUN_TESTS(TEST(a_program_may_end_meanwhile), TEST(a_copy_goes_on_and_access_waits_for_it), TEST(every_way_to_the_elements_waits),
          TEST(writing_the_source_waits_and_reading_it_does_not), TEST(streams_wait_for_events_and_for_memory),
          TEST(a_released_stream_finishes_and_keeps_nothing), TEST(what_cannot_be_copied_is_refused),
          TEST(the_cpu_is_listed), TEST(a_child_of_a_fork_hangs_on_nothing), TEST(forks_while_others_copy))
