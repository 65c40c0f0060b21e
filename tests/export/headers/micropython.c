/* MicroPython as far as obj.h declares it, and a program that uses the module: it fits the rows of
 * rows.h and prints the bits of probabilities, and what is said about mistakes. */
#include "py/obj.h"

#include "rows.h" /* N, D, K, x, y */

extern const mp_obj_module_t *const the_module;
jmp_buf raised;
const mp_obj_type_t mp_type_ValueError, mp_type_module;
object none;

static object *new_object(int kind, size_t n, void *data) {
    object *made_object = calloc(1, sizeof *made_object);
    made_object->kind = kind;
    made_object->n = n;
    made_object->data = data;
    return made_object;
}
mp_obj_t mp_obj_new_float(double value) {
    object *number = new_object(NUMBER, 0, NULL);
    number->number = value;
    return number;
}
mp_obj_t mp_obj_new_tuple(size_t n, const mp_obj_t *items) {
    return new_object(SEQUENCE, n, memcpy(malloc(n * sizeof *items + 1), items, n * sizeof *items));
}
mp_obj_t mp_obj_new_bytes_from_vstr(vstr_t *bytes) {
    return new_object(BYTES, bytes->len, bytes->buf);
}
void mp_raise_msg_varg(const mp_obj_type_t *type, const char *format, ...) {
    va_list values;
    (void)type;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    printf("\n");
    longjmp(raised, 1);
}
double mp_obj_get_float(mp_obj_t number) {
    if (((object *)number)->kind != NUMBER) {
        mp_raise_msg_varg(NULL, "no number");
    }
    return ((object *)number)->number;
}
mp_int_t mp_obj_get_int(mp_obj_t number) {
    return (mp_int_t)mp_obj_get_float(number);
}
mp_obj_t mp_obj_len(mp_obj_t sequence) {
    if (((object *)sequence)->kind == NUMBER) {
        mp_raise_msg_varg(NULL, "no sequence");
    }
    return mp_obj_new_float((double)((object *)sequence)->n);
}
mp_obj_t mp_obj_subscr(mp_obj_t sequence, mp_obj_t index, mp_obj_t value) {
    const object *of = sequence;
    const size_t i = (size_t)mp_obj_get_int(index);
    if (value != MP_OBJ_SENTINEL || i >= of->n) {
        mp_raise_msg_varg(NULL, "no such item");
    }
    return of->kind == BYTES    ? mp_obj_new_float(((uint8_t *)of->data)[i])
           : of->kind == FLOATS ? mp_obj_new_float(((float *)of->data)[i])
                                : ((mp_obj_t *)of->data)[i];
}
bool mp_get_buffer(mp_obj_t bytes, mp_buffer_info_t *buffer, int flags) {
    const object *of = bytes;
    const bool is_floats = of->kind == FLOATS;
    *buffer = (mp_buffer_info_t){of->data, is_floats ? of->n * 4 : of->n, is_floats ? 'f' : 'B'};
    return flags == MP_BUFFER_READ && (is_floats || of->kind == BYTES);
}
void mp_get_buffer_raise(mp_obj_t bytes, mp_buffer_info_t *buffer, int flags) {
    if (!mp_get_buffer(bytes, buffer, flags)) {
        mp_raise_msg_varg(NULL, "no bytes");
    }
}
void mp_arg_check_num(size_t n_args, size_t n_kw, size_t least, size_t most, bool takes_kw) {
    if (n_args < least || n_args > most || (n_kw > 0 && !takes_kw)) {
        mp_raise_msg_varg(NULL, "wrong number of arguments");
    }
}
void vstr_init_len(vstr_t *bytes, size_t n) {
    *bytes = (vstr_t){calloc(1, n), n};
}
void *made(size_t n_bytes, const mp_obj_type_t *type) {
    mp_obj_base_t *self = malloc(n_bytes);
    memset(self, 0xA5, n_bytes); /* it is not cleared */
    self->type = type;
    return self;
}

/* What a dictionary holds under a name. */
static mp_rom_obj_t find(const mp_obj_dict_t *dict, const char *name) {
    for (size_t i = 0; i < dict->n; i++) {
        if (strcmp(dict->table[i].key, name) == 0) {
            return dict->table[i].value;
        }
    }
    printf("no %s\n", name);
    exit(1);
}
static const mp_obj_type_t *classifier_type(void) {
    return find(the_module->globals, "MP_QSTR_Classifier");
}
static mp_obj_t new_classifier(int n_features, int n_classes) {
    const mp_obj_t args[] = {mp_obj_new_float(n_features), mp_obj_new_float(n_classes)};
    return classifier_type()->make_new(classifier_type(), 2, 0, args);
}
static const function *method(const char *name) {
    return find(classifier_type()->locals, name);
}
static mp_obj_t sequence_of(const float *values, size_t n) {
    mp_obj_t items[N * D];
    for (size_t i = 0; i < n; i++) {
        items[i] = values[i] != values[i] ? mp_const_none : mp_obj_new_float(values[i]);
    }
    return mp_obj_new_tuple(n, items);
}
static mp_obj_t all_rows(void) {
    mp_obj_t rows[N];
    for (int i = 0; i < N; i++) {
        rows[i] = sequence_of(x + i * D, D);
    }
    return mp_obj_new_tuple(N, rows);
}
static mp_obj_t all_labels(size_t n) {
    return new_object(BYTES, n, (void *)(uintptr_t)y);
}
static void print_answers(mp_obj_t net, mp_obj_t row) {
    const object *proba = method("MP_QSTR_predict_proba")->two(net, row);
    for (size_t i = 0; i < proba->n; i++) {
        union {
            float value;
            uint32_t bits;
        } one = {(float)mp_obj_get_float(((mp_obj_t *)proba->data)[i])};
        printf("%08x ", (unsigned)one.bits);
    }
    printf("%d\n", (int)mp_obj_get_int(method("MP_QSTR_predict")->two(net, row)));
}

#define TRY(call)              \
    if (setjmp(raised) == 0) { \
        (void)(call);          \
        printf("no error\n");  \
    }

int main(void) {
    const mp_obj_t net = new_classifier(D, K), other = new_classifier(1, 1);
    const mp_obj_t row = sequence_of(x, D), flat = new_object(FLOATS, N * D, (void *)(uintptr_t)x);
    TRY(method("MP_QSTR_predict")->two(net, row));
    method("MP_QSTR_fit")->three(net, all_rows(), all_labels(N));
    print_answers(net, row);
    object *saved = method("MP_QSTR_save")->one(net);
    method("MP_QSTR_load")->two(other, saved);
    print_answers(other, row);
    method("MP_QSTR_fit")->three(net, flat, all_labels(N));
    print_answers(net, new_object(FLOATS, D, (void *)(uintptr_t)x));
    TRY(new_classifier(D, 200));
    TRY(method("MP_QSTR_fit")->three(other, all_rows(), all_labels(N - 1)));
    TRY(method("MP_QSTR_fit")->three(other, flat, all_labels(N - 1)));
    TRY(method("MP_QSTR_fit")->three(new_classifier(D, 1), all_rows(), all_labels(N)));
    TRY(method("MP_QSTR_predict")->two(net, sequence_of(x, D - 1)));
    TRY(method("MP_QSTR_predict")->two(net, mp_const_none));
    ((uint8_t *)saved->data)[40] ^= 1;
    TRY(method("MP_QSTR_load")->two(other, saved));
    return 0;
}
