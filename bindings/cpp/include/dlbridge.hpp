/* dlbridge.hpp: dlbridge for C++11 and later. Header-only; link to libdlbridge.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   std::vector<float> samples = simulate();
 *   dlbridge::tensor tensor = dlbridge::tensor::from_vector(std::move(samples), {1000, 64});
 *   dlbridge::managed_tensor out = tensor.export_();   // for any DLPack consumer: consume(out.release())
 *
 * The rules, which hold for everything here unless it says otherwise:
 *
 *  - A `tensor` is a handle, as a shared_ptr is: copies share one description of one buffer, which never changes, and
 *    the buffer's owner is let go after the last tensor and the last export on it. No element is ever copied.
 *  - What fails throws `dlbridge::error`, with a status to decide by (DLB_ERROR_OUT_OF_MEMORY where the library gets no
 *    memory), or std::bad_alloc where C++ gets none for an object of its own, and has then changed nothing. Destructors,
 *    moves and the members marked noexcept never throw.
 *  - Threads may share what a tensor describes, each through a handle of its own; a single handle is like any other
 *    object, to be changed by one thread at a time. The elements are plain shared memory.
 *  - Everything may be asked of an empty handle (default-constructed or moved from); what needs a tensor then throws.
 *
 * It needs exceptions, and no RTTI. Macros that Windows and Qt define (min, max, slots) may be there before it; to name
 * staging_options::slots, compile with QT_NO_KEYWORDS.
 *
 * It is one header for each noun, of those in dlbridge/ all but torch.hpp: tensor.hpp, memory.hpp (empty(), allocators,
 * pools), copy.hpp, cast.hpp, compare.hpp (equal(), allclose()), stack.hpp (stack()), stream.hpp (streams, events,
 * asynchronous copies), staging.hpp, python.hpp. From C++20 on span.hpp, too, which shows elements as std::span and, in
 * C++23, as std::mdspan.
 *
 * dlbridge.h has the reference of the C functions behind this; a member does what the function of its name does.
 */
#ifndef DLBRIDGE_HPP
#define DLBRIDGE_HPP

#include "dlbridge/cast.hpp"
#include "dlbridge/compare.hpp"
#include "dlbridge/copy.hpp"
#include "dlbridge/memory.hpp"
#include "dlbridge/python.hpp"
#include "dlbridge/stack.hpp"
#include "dlbridge/staging.hpp"
#include "dlbridge/stream.hpp"
#include "dlbridge/tensor.hpp"

#if __cplusplus >= 202002L
#include "dlbridge/span.hpp"
#endif

#endif  /* DLBRIDGE_HPP */
