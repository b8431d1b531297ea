# The version, read from the header, and whether it serves a request: not older and of the same ABI, which is the same
# minor version before 1.0, and the same major version from then on.

get_filename_component(_dlbridge_here "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
set(_dlbridge_includes "${_dlbridge_here}/../../../../include" "${_dlbridge_here}/../../../include"
  "${_dlbridge_here}/../include")
# The INCLUDEDIR of `make install`, which may be another: dlbridge.pc has it, relative to itself.
set(_dlbridge_pc "${_dlbridge_here}/../../pkgconfig")
if(EXISTS "${_dlbridge_pc}/dlbridge.pc")
  file(STRINGS "${_dlbridge_pc}/dlbridge.pc" _dlbridge_line REGEX "^includedir=.{pcfiledir}")
  string(REGEX REPLACE "^includedir=.{pcfiledir}" "${_dlbridge_pc}" _dlbridge_line "${_dlbridge_line}")
  list(APPEND _dlbridge_includes ${_dlbridge_line})
endif()
foreach(_dlbridge_include IN LISTS _dlbridge_includes)
  if(EXISTS "${_dlbridge_include}/dlbridge.h")
    file(STRINGS "${_dlbridge_include}/dlbridge.h" PACKAGE_VERSION REGEX "^#define DLB_VERSION \"")
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
