/* dlbridge/python.hpp: tensors from Python, and to it. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_PYTHON_HPP
#define DLBRIDGE_PYTHON_HPP

#include "tensor.hpp"

namespace dlbridge {

/** Takes a tensor from any Python producer, a borrowed PyObject *; see dlb_python_import(). Where Python raised, what()
 * has its words, and a caller that holds the GIL finds the exception set. */
inline tensor from_python(void *object) {
  dlb_tensor *raw = nullptr;
  detail::check(dlb_python_import(object, &raw));
  return tensor::adopt(raw);
}

/** A Python capsule with an export of `source`: a new reference to a PyObject; see dlb_python_capsule(). */
inline void *to_capsule(const tensor &source, bool legacy = false) {
  void *capsule = nullptr;
  detail::check(dlb_python_capsule(source.get(), legacy ? 1 : 0, &capsule));
  return capsule;
}

}  // namespace dlbridge

#endif  /* DLBRIDGE_PYTHON_HPP */
