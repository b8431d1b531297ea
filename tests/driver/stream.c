/* The stand-in's streams: a thread each, which works off what is queued after a while of its own choosing. */
#define _GNU_SOURCE
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CUresult lost = SUCCESS;
long ignore_waits;
unsigned delay = 200;

/* How many streams are in the middle of a copy. */
static int copying;

stream *streams, *legacy[MOST_DEVICES];
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

static void *used_again;

void standin_use_again(void *handle) {
    pthread_mutex_lock(&lock);
    used_again = handle;
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

void finish(stream *on) {
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
    made->handle = used_again != NULL ? used_again : made;
    used_again = NULL;
    made->device = device;
    made->context = current_context();
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

stream *stream_of(void *handle) {
    int device = current_device();
    stream **place = (uintptr_t)handle == 2 ? per_thread : legacy;
    if ((uintptr_t)handle <= 2) {
        if (place[device] == NULL) place[device] = open_stream(device, false, false);
        return place[device];
    }
    for (stream *each = streams; each != NULL; each = each->next) {
        if (each->handle == handle && each->live) return each;
        if (each->handle == handle) uses_of_gone_streams++;
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
CUresult queue(stream *on, op what) {
    bool taken = false;
    CUresult refused = captured(on, &what, &taken);
    if (refused != SUCCESS || taken) {
        free(what.rows.snapshot);
        return refused;
    }
    for (stream *each = streams; !on->apart && each != NULL; each = each->next) {
        bool is_default = on == legacy[on->device] || each == legacy[on->device];
        if (each == on || each->apart || each->device != on->device || !is_default) continue;
        if (each->completed < each->queued) push(on, (op){.kind = AFTER, .other = each, .number = each->queued});
    }
    push(on, what);
    return SUCCESS;
}

EXPORT CUresult cuStreamCreate(void **result, unsigned flags) {
    ENTER_UNSAFE(cuStreamCreate);
    NEED_CONTEXT;
    if (flags > 1) return leave(INVALID_VALUE);
    *result = open_stream(current_device(), true, flags == 1)->handle;
    return leave(SUCCESS);
}

EXPORT CUresult cuStreamGetFlags(void *handle, unsigned *flags) {
    ENTER_UNSAFE(cuStreamGetFlags);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL) return leave(INVALID_HANDLE);
    *flags = on->apart;
    return leave(SUCCESS);
}

EXPORT CUresult cuStreamGetCtx(void *handle, void **context) {
    ENTER_UNSAFE(cuStreamGetCtx);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL) return leave(INVALID_HANDLE);
    *context = (uintptr_t)handle <= 2 ? current_context() : on->context;
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
    ENTER_UNSAFE(cuStreamSynchronize);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL) return leave(INVALID_HANDLE);
    CUresult refused = can_wait(on);
    if (refused != SUCCESS) return leave(refused);
    finish(on);
    return leave(lost);
}

EXPORT CUresult cuCtxSynchronize(void) {
    ENTER_UNSAFE(cuCtxSynchronize);
    NEED_CONTEXT;
    int device = current_device();
    CUresult refused = can_wait_for_all(device);
    if (refused != SUCCESS) return leave(refused);
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
    return leave(queue(on, (op){.kind = CALL, .call = call, .argument = argument}));
}

/* --- events --- */

event *event_of(void *handle) {
    for (event *each = events; each != NULL; each = each->next) {
        if (each == handle && each->live) return each;
    }
    return NULL;
}

EXPORT CUresult cuEventCreate(void **result, unsigned flags) {
    ENTER_UNSAFE(cuEventCreate);
    NEED_CONTEXT;
    (void)flags;
    event *made = calloc(1, sizeof *made);
    made->live = true;
    made->context = current_context();
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
    if (recorded == NULL || on == NULL || recorded->context != on->context) return leave(INVALID_HANDLE);
    CUresult queued = queue(on, (op){.kind = RECORD, .event = recorded, .number = recorded->recorded + 1});
    if (queued == SUCCESS) recorded->captured = on->capture;
    if (queued == SUCCESS && on->capture == NULL) recorded->recorded++;
    return leave(queued);
}

EXPORT CUresult cuStreamWaitEvent(void *on_handle, void *handle, unsigned flags) {
    ENTER(cuStreamWaitEvent);
    NEED_CONTEXT;
    (void)flags;
    event *awaited = event_of(handle);
    stream *on = stream_of(on_handle);
    if (awaited == NULL || on == NULL) return leave(INVALID_HANDLE);
    bool ignored = ignore_waits == 1 || (ignore_waits < 0 && ++ignore_waits == 0);
    if (ignored) return leave(SUCCESS);
    return leave(queue(on, (op){.kind = WAIT, .event = awaited, .number = awaited->recorded}));
}

EXPORT CUresult cuEventQuery(void *handle) {
    ENTER_UNSAFE(cuEventQuery); /* by any thread, whatever is current there */
    event *asked = event_of(handle);
    if (asked == NULL) return leave(INVALID_HANDLE);
    CUresult refused = can_ask(asked);
    if (refused != SUCCESS) return leave(refused);
    return leave(asked->done < asked->recorded ? NOT_READY : lost);
}

EXPORT CUresult cuEventSynchronize(void *handle) {
    ENTER_UNSAFE(cuEventSynchronize);
    NEED_CONTEXT;
    event *awaited = event_of(handle);
    if (awaited == NULL) return leave(INVALID_HANDLE);
    CUresult refused = can_ask(awaited);
    if (refused != SUCCESS) return leave(refused);
    uint64_t until = awaited->recorded;
    while (awaited->done < until) pthread_cond_wait(&changed, &lock);
    return leave(lost);
}
