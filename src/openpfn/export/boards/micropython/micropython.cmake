# USER_C_MODULES names this file, or one that includes several.
add_library(usermod_@MODULE@ INTERFACE)
target_sources(usermod_@MODULE@ INTERFACE
    ${CMAKE_CURRENT_LIST_DIR}/micropython/pfn_module.c
    ${CMAKE_CURRENT_LIST_DIR}/pfn.c)
target_include_directories(usermod_@MODULE@ INTERFACE ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(usermod INTERFACE usermod_@MODULE@)
