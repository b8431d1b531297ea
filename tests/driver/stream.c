/* The stand-in's streams: a thread each, which works off what is queued after a while of its own choosing. */
#define _GNU_SOURCE
#include "standin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CUresult lost = SUCCESS;
long ignore_waits;
unsigned delay = 200;

typedef struct event {
    uint64_t recorded, done;
    bool live;
    struct event *next;
} event;

typedef struct rows {
    uintptr_t from, to;
    size_t from_pitch, to_pitch, width, height;
    int from_kind, to_kind;
    void *snapshot; /* of a source that is not pinned: the driver has read it when the call returns */
} rows;

typedef struct op {
    enum { COPY, WAIT, AFTER, RECORD, CALL } kind;
    rows rows;
    event *event;
    struct stream *other; /* whose work up to `number` comes first */
    uint64_t number;
    void (*call)(void *);
    void *argument;
    struct op *next;
} op;

typedef struct stream {
    op *first, **last;
    uint64_t queued, completed;
    int device;
    bool live, own;
    bool apart; /* it does not wait for the default stream, nor that for it */
    pthread_cond_t work;
    struct stream *next;
} stream;

/* How many streams are in the middle of a copy. */
static int copying;

static stream *streams, *legacy[MOST_DEVICES];
static long uses_of_gone_streams;
static __thread stream *per_thread[MOST_DEVICES];
static event *events;
static long late_left;
static CUresult late_code;

void standin_fail_late(long nth, int code) {
    pthread_mutex_lock(&lock);
    late_left = nth;
    late_code = code;
    pthread_mutex_unlock(&lock);
}

long live_streams(const char *what) {
    long found = 0;
    if (strcmp(what, "streams") == 0) {
        for (stream *each = streams; each != NULL; each = each->next) found += each->live && each->own;
    }
    if (strcmp(what, "uses of streams that are gone") == 0) found = uses_of_gone_streams;
    if (strcmp(what, "events") == 0) {
        for (event *each = events; each != NULL; each = each->next) found += each->live;
    }
    return found;
}

static void finish(stream *on) {
    uint64_t until = on->queued;
    while (on->completed < until) pthread_cond_wait(&changed, &lock);
}

/* The context is lost: what is queued is not carried out any more, on whatever stream. */
void lose(CUresult code) {
    lost = code;
    while (copying > 0) pthread_cond_wait(&changed, &lock);
}

/* A new beginning, once the streams are past what they have not carried out. */
void find_again(void) {
    for (stream *each = streams; lost != SUCCESS && each != NULL; each = each->next) finish(each);
    lost = SUCCESS;
}

/* --- what a thread does --- */

static void check(uintptr_t address, const rows *rows, size_t pitch, int kind) {
    size_t bytes = pitch * (rows->height - 1) + rows->width;
    if (kind != UNKNOWN_MEMORY && !is_memory(address, bytes, kind)) {
        violation("memory was given back while a copy was under way", address, bytes);
    }
}

static void copy(const rows *rows) {
    pthread_mutex_lock(&lock);
    const char *from = rows->snapshot != NULL ? rows->snapshot : behind(rows->from);
    char *to = behind(rows->to);
    if (rows->snapshot == NULL) check(rows->from, rows, rows->from_pitch, rows->from_kind);
    check(rows->to, rows, rows->to_pitch, rows->to_kind);
    pthread_mutex_unlock(&lock);
    size_t from_pitch = rows->snapshot != NULL ? rows->width : rows->from_pitch;
    for (size_t row = 0; row < rows->height; row++) {
        memcpy(to + row * rows->to_pitch, from + row * from_pitch, rows->width);
    }
}

static void *serve(void *argument) {
    stream *self = argument;
    pthread_mutex_lock(&lock);
    for (;;) {
        op *next = self->first;
        if (next == NULL) {
            if (!self->live) break;
            pthread_cond_wait(&self->work, &lock);
            continue;
        }
        unsigned pause = delay == 0 || dice() % 4 != 0 ? 0 : dice() % delay * (dice() % 16 == 0 ? 10 : 1);
        if (late_left > 0 && next->kind == COPY && --late_left == 0) lose(late_code);
        bool carried_out = lost == SUCCESS;
        if (next->kind == WAIT) {
            while (carried_out && next->event->done < next->number) pthread_cond_wait(&changed, &lock);
        } else if (next->kind == AFTER) {
            while (next->other->completed < next->number) pthread_cond_wait(&changed, &lock);
        } else {
            pthread_mutex_unlock(&lock);
            if (pause != 0) usleep(pause);
            pthread_mutex_lock(&lock);
            carried_out = lost == SUCCESS;
            copying += carried_out;
            pthread_mutex_unlock(&lock);
            if (next->kind == COPY && carried_out) copy(&next->rows);
            if (next->kind == CALL && carried_out) next->call(next->argument);
            pthread_mutex_lock(&lock);
            copying -= carried_out;
            if (copying == 0 && lost != SUCCESS) pthread_cond_broadcast(&changed);
        }
        if (next->kind == RECORD && next->event->done < next->number) next->event->done = next->number;
        self->first = next->next;
        if (self->first == NULL) self->last = &self->first;
        self->completed++;
        if (next->kind == RECORD || self->first == NULL || !self->apart) pthread_cond_broadcast(&changed);
        free(next->rows.snapshot);
        free(next);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* --- streams --- */

static stream *open_stream(int device, bool own, bool apart) {
    stream *made = calloc(1, sizeof *made);
    made->last = &made->first;
    made->device = device;
    made->live = true;
    made->own = own;
    made->apart = apart;
    pthread_cond_init(&made->work, NULL);
    made->next = streams;
    streams = made;
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, made) != 0) abort();
    pthread_detach(thread);
    return made;
}

/* The stream of a handle, the default ones of the current context included, or NULL. */
static stream *stream_of(void *handle) {
    int device = current_device();
    stream **place = (uintptr_t)handle == 2 ? per_thread : legacy;
    if ((uintptr_t)handle <= 2) {
        if (place[device] == NULL) place[device] = open_stream(device, false, false);
        return place[device];
    }
    for (stream *each = streams; each != NULL; each = each->next) {
        if (each == handle && each->live) return each;
        if (each == handle) uses_of_gone_streams++;
    }
    return NULL;
}

static void push(stream *on, op what) {
    op *entry = malloc(sizeof *entry);
    *entry = what;
    entry->next = NULL;
    *on->last = entry;
    on->last = &entry->next;
    on->queued++;
    pthread_cond_signal(&on->work);
}

/* What is queued on the default stream comes after all streams but those that stand apart, and they after it. */
static void queue(stream *on, op what) {
    for (stream *each = streams; !on->apart && each != NULL; each = each->next) {
        bool is_default = on == legacy[on->device] || each == legacy[on->device];
        if (each == on || each->apart || each->device != on->device || !is_default) continue;
        if (each->completed < each->queued) push(on, (op){.kind = AFTER, .other = each, .number = each->queued});
    }
    push(on, what);
}

EXPORT CUresult cuStreamCreate(void **result, unsigned flags) {
    ENTER(cuStreamCreate);
    NEED_CONTEXT;
    if (flags > 1) return leave(INVALID_VALUE);
    *result = open_stream(current_device(), true, flags == 1);
    return leave(SUCCESS);
}

EXPORT CUresult cuStreamGetFlags(void *handle, unsigned *flags) {
    ENTER(cuStreamGetFlags);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL) return leave(INVALID_HANDLE);
    *flags = on->apart;
    return leave(SUCCESS);
}

EXPORT CUresult cuStreamDestroy_v2(void *handle) {
    ENTER_TO_FREE(cuStreamDestroy);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL || !on->own) {
        violation("destroyed what is no stream", (uintptr_t)handle, 0);
        return leave(INVALID_HANDLE);
    }
    on->live = false;
    pthread_cond_signal(&on->work);
    return leave(told);
}

EXPORT CUresult cuStreamSynchronize(void *handle) {
    ENTER(cuStreamSynchronize);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL) return leave(INVALID_HANDLE);
    finish(on);
    return leave(lost);
}

/* Nothing is captured here. */
EXPORT CUresult cuThreadExchangeStreamCaptureMode(unsigned *mode) {
    ENTER(cuThreadExchangeStreamCaptureMode);
    *mode = 0;
    return leave(SUCCESS);
}

EXPORT CUresult cuCtxSynchronize(void) {
    ENTER(cuCtxSynchronize);
    NEED_CONTEXT;
    int device = current_device();
    for (stream *each = streams; each != NULL; each = each->next) {
        if (each->device == device) finish(each);
    }
    return leave(lost);
}

EXPORT CUresult cuLaunchHostFunc(void *handle, void (*call)(void *), void *argument) {
    ENTER(cuLaunchHostFunc);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL) return leave(INVALID_HANDLE);
    queue(on, (op){.kind = CALL, .call = call, .argument = argument});
    return leave(SUCCESS);
}

/* --- events --- */

static event *event_of(void *handle) {
    for (event *each = events; each != NULL; each = each->next) {
        if (each == handle && each->live) return each;
    }
    return NULL;
}

EXPORT CUresult cuEventCreate(void **result, unsigned flags) {
    ENTER(cuEventCreate);
    NEED_CONTEXT;
    (void)flags;
    event *made = calloc(1, sizeof *made);
    made->live = true;
    made->next = events;
    events = made;
    *result = made;
    return leave(SUCCESS);
}

EXPORT CUresult cuEventDestroy_v2(void *handle) {
    ENTER_TO_FREE(cuEventDestroy);
    NEED_CONTEXT;
    event *gone = event_of(handle);
    if (gone == NULL) {
        violation("destroyed what is no event", (uintptr_t)handle, 0);
        return leave(INVALID_HANDLE);
    }
    gone->live = false; /* streams may still be waiting for it */
    return leave(told);
}

EXPORT CUresult cuEventRecord(void *handle, void *on_handle) {
    ENTER(cuEventRecord);
    NEED_CONTEXT;
    event *recorded = event_of(handle);
    stream *on = stream_of(on_handle);
    if (recorded == NULL || on == NULL) return leave(INVALID_HANDLE);
    queue(on, (op){.kind = RECORD, .event = recorded, .number = ++recorded->recorded});
    return leave(SUCCESS);
}

EXPORT CUresult cuStreamWaitEvent(void *on_handle, void *handle, unsigned flags) {
    ENTER(cuStreamWaitEvent);
    NEED_CONTEXT;
    (void)flags;
    event *awaited = event_of(handle);
    stream *on = stream_of(on_handle);
    if (awaited == NULL || on == NULL) return leave(INVALID_HANDLE);
    bool ignored = ignore_waits == 1 || (ignore_waits < 0 && ++ignore_waits == 0);
    if (!ignored) queue(on, (op){.kind = WAIT, .event = awaited, .number = awaited->recorded});
    return leave(SUCCESS);
}

EXPORT CUresult cuEventQuery(void *handle) {
    ENTER(cuEventQuery); /* by any thread, whatever is current there */
    event *asked = event_of(handle);
    if (asked == NULL) return leave(INVALID_HANDLE);
    return leave(asked->done < asked->recorded ? NOT_READY : lost);
}

EXPORT CUresult cuEventSynchronize(void *handle) {
    ENTER(cuEventSynchronize);
    NEED_CONTEXT;
    event *awaited = event_of(handle);
    if (awaited == NULL) return leave(INVALID_HANDLE);
    uint64_t until = awaited->recorded;
    while (awaited->done < until) pthread_cond_wait(&changed, &lock);
    return leave(lost);
}

/* --- copies --- */

/* Queues a copy. As with the driver, memory of the host that is not pinned is dealt with before the call returns. */
static CUresult queue_copy(void *handle, rows rows) {
    stream *on = stream_of(handle);
    if (on == NULL) return INVALID_HANDLE;
    if (rows.width == 0 || rows.height == 0) return SUCCESS;
    if (rows.height > 1 && (rows.width > rows.from_pitch || rows.width > rows.to_pitch)) return INVALID_VALUE;
    size_t from_bytes = rows.from_pitch * (rows.height - 1) + rows.width;
    size_t to_bytes = rows.to_pitch * (rows.height - 1) + rows.width;
    if (rows.from_kind == DEVICE_MEMORY && !is_memory(rows.from, from_bytes, DEVICE_MEMORY)) return INVALID_VALUE;
    if (rows.to_kind == DEVICE_MEMORY && !is_memory(rows.to, to_bytes, DEVICE_MEMORY)) return INVALID_VALUE;
    if (rows.from_kind == HOST_MEMORY && !is_memory(rows.from, from_bytes, HOST_MEMORY)) {
        rows.from_kind = UNKNOWN_MEMORY;
        rows.snapshot = malloc(rows.width * rows.height);
        for (size_t row = 0; row < rows.height; row++) {
            memcpy((char *)rows.snapshot + row * rows.width, (char *)rows.from + row * rows.from_pitch, rows.width);
        }
    }
    bool pageable = rows.to_kind == HOST_MEMORY && !is_memory(rows.to, to_bytes, HOST_MEMORY);
    if (pageable) rows.to_kind = UNKNOWN_MEMORY;
    queue(on, (op){.kind = COPY, .rows = rows});
    if (pageable) finish(on);
    return SUCCESS;
}

static rows row(uintptr_t to, int to_kind, uintptr_t from, int from_kind, size_t bytes) {
    return (rows){from, to, bytes, bytes, bytes, 1, from_kind, to_kind, NULL};
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *on) {
    ENTER(cuMemcpyHtoDAsync);
    NEED_CONTEXT;
    return leave(queue_copy(on, row(to, DEVICE_MEMORY, (uintptr_t)from, HOST_MEMORY, bytes)));
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *on) {
    ENTER(cuMemcpyDtoHAsync);
    NEED_CONTEXT;
    return leave(queue_copy(on, row((uintptr_t)to, HOST_MEMORY, from, DEVICE_MEMORY, bytes)));
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *on) {
    ENTER(cuMemcpyDtoDAsync);
    NEED_CONTEXT;
    return leave(queue_copy(on, row(to, DEVICE_MEMORY, from, DEVICE_MEMORY, bytes)));
}

EXPORT CUresult cuMemcpyPeerAsync(uint64_t to, void *to_context, uint64_t from, void *from_context, size_t bytes, void *on) {
    ENTER(cuMemcpyPeerAsync);
    NEED_CONTEXT;
    int device;
    uintptr_t start;
    size_t room;
    /* A context begins with the number of its device. */
    if (kind_of(to, &device, &start, &room) != DEVICE_MEMORY || device != *(int *)to_context) return leave(INVALID_VALUE);
    if (kind_of(from, &device, &start, &room) != DEVICE_MEMORY || device != *(int *)from_context) return leave(INVALID_VALUE);
    return leave(queue_copy(on, row(to, DEVICE_MEMORY, from, DEVICE_MEMORY, bytes)));
}

/* As the driver has it. */
typedef struct description {
    size_t from_x, from_y;
    unsigned from_kind;
    const void *from_host;
    uint64_t from_device;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    unsigned to_kind;
    void *to_host;
    uint64_t to_device;
    void *to_array;
    size_t to_pitch, width, height;
} description;

EXPORT CUresult cuMemcpy2DAsync_v2(const description *given, void *on) {
    ENTER(cuMemcpy2DAsync);
    NEED_CONTEXT;
    bool from_host = given->from_kind == HOST_MEMORY, to_host = given->to_kind == HOST_MEMORY;
    rows rows = {from_host ? (uintptr_t)given->from_host : given->from_device,
                 to_host ? (uintptr_t)given->to_host : given->to_device,
                 given->from_pitch, given->to_pitch, given->width, given->height,
                 (int)given->from_kind, (int)given->to_kind, NULL};
    return leave(queue_copy(on, rows));
}
