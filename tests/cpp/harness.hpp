/* The harness of the C++ tests: TEST, EXPECT, THROWS, and a main that prints the names and counts. */
#ifndef TESTS_CPP_HARNESS_HPP
#define TESTS_CPP_HARNESS_HPP

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "dlbridge.hpp"

namespace harness {

struct test {
  const char *name;
  void (*body)();
};

inline std::vector<test> &tests() {
  static std::vector<test> all;
  return all;
}

struct registered {
  registered(const char *name, void (*body)()) { tests().push_back(test{name, body}); }
};

[[noreturn]] inline void fail(const char *file, int line, const std::string &words) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + words);
}

inline void check(bool holds, const char *file, int line, const char *condition) {
  if (!holds) fail(file, line, condition);
}

/** Fails unless `body` throws a dlbridge::error with this status whose words contain `part`. */
template <class Body>
void throws(Body body, dlb_status status, const std::string &part, const char *file, int line) {
  try {
    body();
  } catch (const dlbridge::error &error) {
    if (error.status() != status) fail(file, line, std::string("status ") + dlb_status_name(error.status()));
    if (std::string(error.what()).find(part) == std::string::npos) fail(file, line, error.what());
    return;
  }
  fail(file, line, "nothing was thrown");
}

/** Runs one test; tensors and exports that it leaves behind are a failure too. */
inline bool passes(const test &test) {
  const std::size_t tensors = dlb_live_tensors(), exports = dlb_live_exports();
  std::string words;
  try {
    test.body();
    if (dlb_live_tensors() != tensors) words = "tensors were left behind";
    if (dlb_live_exports() != exports) words = "exports were left behind";
  } catch (const std::exception &exception) {
    words = exception.what();
  }
  std::printf("%s %s%s%s\n", words.empty() ? "ok    " : "FAILED", test.name, words.empty() ? "" : ": ", words.c_str());
  return words.empty();
}

inline int run() {
  std::size_t failed = 0;
  for (const test &test : tests()) failed += passes(test) ? 0 : 1;
  std::printf("%zu passed, %zu failed\n", tests().size() - failed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace harness

#define TEST(name)                                             \
  static void name();                                          \
  static const harness::registered name##_registered(#name, name); \
  static void name()

#define EXPECT(...) harness::check((__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
#define THROWS(status, part, ...) \
  harness::throws([&] { static_cast<void>(__VA_ARGS__); }, status, part, __FILE__, __LINE__)

#endif  /* TESTS_CPP_HARNESS_HPP */
