/* What the tests need from native code: deleters that count, and moments that Python code cannot reach. */
#include "dlbridge/dlpack_abi.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* The part of CPython's API used here; the running interpreter has it. */
extern void *PyExc_ValueError;
void PyErr_SetString(void *kind, const char *words);
int PyErr_ExceptionMatches(void *kind);
void PyErr_Clear(void);
void Py_DecRef(void *object);

static int deletions;

/* A deleter that counts and frees nothing. */
void count_deletion(void *managed) {
  (void)managed;
  __atomic_add_fetch(&deletions, 1, __ATOMIC_RELAXED);
}

int deletions_so_far(void) { return __atomic_load_n(&deletions, __ATOMIC_RELAXED); }

static void *delete_it(void *managed) {
  DLManagedTensorVersioned *tensor = managed;
  tensor->deleter(tensor);
  return NULL;
}

/* Calls the deleter on a thread that Python has never seen. */
int delete_on_plain_thread(DLManagedTensorVersioned *managed) {
  pthread_t thread;
  int failed = pthread_create(&thread, NULL, delete_it, managed);
  return failed ? failed : pthread_join(thread, NULL);
}

/* Drops the last reference to `object` while an exception is on its way. Returns whether that is still set. */
int exception_survives_drop(void *object) {
  PyErr_SetString(PyExc_ValueError, "on its way");
  Py_DecRef(object);
  int survives = PyErr_ExceptionMatches(PyExc_ValueError);
  PyErr_Clear();
  return survives;
}

static DLManagedTensorVersioned *last;

static void delete_last(void) {
  last->deleter(last);
  static const char words[] = "deleted after the interpreter\n";
  if (write(1, words, sizeof words - 1) < 0) abort();
}

/* Calls the deleter when the process exits, after the interpreter has finalised. */
int delete_at_exit(DLManagedTensorVersioned *managed) {
  last = managed;
  return atexit(delete_last);
}
