/* dlbridge/dtype.hpp: the dtypes of C++ types, and the names of dtypes and devices. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_DTYPE_HPP
#define DLBRIDGE_DTYPE_HPP

#include <complex>
#include <cstdint>
#include <string>
#include <type_traits>

#include "error.hpp"

namespace dlbridge {

/** The dtype that elements of a C++ type have: integers, float, double, std::complex of these. Specialise it for a
 * type of your own. bool is missing on purpose, since a foreign bool may hold any byte: read
 * `tensor.reinterpret(dtype_of<std::uint8_t>::get())` instead. */
template <class T, class = void>
struct dtype_of {
  static_assert(sizeof(T) == 0,
                "no dtype for this type; specialise dtype_of for one of your own, for bool reinterpret the tensor as "
                "std::uint8_t");
};

template <class T>
struct dtype_of<T, typename std::enable_if<std::is_integral<T>::value && !std::is_same<T, bool>::value>::type> {
  static constexpr DLDataType get() noexcept {
    return DLDataType{static_cast<std::uint8_t>(std::is_signed<T>::value ? kDLInt : kDLUInt), 8 * sizeof(T), 1};
  }
};

template <>
struct dtype_of<float> {
  static constexpr DLDataType get() noexcept { return DLDataType{kDLFloat, 32, 1}; }
};

template <>
struct dtype_of<double> {
  static constexpr DLDataType get() noexcept { return DLDataType{kDLFloat, 64, 1}; }
};

template <class T>
struct dtype_of<std::complex<T>> {
  static constexpr DLDataType get() noexcept { return DLDataType{kDLComplex, 2 * dtype_of<T>::get().bits, 1}; }
};

/** The name of a dtype, as NumPy writes it: float32, uint8, bfloat16. */
inline std::string to_string(DLDataType dtype) {
  char name[64];
  return std::string(name, dlb_dtype_name(dtype, name, sizeof name));
}

/** The name of a device: cpu, cuda:1. */
inline std::string to_string(DLDevice device) {
  char name[64];
  return std::string(name, dlb_device_name(device, name, sizeof name));
}

/** Reads a dtype from its name, as to_string() writes it. */
inline DLDataType parse_dtype(const std::string &name) {
  DLDataType dtype;
  detail::check(dlb_dtype_parse(name.c_str(), &dtype));
  return dtype;
}

}  // namespace dlbridge

#endif  /* DLBRIDGE_DTYPE_HPP */
