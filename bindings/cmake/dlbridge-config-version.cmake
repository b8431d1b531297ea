# The version, read from the header, and whether it serves a request: not older and of the same ABI, which is the same
# minor version before 1.0, and the same major version from then on.

get_filename_component(_dlbridge_here "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
foreach(_dlbridge_up IN ITEMS ../../../.. ../../.. ..)
  if(EXISTS "${_dlbridge_here}/${_dlbridge_up}/include/dlbridge.h")
    file(STRINGS "${_dlbridge_here}/${_dlbridge_up}/include/dlbridge.h" PACKAGE_VERSION REGEX "^#define DLB_VERSION \"")
  endif()
endforeach()
string(REGEX REPLACE ".*\"(.*)\".*" "\\1" PACKAGE_VERSION "${PACKAGE_VERSION}")

string(REGEX REPLACE "^(0\\.[0-9]+|[0-9]+).*" "\\1" _dlbridge_abi "${PACKAGE_VERSION}")
if("${PACKAGE_FIND_VERSION}" MATCHES "^${_dlbridge_abi}(\\.|$)" AND NOT PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
