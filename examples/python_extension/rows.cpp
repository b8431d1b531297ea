/* An extension module that takes any array of Python (NumPy's, torch's, whoever speaks DLPack) and works on its memory. */
#include <dlbridge.hpp>
#include <pybind11/pybind11.h>

namespace py = pybind11;

static void check(dlb_status status) {
  if (status == DLB_OK) return;
  if (PyErr_Occurred()) throw py::error_already_set();  // the array's own exception
  throw dlbridge::error(status, dlb_error_message());   // RuntimeError in Python
}

/* Takes the mean off each row, in place, and gives a DLPack capsule of the same memory. */
static py::object centre(py::handle array) {
  dlb_tensor *taken = nullptr;
  check(dlb_python_import(array.ptr(), &taken));
  const dlbridge::tensor rows = dlbridge::tensor::adopt(taken);  // keeps the array's memory alive
  if (rows.ndim() != 2) throw py::value_error("centre() takes 2 dimensions, not " + std::to_string(rows.ndim()));
  float *data = rows.mutable_data<float>();  // refused: another dtype, a device, read-only
  {
    py::gil_scoped_release others_may_run;
    const dlbridge::int64_span shape = rows.shape(), strides = rows.strides();
    for (std::int64_t row = 0; row < shape[0]; row++) {
      const auto at = [=](std::int64_t i) -> float & { return data[row * strides[0] + i * strides[1]]; };
      float sum = 0;
      for (std::int64_t i = 0; i < shape[1]; i++) sum += at(i);
      for (std::int64_t i = 0; i < shape[1]; i++) at(i) -= sum / static_cast<float>(shape[1]);
    }
  }
  void *capsule = nullptr;
  check(dlb_python_capsule(rows.get(), 0, &capsule));
  return py::reinterpret_steal<py::object>(static_cast<PyObject *>(capsule));
}

PYBIND11_MODULE(_rows, module) { module.def("centre", &centre); }
