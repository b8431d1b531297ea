/* dlbridge/error.hpp: what is thrown. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_ERROR_HPP
#define DLBRIDGE_ERROR_HPP

#include <stdexcept>
#include <string>

#pragma push_macro("slots")  /* of Qt's, where nothing may be called by that name */
#undef slots
#include "dlbridge.h"
#pragma pop_macro("slots")

namespace dlbridge {

/** What every failure throws: the status code, and in what() what was wrong, with the values, and what to do. Of libraries
 * built with -fvisibility=hidden, too, one catches what another throws. */
class [[gnu::visibility("default")]] error : public std::runtime_error {
 public:
  error(dlb_status status, const std::string &words) : std::runtime_error(words), status_(status) {}

  /** One of the DLB_ERROR_ codes. */
  dlb_status status() const noexcept { return status_; }

 private:
  dlb_status status_;
};

namespace detail {

inline void check(dlb_status status) {
  if (status == DLB_OK) return;
  const char *words = dlb_error_message();  // empty in a static destructor, where what threads keep is gone
  throw error(status, words[0] == '\0' ? dlb_status_name(status) : words);
}

}  // namespace detail

}  // namespace dlbridge

#endif  /* DLBRIDGE_ERROR_HPP */
