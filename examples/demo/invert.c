/* The C side of the demo: inverts a region of an image in place. Knows dlbridge.h and nothing of Python or NumPy. */
#include "dlbridge.h"

#include <string.h>

/* What this function saw of the image, for the demo's table. */
typedef struct {
  const void *address;
  int64_t shape[3];
  int64_t strides[3];
  char dtype[32];
} invert_seen;

static const DLDataType uint8 = {kDLUInt, 8, 1};

/* `image` is any Python array of height x width x channels, uint8. Rows and columns are half-open ranges. */
dlb_status invert_region(void *image, int64_t top, int64_t bottom, int64_t left, int64_t right, invert_seen *seen) {
  dlb_tensor *whole = NULL, *rows = NULL, *region = NULL;
  void *data = NULL;

  dlb_status status = dlb_python_import(image, &whole);
  if (status == DLB_OK) status = dlb_tensor_slice(whole, 0, top, bottom, 1, &rows);
  if (status == DLB_OK) status = dlb_tensor_slice(rows, 1, left, right, 1, &region);
  if (status == DLB_OK) status = dlb_tensor_mutable_data(region, uint8, &data);
  if (status == DLB_OK) {
    const DLTensor *view = dlb_tensor_view(region);
    for (int64_t y = 0; y < view->shape[0]; y++)
      for (int64_t x = 0; x < view->shape[1]; x++)
        for (int64_t c = 0; c < view->shape[2]; c++) {
          uint8_t *value = (uint8_t *)data + y * view->strides[0] + x * view->strides[1] + c * view->strides[2];
          *value = (uint8_t)(255 - *value);
        }
    const DLTensor *all = dlb_tensor_view(whole);
    seen->address = all->data;
    memcpy(seen->shape, all->shape, sizeof seen->shape);
    memcpy(seen->strides, all->strides, sizeof seen->strides);
    dlb_dtype_name(all->dtype, seen->dtype, sizeof seen->dtype);
  }
  dlb_tensor_release(region);
  dlb_tensor_release(rows);
  dlb_tensor_release(whole);
  return status;
}
