/* The stand-in's devices and contexts, its counters, and how it fails. */
#define _GNU_SOURCE
#include "standin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static const char *const names[] = {
#define NAME(name) #name,
    SITES(NAME)};

static long calls[SITE_COUNT];
static struct {
    int site;
    long left;
    CUresult code;
    bool lost;
} plan = {-1, 0, SUCCESS, false};
static bool held[SITE_COUNT]; /* calls of these do not go on */
static const char *failed; /* the function that was to fail and did */
static int violations, devices = -1;

typedef struct context {
    int device, retained;
} context;
static context contexts[MOST_DEVICES];
static __thread context *stack[32];
static __thread int depth;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text != NULL && *text != 0 ? atol(text) : otherwise;
}

CUresult enter(int site) {
    /* Nothing of the driver may be called in the child of a fork; and its lock may be held for ever there. */
    static pid_t owner;
    if (owner == 0) owner = getpid();
    if (owner != getpid()) {
        fprintf(stderr, "stand-in driver: %s was called in the child of a fork\n", names[site]);
        _exit(9);
    }
    pthread_mutex_lock(&lock);
    calls[site]++;
    while (held[site]) pthread_cond_wait(&changed, &lock);
    if (plan.site == site && --plan.left == 0) {
        plan.site = -1;
        failed = names[site];
        CUresult code = plan.code;
        if (plan.lost) lose(code);
        return code;
    }
    /* A context that is lost answers everything like that, but can be pushed and popped; a thread's mode is no business of
     * its. */
    bool is_the_threads = site == SITE_cuCtxPushCurrent || site == SITE_cuCtxPopCurrent;
    return is_the_threads || site == SITE_cuThreadExchangeStreamCaptureMode ? SUCCESS : lost;
}

CUresult leave(CUresult result) {
    pthread_mutex_unlock(&lock);
    return result;
}

int current_device(void) { return depth > 0 ? stack[depth - 1]->device : -1; }

void *current_context(void) { return depth > 0 ? stack[depth - 1] : NULL; }

void violation(const char *what, uintptr_t address, size_t bytes) {
    fprintf(stderr, "stand-in driver: %s (%#lx, %zu bytes)\n", what, (unsigned long)address, bytes);
    violations++;
}

unsigned dice(void) {
    static unsigned seed = 1;
    return (unsigned)rand_r(&seed);
}

/* --- control --- */

static int site_of(const char *function) {
    for (int site = 0; site < SITE_COUNT; site++) {
        if (strcmp(names[site], function) == 0) return site;
    }
    return -1;
}

void standin_hold(const char *function, int on) {
    pthread_mutex_lock(&lock);
    int site = site_of(function);
    if (site >= 0) held[site] = on != 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void standin_fail(const char *function, long nth, int code, int is_lost) {
    pthread_mutex_lock(&lock);
    plan.site = site_of(function);
    plan.left = nth;
    plan.code = code;
    plan.lost = is_lost != 0;
    failed = NULL;
    pthread_mutex_unlock(&lock);
}

const char *standin_failed(void) {
    pthread_mutex_lock(&lock);
    const char *name = failed;
    pthread_mutex_unlock(&lock);
    return name;
}

void standin_reset(void) {
    pthread_mutex_lock(&lock);
    plan.site = -1;
    ignore_waits = 0;
    find_again();
    reclaim();
    pthread_mutex_unlock(&lock);
    standin_fail_late(0, SUCCESS);
}

void standin_ignore_waits(long which) {
    pthread_mutex_lock(&lock);
    ignore_waits = which;
    pthread_mutex_unlock(&lock);
}

void standin_set_delay(unsigned microseconds) {
    pthread_mutex_lock(&lock);
    delay = microseconds;
    pthread_mutex_unlock(&lock);
}

long standin_calls(const char *function) {
    long count = 0;
    pthread_mutex_lock(&lock);
    for (int site = 0; site < SITE_COUNT; site++) {
        if (function == NULL || strcmp(names[site], function) == 0) count += calls[site];
    }
    pthread_mutex_unlock(&lock);
    return count;
}

long standin_live(const char *what) {
    pthread_mutex_lock(&lock);
    long count = live_memory(what) + live_streams(what);
    if (strcmp(what, "contexts pushed here") == 0) count = depth;
    pthread_mutex_unlock(&lock);
    return count;
}

long standin_violations(void) {
    pthread_mutex_lock(&lock);
    long count = violations;
    pthread_mutex_unlock(&lock);
    return count;
}

/* --- the driver --- */

EXPORT CUresult cuInit(unsigned flags) {
    ENTER(cuInit);
    CUresult refused = (CUresult)setting("STANDIN_INIT", SUCCESS);
    if (flags != 0) return leave(INVALID_VALUE);
    if (refused != SUCCESS) return leave(refused);
    if (devices < 0) {
        devices = (int)setting("STANDIN_DEVICES", 2);
        if (devices > MOST_DEVICES) devices = MOST_DEVICES;
        delay = (unsigned)setting("STANDIN_DELAY", 200);
        open_memory(devices, (size_t)setting("STANDIN_MEMORY", 64L << 20));
    }
    return leave(devices == 0 ? NO_DEVICE : SUCCESS);
}

EXPORT CUresult cuDriverGetVersion(int *version) {
    ENTER(cuDriverGetVersion);
    *version = (int)setting("STANDIN_VERSION", 12040);
    return leave(SUCCESS);
}

static const struct {
    CUresult code;
    const char *name, *words;
} errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "part or all of the memory is registered"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error"},
    {CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work"},
    {CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "dependency on a capture through the default stream"},
    {CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on a captured event"},
    {NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "the memory is not registered"},
};

EXPORT CUresult cuGetErrorName(CUresult code, const char **text) {
    *text = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].code == code) *text = errors[i].name;
    }
    return *text != NULL ? SUCCESS : INVALID_VALUE;
}

EXPORT CUresult cuGetErrorString(CUresult code, const char **text) {
    *text = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].code == code) *text = errors[i].words;
    }
    return *text != NULL ? SUCCESS : INVALID_VALUE;
}

EXPORT CUresult cuDeviceGetCount(int *count) {
    ENTER(cuDeviceGetCount);
    *count = devices;
    return leave(SUCCESS);
}

EXPORT CUresult cuDeviceGet(int *device, int ordinal) {
    ENTER(cuDeviceGet);
    if (ordinal < 0 || ordinal >= devices) return leave(INVALID_DEVICE);
    *device = ordinal;
    return leave(SUCCESS);
}

EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    ENTER(cuDeviceGetAttribute);
    (void)device;
    *value = attribute == 11 ? INT32_MAX : 0; /* the longest step between rows */
    return leave(SUCCESS);
}

EXPORT CUresult cuDevicePrimaryCtxRetain(void **result, int device) {
    ENTER(cuDevicePrimaryCtxRetain);
    if (device < 0 || device >= devices) return leave(INVALID_DEVICE);
    told = contexts[device].retained == 0 ? unsafe_call() : SUCCESS; /* to make it */
    if (told != SUCCESS) return leave(told);
    contexts[device].device = device;
    contexts[device].retained++;
    *result = &contexts[device];
    return leave(SUCCESS);
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    CUresult told = enter(SITE_cuDevicePrimaryCtxRelease);
    contexts[device].retained--;
    return leave(told);
}

EXPORT CUresult cuCtxPushCurrent_v2(void *pushed) {
    ENTER(cuCtxPushCurrent);
    if (pushed == NULL || depth == 32) return leave(INVALID_CONTEXT);
    stack[depth++] = pushed;
    return leave(SUCCESS);
}

EXPORT CUresult cuCtxPopCurrent_v2(void **popped) {
    ENTER(cuCtxPopCurrent);
    NEED_CONTEXT;
    *popped = stack[--depth];
    return leave(SUCCESS);
}

/* A context beside the primary one, which is not current afterwards as it is with the driver. */
EXPORT CUresult cuCtxCreate_v2(void **result, unsigned flags, int device) {
    ENTER_UNSAFE(cuCtxCreate);
    if (flags != 0 || device < 0 || device >= devices) return leave(INVALID_VALUE);
    context *made = calloc(1, sizeof *made);
    made->device = device;
    *result = made;
    return leave(SUCCESS);
}

EXPORT CUresult cuCtxDestroy_v2(void *gone) {
    ENTER_TO_FREE(cuCtxDestroy);
    free(gone);
    return leave(told);
}

EXPORT CUresult cuCtxGetDevice(int *device) {
    ENTER(cuCtxGetDevice);
    NEED_CONTEXT;
    *device = current_device();
    return leave(SUCCESS);
}
