# find_package(dlbridge 0.1 REQUIRED): the targets dlbridge::dlbridge (the shared library) and dlbridge::static, both
# with the C and C++ headers. COMPONENTS may ask for `shared` and `static`.
#
# Nothing in this file is filled in: it looks at what lies around it. So the same file serves lib/cmake/dlbridge and
# share/cmake/dlbridge of any prefix, wherever that is moved, and the Python package, which has no static library.

if(CMAKE_VERSION VERSION_LESS 3.21)
  set(dlbridge_FOUND FALSE)
  set(dlbridge_NOT_FOUND_MESSAGE "dlbridge needs CMake 3.21 or later; this is ${CMAKE_VERSION}")
  return()
endif()

get_filename_component(_dlbridge_here "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
set(_dlbridge_only_here NO_CACHE NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
set(_dlbridge_folders "${_dlbridge_here}/.." "${_dlbridge_here}/../.." "${_dlbridge_here}/../../../lib")
string(REGEX MATCH "^([0-9]+)\\.[0-9]+" _dlbridge_abi "${dlbridge_VERSION}")

find_file(_dlbridge_pc pkgconfig/dlbridge.pc PATHS ${_dlbridge_folders} ${_dlbridge_only_here})
# The INCLUDEDIR of `make install`, which may be none of the usual: dlbridge.pc has it, relative to itself.
set(_dlbridge_includedir)
if(_dlbridge_pc)
  file(STRINGS "${_dlbridge_pc}" _dlbridge_includedir REGEX "^includedir=.{pcfiledir}")
  get_filename_component(_dlbridge_pcfiledir "${_dlbridge_pc}" DIRECTORY)
  string(REGEX REPLACE "^includedir=.{pcfiledir}" "${_dlbridge_pcfiledir}" _dlbridge_includedir "${_dlbridge_includedir}")
endif()
find_path(_dlbridge_include dlbridge.h ${_dlbridge_only_here}
  PATHS ${_dlbridge_includedir} "${_dlbridge_here}/../include" "${_dlbridge_here}/../../../include"
  "${_dlbridge_here}/../../../../include")
# By its soname, which is one of the two.
find_file(_dlbridge_shared NAMES "libdlbridge.so.${CMAKE_MATCH_1}" "libdlbridge.so.${_dlbridge_abi}"
  PATHS ${_dlbridge_folders} ${_dlbridge_only_here})
find_file(_dlbridge_static libdlbridge.a PATHS ${_dlbridge_folders} ${_dlbridge_only_here})

if(_dlbridge_include AND _dlbridge_shared)
  if(NOT TARGET dlbridge::dlbridge)
    get_filename_component(_dlbridge_soname "${_dlbridge_shared}" NAME)
    add_library(dlbridge::dlbridge SHARED IMPORTED)
    set_target_properties(dlbridge::dlbridge PROPERTIES
      IMPORTED_LOCATION "${_dlbridge_shared}"
      IMPORTED_SONAME "${_dlbridge_soname}"
      INTERFACE_INCLUDE_DIRECTORIES "${_dlbridge_include}")
  endif()
  set(dlbridge_shared_FOUND TRUE)
endif()

# What else a static link needs is written in dlbridge.pc.
if(_dlbridge_include AND _dlbridge_static AND _dlbridge_pc)
  if(NOT TARGET dlbridge::static)
    file(STRINGS "${_dlbridge_pc}" _dlbridge_private REGEX "^Libs\\.private:")
    string(REGEX REPLACE "^Libs\\.private: *" "" _dlbridge_private "${_dlbridge_private}")
    separate_arguments(_dlbridge_private UNIX_COMMAND "${_dlbridge_private}")
    add_library(dlbridge::static STATIC IMPORTED)
    set_target_properties(dlbridge::static PROPERTIES
      IMPORTED_LOCATION "${_dlbridge_static}"
      INTERFACE_INCLUDE_DIRECTORIES "${_dlbridge_include}"
      INTERFACE_LINK_LIBRARIES "${_dlbridge_private}")
  endif()
  set(dlbridge_static_FOUND TRUE)
endif()

if(NOT dlbridge_FIND_COMPONENTS)
  set(dlbridge_FIND_COMPONENTS shared)
  set(dlbridge_FIND_REQUIRED_shared TRUE)
endif()
foreach(_dlbridge_component IN LISTS dlbridge_FIND_COMPONENTS)
  if(dlbridge_FIND_REQUIRED_${_dlbridge_component} AND NOT dlbridge_${_dlbridge_component}_FOUND)
    set(dlbridge_FOUND FALSE)
    set(dlbridge_NOT_FOUND_MESSAGE "there is no component '${_dlbridge_component}' of dlbridge ${dlbridge_VERSION} \
around ${_dlbridge_here}; there are 'shared' and 'static', the latter after `make install`")
  endif()
endforeach()
