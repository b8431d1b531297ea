"""Prints what a C++ program needs to compile and link with the torch of this Python, one flag a line."""

import torch
from torch.utils import cpp_extension

print(f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}")
for path in cpp_extension.include_paths():
    print(f"-isystem {path}")
for path in cpp_extension.library_paths():
    print(f"-L{path} -Wl,-rpath,{path}")
print("-ltorch_cpu -lc10")
