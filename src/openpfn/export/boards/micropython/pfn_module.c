/* The module @MODULE@ of MicroPython.
 *
 *     import @MODULE@
 *     net = @MODULE@.Classifier(4, 3)    # features, classes
 *     net.fit(rows, labels)              # None is a missing value
 *     net.predict_proba(row)             # a tuple: the probability of each class
 *     net.predict(row)                   # the most probable class
 *     net.load(net.save())               # bytes, the same on every chip
 *
 * A row is any sequence of numbers, quickest an array('f'). Rows are a sequence of them, or an
 * array('f') that holds one after the other.
 */
#include <math.h>
#include <string.h>

#include "py/obj.h"
#include "py/runtime.h"

#include "pfn.h"

typedef struct {
    mp_obj_base_t base;
    int32_t n_features, n_classes;
    pfn_context context;
    pfn_workspace scratch;
} classifier;

/* What a fit reads: `flat` is NULL where the rows are a sequence of sequences. */
typedef struct {
    mp_obj_t rows, labels;
    const float *flat;
    int32_t n_rows, n_features;
} table;

static const mp_obj_type_t classifier_type;

static const char *const reasons[] = {
    "",
    "PFN_ERROR_ARGUMENT",
    "PFN_ERROR_FEATURES: more features, or fewer than 1",
    "PFN_ERROR_CLASSES: more classes, or fewer than 1",
    "PFN_ERROR_ROWS: no rows",
    "PFN_ERROR_LABEL: labels are 0, 1, 2 ... below the number of classes",
    "PFN_ERROR_VALUE: too large, or a feature that varies too little",
    "PFN_ERROR_SOURCE: the rows changed",
    "PFN_ERROR_NOT_FITTED: call fit or load first",
    "PFN_ERROR_SAVED: damaged, or of another network",
    "PFN_ERROR_CAPACITY",
};

static void check(pfn_status status) {
    if (status != PFN_OK) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("%s"), reasons[status]);
    }
}

static int32_t length(mp_obj_t sequence) {
    return (int32_t)mp_obj_get_int(mp_obj_len(sequence));
}

static mp_obj_t item(mp_obj_t sequence, int32_t i) {
    return mp_obj_subscr(sequence, MP_OBJ_NEW_SMALL_INT(i), MP_OBJ_SENTINEL);
}

/* The floats of an array('f') and their number, or NULL for any other object. */
static const float *floats_of(mp_obj_t values, int32_t *n) {
    mp_buffer_info_t buffer;
    if (!mp_get_buffer(values, &buffer, MP_BUFFER_READ) || buffer.typecode != 'f') {
        return NULL;
    }
    *n = (int32_t)(buffer.len / sizeof(float));
    return buffer.buf;
}

static void check_length(int32_t n, int32_t wanted) {
    if (n != wanted) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("%d values, must be %d"), (int)n,
                          (int)wanted);
    }
}

static void read_row(mp_obj_t values, int32_t n_features, float *row) {
    int32_t n;
    const float *floats = floats_of(values, &n);
    check_length(floats != NULL ? n : length(values), n_features);
    for (int32_t j = 0; j < n_features; j++) {
        if (floats != NULL) {
            row[j] = floats[j];
        } else {
            const mp_obj_t value = item(values, j);
            row[j] = value == mp_const_none ? NAN : (float)mp_obj_get_float(value);
        }
    }
}

static int32_t row_of_table(void *user, int32_t row, float *x, int32_t *y) {
    const table *shown = user;
    if (row >= shown->n_rows) {
        return 0;
    }
    if (shown->flat != NULL) {
        memcpy(x, shown->flat + (size_t)row * (size_t)shown->n_features,
               sizeof(float) * (size_t)shown->n_features);
    } else {
        read_row(item(shown->rows, row), shown->n_features, x);
    }
    *y = (int32_t)mp_obj_get_int(item(shown->labels, row));
    return 1;
}

static mp_obj_t classifier_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw,
                                    const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 2, 2, false);
    const int32_t n_features = (int32_t)mp_obj_get_int(args[0]);
    const int32_t n_classes = (int32_t)mp_obj_get_int(args[1]);
    if (n_features < 1 || n_features > PFN_MAX_FEATURES) {
        check(PFN_ERROR_FEATURES);
    }
    if (n_classes < 1 || n_classes > PFN_MAX_CLASSES) {
        check(PFN_ERROR_CLASSES);
    }
    classifier *self = mp_obj_malloc(classifier, type);
    self->n_features = n_features;
    self->n_classes = n_classes;
    memset(&self->context, 0, sizeof self->context);
    return MP_OBJ_FROM_PTR(self);
}

static mp_obj_t classifier_fit(mp_obj_t self_in, mp_obj_t rows, mp_obj_t labels) {
    classifier *self = MP_OBJ_TO_PTR(self_in);
    table shown = {rows, labels, NULL, length(labels), self->n_features};
    int32_t n;
    shown.flat = floats_of(rows, &n);
    if (shown.flat != NULL) {
        check_length(n, shown.n_rows * self->n_features);
    } else {
        check_length(length(rows), shown.n_rows);
    }
    check(pfn_fit_stream(&self->context, row_of_table, &shown, self->n_features, self->n_classes,
                         NULL, 0, &self->scratch));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(classifier_fit_obj, classifier_fit);

/* Write the probabilities of a row's classes into proba (PFN_MAX_CLASSES). */
static const classifier *ask(mp_obj_t self_in, mp_obj_t values, float *proba) {
    classifier *self = MP_OBJ_TO_PTR(self_in);
    float row[PFN_MAX_FEATURES];
    read_row(values, self->n_features, row);
    check(pfn_predict_proba(&self->context, row, proba, &self->scratch));
    return self;
}

static mp_obj_t classifier_predict_proba(mp_obj_t self_in, mp_obj_t values) {
    float proba[PFN_MAX_CLASSES];
    mp_obj_t answers[PFN_MAX_CLASSES];
    const int32_t n_classes = ask(self_in, values, proba)->n_classes;
    for (int32_t c = 0; c < n_classes; c++) {
        answers[c] = mp_obj_new_float((mp_float_t)proba[c]);
    }
    return mp_obj_new_tuple((size_t)n_classes, answers);
}
static MP_DEFINE_CONST_FUN_OBJ_2(classifier_predict_proba_obj, classifier_predict_proba);

static mp_obj_t classifier_predict(mp_obj_t self_in, mp_obj_t values) {
    float proba[PFN_MAX_CLASSES];
    const int32_t n_classes = ask(self_in, values, proba)->n_classes;
    int32_t best = 0;
    for (int32_t c = 1; c < n_classes; c++) {
        best = proba[c] > proba[best] ? c : best;
    }
    return MP_OBJ_NEW_SMALL_INT(best);
}
static MP_DEFINE_CONST_FUN_OBJ_2(classifier_predict_obj, classifier_predict);

static mp_obj_t classifier_save(mp_obj_t self_in) {
    const classifier *self = MP_OBJ_TO_PTR(self_in);
    vstr_t bytes;
    int32_t n_bytes = 0;
    vstr_init_len(&bytes, (size_t)PFN_SAVED_BYTES);
    check(pfn_context_save(&self->context, (uint8_t *)bytes.buf, (int32_t)bytes.len, &n_bytes));
    bytes.len = (size_t)n_bytes;
    return mp_obj_new_bytes_from_vstr(&bytes);
}
static MP_DEFINE_CONST_FUN_OBJ_1(classifier_save_obj, classifier_save);

static mp_obj_t classifier_load(mp_obj_t self_in, mp_obj_t saved) {
    classifier *self = MP_OBJ_TO_PTR(self_in);
    mp_buffer_info_t bytes;
    mp_get_buffer_raise(saved, &bytes, MP_BUFFER_READ);
    check(pfn_context_load(&self->context, bytes.buf, (int32_t)bytes.len));
    self->n_features = self->context.n_features;
    self->n_classes = self->context.n_classes;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(classifier_load_obj, classifier_load);

static const mp_rom_map_elem_t classifier_table[] = {
    {MP_ROM_QSTR(MP_QSTR_fit), MP_ROM_PTR(&classifier_fit_obj)},
    {MP_ROM_QSTR(MP_QSTR_predict_proba), MP_ROM_PTR(&classifier_predict_proba_obj)},
    {MP_ROM_QSTR(MP_QSTR_predict), MP_ROM_PTR(&classifier_predict_obj)},
    {MP_ROM_QSTR(MP_QSTR_save), MP_ROM_PTR(&classifier_save_obj)},
    {MP_ROM_QSTR(MP_QSTR_load), MP_ROM_PTR(&classifier_load_obj)},
};
static MP_DEFINE_CONST_DICT(classifier_dict, classifier_table);

static MP_DEFINE_CONST_OBJ_TYPE(classifier_type, MP_QSTR_Classifier, MP_TYPE_FLAG_NONE, make_new,
                                classifier_make_new, locals_dict, &classifier_dict);

static const mp_rom_map_elem_t module_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_@MODULE@)},
    {MP_ROM_QSTR(MP_QSTR_Classifier), MP_ROM_PTR(&classifier_type)},
    {MP_ROM_QSTR(MP_QSTR_MAX_FEATURES), MP_ROM_INT(PFN_MAX_FEATURES)},
    {MP_ROM_QSTR(MP_QSTR_MAX_CLASSES), MP_ROM_INT(PFN_MAX_CLASSES)},
};
static MP_DEFINE_CONST_DICT(module_dict, module_table);

const mp_obj_module_t @MODULE@_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&module_dict,
};
MP_REGISTER_MODULE(MP_QSTR_@MODULE@, @MODULE@_module);
