/* The stand-in's captures: what is queued on a stream while it is captured becomes part of a graph, and is not done. A
 * graph is the number of its parts here, since nobody replays it. What the driver forbids meanwhile spoils the capture. */
#define _GNU_SOURCE
#include "stream.h"

#include <stdlib.h>

enum { GLOBAL, THREAD_LOCAL, RELAXED };
enum { NONE, ACTIVE, INVALIDATED };

typedef struct capture {
    stream *origin;
    pthread_t thread;
    unsigned mode;
    bool valid, over;
    intptr_t parts;
    struct capture *next;
} capture;

/* All there were: an event may remember one. */
static capture *captures;
static __thread unsigned thread_mode = GLOBAL;

CUresult spoil(capture *gone, CUresult why) {
    if (!gone->over) gone->valid = false;
    return why;
}

CUresult unsafe_call(void) {
    CUresult answer = SUCCESS;
    for (capture *each = captures; each != NULL; each = each->next) {
        bool mine = pthread_equal(each->thread, pthread_self());
        bool concerns = mine ? each->mode != RELAXED : thread_mode == GLOBAL && each->mode == GLOBAL;
        if (!each->over && thread_mode != RELAXED && concerns) answer = spoil(each, CAPTURE_UNSUPPORTED);
    }
    return answer;
}

/* The capture that a default stream cannot be used for: of a stream that waits for it. */
static capture *in_the_way(const stream *on) {
    for (stream *each = streams; on == legacy[on->device] && each != NULL; each = each->next) {
        if (each->capture != NULL && !each->apart && each->device == on->device) return each->capture;
    }
    return NULL;
}

CUresult can_wait(stream *on) {
    capture *other = in_the_way(on);
    if (other != NULL) return spoil(other, CAPTURE_IMPLICIT);
    return on->capture != NULL ? spoil(on->capture, CAPTURE_UNSUPPORTED) : SUCCESS;
}

CUresult can_ask(event *asked) {
    return asked->captured != NULL ? spoil(asked->captured, CAPTURED_EVENT) : SUCCESS;
}

CUresult can_wait_for_all(int device) {
    CUresult answer = SUCCESS;
    for (stream *each = streams; each != NULL; each = each->next) {
        if (each->capture != NULL && each->device == device) answer = spoil(each->capture, CAPTURE_UNSUPPORTED);
    }
    return answer;
}

CUresult captured(stream *on, op *what, bool *taken) {
    capture *other = in_the_way(on);
    if (other != NULL) return spoil(other, CAPTURE_IMPLICIT);
    capture *of_event = what->kind == WAIT ? what->event->captured : NULL;
    /* Whoever waits for what is captured is captured from then on. */
    if (on->capture == NULL && of_event != NULL && !of_event->over) on->capture = of_event;
    if (on->capture == NULL) return SUCCESS;
    if (what->kind == WAIT && of_event != on->capture) return spoil(on->capture, CAPTURE_ISOLATION);
    if (!on->capture->valid) return CAPTURE_INVALIDATED;
    on->capture->parts++;
    *taken = true;
    return SUCCESS;
}

EXPORT CUresult cuThreadExchangeStreamCaptureMode(unsigned *mode) {
    ENTER(cuThreadExchangeStreamCaptureMode);
    if (*mode > RELAXED) return leave(INVALID_VALUE);
    unsigned before = thread_mode;
    thread_mode = *mode;
    *mode = before;
    return leave(SUCCESS);
}

EXPORT CUresult cuStreamBeginCapture_v2(void *handle, unsigned mode) {
    ENTER(cuStreamBeginCapture);
    NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL || on == legacy[on->device] || on->capture != NULL || mode > RELAXED) return leave(INVALID_VALUE);
    capture *made = calloc(1, sizeof *made);
    *made = (capture){.origin = on, .thread = pthread_self(), .mode = mode, .valid = true, .next = captures};
    on->capture = captures = made;
    return leave(SUCCESS);
}

EXPORT CUresult cuStreamEndCapture(void *handle, void **graph) {
    ENTER(cuStreamEndCapture);
    NEED_CONTEXT;
    *graph = NULL;
    stream *on = stream_of(handle);
    capture *gone = on != NULL ? on->capture : NULL;
    if (gone == NULL || gone->origin != on) return leave(INVALID_VALUE);
    if (gone->mode != RELAXED && !pthread_equal(gone->thread, pthread_self())) return leave(CAPTURE_WRONG_THREAD);
    CUresult answer = gone->valid ? SUCCESS : CAPTURE_INVALIDATED;
    for (stream *each = streams; each != NULL; each = each->next) {
        if (each->capture == gone && each != on && answer == SUCCESS) answer = CAPTURE_UNJOINED;
        if (each->capture == gone) each->capture = NULL;
    }
    gone->over = true;
    *graph = (void *)gone->parts;
    return leave(answer);
}

/* Whoever asks this spoils nothing. */
EXPORT CUresult cuStreamIsCapturing(void *handle, int *status) {
    ENTER(cuStreamIsCapturing);
    if ((uintptr_t)handle <= 2) NEED_CONTEXT;
    stream *on = stream_of(handle);
    if (on == NULL) return leave(INVALID_HANDLE);
    if (in_the_way(on) != NULL) return leave(CAPTURE_IMPLICIT);
    *status = on->capture == NULL ? NONE : on->capture->valid ? ACTIVE : INVALIDATED;
    return leave(SUCCESS);
}
