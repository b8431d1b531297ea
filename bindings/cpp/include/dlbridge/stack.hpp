/* dlbridge/stack.hpp: many tensors as one batch; cast, transposed and normalised in one pass. C++11; included by
 * dlbridge.hpp.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   dlbridge::stack_options options;
 *   options.layout = dlbridge::layout::chw;
 *   options.scale = {1 / 255.0};
 *   dlbridge::tensor batch = dlbridge::empty<float>({64, 3, 224, 224});
 *   dlbridge::stack(pictures, batch, options);   // pictures: 64 tensors of {224, 224, 3}, uint8
 */
#ifndef DLBRIDGE_STACK_HPP
#define DLBRIDGE_STACK_HPP

#include "cast.hpp"

namespace dlbridge {

/** What becomes of the layout of pictures: see DLB_LAYOUT_SAME and its neighbours. */
enum class layout : std::int32_t { same = DLB_LAYOUT_SAME, chw = DLB_LAYOUT_CHW, hwc = DLB_LAYOUT_HWC };

/** What is done on the way: see dlb_stack_options. */
struct stack_options {
  dlbridge::casting casting = dlbridge::casting::same_kind;
  dlbridge::layout layout = dlbridge::layout::same;
  /** x * scale + bias: none, one number, or one for each channel. */
  std::vector<double> scale;
  std::vector<double> bias;
};

/** Writes the tensors, one behind the other, to `destination`, whose dtype is that of the batch. An error names the tensor
 * that was refused. Nobody else may touch the destination or write to the tensors meanwhile. */
inline void stack(const std::vector<tensor> &tensors, const tensor &destination,
                  const stack_options &options = stack_options()) {
  std::vector<const dlb_tensor *> raw;
  raw.reserve(tensors.size());
  for (const tensor &each : tensors) raw.push_back(each.get());
  dlb_stack_options given = {};
  given.struct_size = sizeof given;
  given.casting = static_cast<std::int32_t>(options.casting);
  given.layout = static_cast<std::int32_t>(options.layout);
  given.scale = options.scale.data();
  given.scale_count = options.scale.size();
  given.bias = options.bias.data();
  given.bias_count = options.bias.size();
  detail::check(dlb_stack(raw.data(), raw.size(), destination.get(), &given));
}

}  // namespace dlbridge

#endif  // DLBRIDGE_STACK_HPP
