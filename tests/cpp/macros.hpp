/* Macros that headers of others define, in front of ours. The C++ library comes first: it undefines some, and may not be
 * able to do with the rest. */
#include <array>
#include <chrono>
#include <complex>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#if __cplusplus >= 202002L
#include <algorithm>
#include <span>
#include <version>
#endif

/* Windows'. */
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define small char
#define near
#define far
#define interface struct
#define ERROR 0

/* Qt's. */
#define slots
#define signals public
#define emit
#define foreach(each, all) for (each : all)
#define forever for (;;)
