/* What the module needs of MicroPython: numbers, None, sequences, arrays of floats and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *mp_obj_t;
typedef const void *mp_rom_obj_t;
typedef double mp_float_t;
typedef intptr_t mp_int_t;
typedef struct {
    const void *type;
} mp_obj_base_t;
typedef struct {
    mp_rom_obj_t key, value;
} mp_rom_map_elem_t;
typedef struct {
    const mp_rom_map_elem_t *table;
    size_t n;
} mp_obj_dict_t;
typedef struct mp_obj_type_t {
    const char *name;
    mp_obj_t (*make_new)(const struct mp_obj_type_t *type, size_t n_args, size_t n_kw,
                         const mp_obj_t *args);
    const mp_obj_dict_t *locals;
} mp_obj_type_t;
typedef struct {
    mp_obj_base_t base;
    mp_obj_dict_t *globals;
} mp_obj_module_t;
typedef struct {
    void *buf;
    size_t len;
    int typecode;
} mp_buffer_info_t;
typedef struct {
    char *buf;
    size_t len;
} vstr_t;
typedef struct {
    mp_obj_t (*one)(mp_obj_t);
    mp_obj_t (*two)(mp_obj_t, mp_obj_t);
    mp_obj_t (*three)(mp_obj_t, mp_obj_t, mp_obj_t);
} function;

typedef struct {
    enum { NUMBER, SEQUENCE, FLOATS, BYTES } kind;
    double number;
    size_t n;
    void *data;
} object;

extern jmp_buf raised;
extern const mp_obj_type_t mp_type_ValueError, mp_type_module;
extern object none;
#define mp_const_none ((mp_obj_t)&none)
#define MP_BUFFER_READ 1
#define MP_TYPE_FLAG_NONE 0
#define MP_OBJ_SENTINEL NULL
#define MP_ERROR_TEXT(text) text
#define MP_OBJ_NEW_SMALL_INT(i) mp_obj_new_float(i)
#define MP_OBJ_TO_PTR(object) (object)
#define MP_OBJ_FROM_PTR(pointer) ((mp_obj_t)(pointer))
#define MP_ROM_QSTR(name) #name
#define MP_ROM_PTR(pointer) (pointer)
#define MP_ROM_INT(number) ((const void *)(intptr_t)(number))
#define MP_DEFINE_CONST_FUN_OBJ_1(name, f) const function name = {f, NULL, NULL}
#define MP_DEFINE_CONST_FUN_OBJ_2(name, f) const function name = {NULL, f, NULL}
#define MP_DEFINE_CONST_FUN_OBJ_3(name, f) const function name = {NULL, NULL, f}
#define MP_DEFINE_CONST_DICT(name, rows) \
    const mp_obj_dict_t name = {rows, sizeof(rows) / sizeof(rows)[0]}
#define MP_DEFINE_CONST_OBJ_TYPE(name, qstr, flags, make_new, f, locals_dict, dict) \
    const mp_obj_type_t name = {#qstr, f, dict}
#define MP_REGISTER_MODULE(qstr, module)          \
    extern const mp_obj_module_t *const the_module; \
    const mp_obj_module_t *const the_module = &module

mp_obj_t mp_obj_new_float(double value);
mp_obj_t mp_obj_new_tuple(size_t n, const mp_obj_t *items);
mp_obj_t mp_obj_new_bytes_from_vstr(vstr_t *bytes);
mp_int_t mp_obj_get_int(mp_obj_t number);
double mp_obj_get_float(mp_obj_t number);
mp_obj_t mp_obj_len(mp_obj_t sequence);
mp_obj_t mp_obj_subscr(mp_obj_t sequence, mp_obj_t index, mp_obj_t value);
bool mp_get_buffer(mp_obj_t bytes, mp_buffer_info_t *buffer, int flags);
void mp_get_buffer_raise(mp_obj_t bytes, mp_buffer_info_t *buffer, int flags);
void mp_arg_check_num(size_t n_args, size_t n_kw, size_t least, size_t most, bool takes_kw);
_Noreturn void mp_raise_msg_varg(const mp_obj_type_t *type, const char *format, ...);
void vstr_init_len(vstr_t *bytes, size_t n);
void *made(size_t n_bytes, const mp_obj_type_t *type);
#define mp_obj_malloc(kind, type) ((kind *)made(sizeof(kind), type))
