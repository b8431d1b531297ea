/* A stand-in for the CUDA driver, over host memory, for tests: it does what the driver promises and not a bit more. Its
 * streams are late and out of step on purpose; its devices' memory cannot be touched through its addresses; it remembers
 * what it gave, notices what is freed too early, and fails when it is told to. */
#ifndef STANDIN_H
#define STANDIN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int CUresult;

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_READY = 600,
    ALREADY_REGISTERED = 712,
    NOT_REGISTERED = 713,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNJOINED = 904,
    CAPTURE_ISOLATION = 905,
    CAPTURE_IMPLICIT = 906,
    CAPTURED_EVENT = 907,
    CAPTURE_WRONG_THREAD = 908,
};

enum { MOST_DEVICES = 8 };

/* Every entry point, other programs' control functions included, is to be seen from outside. */
#define EXPORT __attribute__((visibility("default")))

/* What tests ask and set. */
/* The nth call of a function from now on fails; where the device is lost, every one after it as well. */
EXPORT void standin_fail(const char *function, long nth, int code, int lost);
EXPORT void standin_fail_late(long nth, int code);
/* Whether calls of a function do not go on from now on. */
EXPORT void standin_hold(const char *function, int on);
EXPORT void standin_reset(void);
/* Streams do not wait for events: 1 for all of them, 0 for none, -n for the nth wait from now on alone. */
EXPORT void standin_ignore_waits(long which);
/* The next stream has the handle of this one, which is destroyed, as may happen. */
EXPORT void standin_use_again(void *handle);
EXPORT void standin_set_delay(unsigned microseconds);
EXPORT long standin_calls(const char *function);
EXPORT long standin_live(const char *what);
EXPORT long standin_violations(void);
/* The function that was to fail and did, or NULL. */
EXPORT const char *standin_failed(void);

/* One lock and one condition for everything: this is a test. */
extern pthread_mutex_t lock;
extern pthread_cond_t changed;

/* Counts a call with the lock taken; what it has to answer instead of doing its work. */
CUresult enter(int site);
CUresult leave(CUresult result);
/* The device whose context is current, or -1; the context, or NULL. */
int current_device(void);
void *current_context(void);
void violation(const char *what, uintptr_t address, size_t bytes);
unsigned dice(void);

/* memory.c; the lock is held. */
enum { UNKNOWN_MEMORY = 0, HOST_MEMORY = 1, DEVICE_MEMORY = 2 };
int kind_of(uintptr_t address, int *device, uintptr_t *start, size_t *room);
bool is_memory(uintptr_t address, size_t bytes, int kind);
/* Where the bytes of an address are that the host can touch. */
void *behind(uintptr_t address);
void open_memory(int devices, size_t bytes);
long live_memory(const char *what);
/* Takes back what could not be given back while the device was lost. */
void reclaim(void);

/* capture.c; the lock is held. */
/* What a call has to answer that spoils a capture which is going on, unless the thread has said that it knows. */
CUresult unsafe_call(void);

/* stream.c; the lock is held. */
void lose(CUresult code);
void find_again(void);
long live_streams(const char *what);
extern CUresult lost;
extern long ignore_waits;
extern unsigned delay;

/* Names of functions, in the order of their numbers. */
#define SITES(X)                                                                                                     \
    X(cuInit) X(cuDriverGetVersion) X(cuDeviceGetCount) X(cuDeviceGet) X(cuDeviceGetAttribute)                          \
    X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease) X(cuCtxPushCurrent) X(cuCtxPopCurrent)                     \
    X(cuCtxCreate) X(cuCtxDestroy) X(cuCtxGetDevice)                                                                    \
    X(cuCtxSynchronize) X(cuThreadExchangeStreamCaptureMode) X(cuStreamCreate) X(cuStreamDestroy)                       \
    X(cuStreamBeginCapture) X(cuStreamEndCapture) X(cuStreamIsCapturing) X(cuStreamGetCtx)                              \
    X(cuStreamGetFlags) X(cuStreamSynchronize) X(cuStreamWaitEvent) X(cuLaunchHostFunc)                                 \
    X(cuEventCreate) X(cuEventDestroy) X(cuEventRecord) X(cuEventQuery) X(cuEventSynchronize) X(cuMemAlloc)             \
    X(cuMemFree) X(cuMemHostAlloc) X(cuMemFreeHost) X(cuMemHostRegister) X(cuMemHostUnregister)                         \
    X(cuPointerGetAttribute) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync) X(cuMemcpyDtoDAsync) X(cuMemcpyPeerAsync)        \
    X(cuMemcpy2DAsync) X(cuMemsetD8Async)

#define NUMBER(name) SITE_##name,
enum { SITES(NUMBER) SITE_COUNT };

/* Begins an entry point: counts it, and answers at once where it is to fail. */
#define ENTER(name)                                                                                                  \
    CUresult told = enter(SITE_##name);                                                                                \
    if (told != SUCCESS) return leave(told)
/* The same for what spoils a capture. */
#define ENTER_UNSAFE(name)                                                                                           \
    ENTER(name);                                                                                                       \
    told = unsafe_call();                                                                                              \
    if (told != SUCCESS) return leave(told)
/* The same for functions that free: like the driver's they do their work and report what failed before. They
 * spoil a capture as well. */
#define ENTER_TO_FREE(name)                                                                                          \
    CUresult told = enter(SITE_##name), forbidden = unsafe_call();                                                     \
    if (forbidden != SUCCESS) return leave(forbidden)
/* Most need a context. */
#define NEED_CONTEXT                                                                                                 \
    if (current_device() < 0) return leave(INVALID_CONTEXT)

#endif
