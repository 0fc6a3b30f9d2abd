# minke_room(NAME [LIGHT] [USES room...] [LIBRARIES lib...] [TEST_LIBRARIES lib...])
#
# A room is a folder src/NAME: its sources become the static library minke_NAME, its *_test.cpp the program NAME_test.
# Sources are found, not listed: a new weight format or command is one new file. A room without sources is headers only.
# Tests, and rooms that are LIGHT (no work of their own, and large headers), are optimised less: half as long to build.
function(minke_room name)
  cmake_parse_arguments(ROOM "LIGHT" "" "USES;LIBRARIES;TEST_LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp ${CMAKE_SOURCE_DIR}/src/${name}/*/*.cpp)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$|\\.isa\\.cpp$|/main\\.cpp$")
  if(NOT sources)
    add_library(minke_${name} INTERFACE)  # headers only
    return()
  endif()
  add_library(minke_${name} STATIC ${sources})
  target_include_directories(minke_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  if(ROOM_LIGHT)
    target_compile_options(minke_${name} PRIVATE -O1)
  endif()
  foreach(room IN LISTS ROOM_USES)
    target_link_libraries(minke_${name} PUBLIC minke_${room})
  endforeach()
  target_link_libraries(minke_${name} PUBLIC ${ROOM_LIBRARIES})
  if(tests AND NOT MINKE_FUZZ)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE minke_${name} ${ROOM_TEST_LIBRARIES} rapidcheck gtest gtest_main)
    target_compile_options(${name}_test PRIVATE -O1)
    # The cache holds what tools/fetch_*.sh fetched; tests that need it skip where it is not there.
    target_compile_definitions(${name}_test PRIVATE
      MINKE_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests" MINKE_CACHE_DIR="${CMAKE_SOURCE_DIR}/build/cache")
    add_test(NAME ${name} COMMAND ${name}_test)
  endif()
endfunction()

# minke_isa(NAME FLAGS...): one instruction set. Every src/kernels/*.isa.cpp is compiled once for it, with its vocabulary.
set(MINKE_ISA_LIST "")
function(minke_isa name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/*.isa.cpp)
  add_library(minke_isa_${name} OBJECT ${sources})
  target_include_directories(minke_isa_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_compile_definitions(minke_isa_${name} PRIVATE MINKE_ISA=${name} MINKE_ISA_${name})
  target_compile_options(minke_isa_${name} PRIVATE -O3 -Wno-uninitialized ${ARGN})  # GCC 12's own headers
  # Instrumented, the products alone take a compiler ten minutes for each instruction set.
  if(MINKE_SANITIZE AND NOT MINKE_SANITIZE_KERNELS)
    target_compile_options(minke_isa_${name} PRIVATE -fno-sanitize=all)
  endif()
  target_link_libraries(minke_kernels PUBLIC $<TARGET_OBJECTS:minke_isa_${name}>)
  set(MINKE_ISA_LIST "${MINKE_ISA_LIST} X(${name})" PARENT_SCOPE)
  set_property(GLOBAL APPEND PROPERTY MINKE_ISAS ${name})
endfunction()
