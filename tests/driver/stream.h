/* What the files about streams share. */
#ifndef STREAM_H
#define STREAM_H

#include "standin.h"

typedef struct event {
    uint64_t recorded, done;
    bool live;
    void *context;
    struct capture *captured; /* the capture that it was recorded in last, which may be over */
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
    void *handle;
    int device;
    void *context;
    struct capture *capture; /* what is queued becomes part of a graph instead */
    bool live, own;
    bool apart; /* it does not wait for the default stream, nor that for it */
    pthread_cond_t work;
    struct stream *next;
} stream;

/* The stream of a handle, the default ones of the current context included, or NULL. */
stream *stream_of(void *handle);
/* Queues what a stream is to do, or has it captured. */
CUresult queue(stream *on, op what);
void finish(stream *on);
event *event_of(void *handle);
extern stream *streams, *legacy[MOST_DEVICES];

/* capture.c */
/* Whether a stream can be asked or waited for: not while it is captured, or waits for one that is. */
CUresult can_wait(stream *on);
/* What becomes of something that is queued on a stream: SUCCESS, with `taken` where it is part of a graph by now. */
CUresult captured(stream *on, op *what, bool *taken);
/* A capture is not what it was to be. */
CUresult spoil(struct capture *gone, CUresult why);
/* Whether an event was recorded in a capture, which is not to be asked about. */
CUresult can_ask(event *asked);
/* Whether any stream of a device is captured, whose whole context is waited for. */
CUresult can_wait_for_all(int device);

#endif
