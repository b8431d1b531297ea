/* dlbridge/owner.hpp: whoever keeps a buffer alive, until it is let go. Included by dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef DLBRIDGE_OWNER_HPP
#define DLBRIDGE_OWNER_HPP

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace dlbridge {

namespace detail {

/** Whether an owner can be called, without arguments; as an rvalue, for that is done once. */
template <class Owner>
auto callable(int) -> decltype(static_cast<void>(std::declval<Owner>()()), std::true_type());
template <class Owner>
std::false_type callable(long);

/** The same as an lvalue. */
template <class Owner>
auto callable_in_place(int) -> decltype(static_cast<void>(std::declval<Owner &>()()), std::true_type());
template <class Owner>
std::false_type callable_in_place(long);

/** Whether an owner is called with a pointer, as a deleter is. What has several operator(), as a matrix may, is none: of
 * those decltype names no type. */
template <class Owner, class Result, class Value>
std::true_type takes_pointer(Result (Owner::*)(Value *));
template <class Owner, class Result, class Value>
std::true_type takes_pointer(Result (Owner::*)(Value *) const);
template <class Owner>
auto deleter(int) -> decltype(takes_pointer(std::declval<decltype(&Owner::operator())>()));
template <class Owner>
std::false_type deleter(long);

template <class Owner>
void let_go(Owner &owner, std::true_type) {
  std::move(owner)();
}
template <class Owner>
void let_go(Owner &, std::false_type) {}

/** Where an owner stays until the last user of its buffer is gone. It is filled once the tensor is made, so that the
 * caller keeps the owner where that fails. */
template <class Owner>
class slot {
  using calls = decltype(callable<Owner>(0));
  static_assert(!std::is_pointer<Owner>::value || calls::value,
                "a raw pointer owns nothing, and a function is called without arguments; pass a callable, a smart "
                "pointer, or use borrow()");
  static_assert(!decltype(deleter<Owner>(0))::value,
                "an owner is called without arguments, and this one takes a pointer, so that it would never be called; "
                "capture the pointer instead: [data] { ... }");
  static_assert(calls::value || !decltype(callable_in_place<Owner>(0))::value,
                "an owner is called as an rvalue, since that is done once, and this one only as an lvalue, so that it "
                "would never be called; take the & from its operator()");
#if !defined(__cpp_aligned_new)
  static_assert(alignof(Owner) <= alignof(std::max_align_t),
                "this C++ makes no objects of such an alignment; pass a smart pointer to it, or compile as C++17");
#endif

 public:
  slot() noexcept : full_(false) {}
  slot(const slot &) = delete;
  slot &operator=(const slot &) = delete;
  ~slot() {
    if (!full_) return;
    let_go(owner_, calls());
    owner_.~Owner();
  }

  template <class Source>
  void fill(Source &&owner) {
    ::new (static_cast<void *>(std::addressof(owner_))) Owner(std::forward<Source>(owner));
    full_ = true;
  }

  /** Once it is filled. */
  Owner &owner() noexcept { return owner_; }

  /** A dlb_release_fn. */
  static void release(void *context) noexcept { delete static_cast<slot *>(context); }

 private:
  union {
    Owner owner_;
  };
  bool full_;
};

}  // namespace detail

}  // namespace dlbridge

#endif  /* DLBRIDGE_OWNER_HPP */
