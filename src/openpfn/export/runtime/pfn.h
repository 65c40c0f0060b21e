/* OpenPFN on a chip: show context rows to a trained network (fit), then ask it about new rows
 * (predict).
 *
 * C99. No allocation, no input or output, no global that changes: the caller owns the context and
 * the scratch memory. A missing value is NaN. A row is n_features floats; a label lies between 0
 * and n_classes - 1.
 *
 *     static pfn_context context;    // what is kept of the context rows
 *     static pfn_workspace scratch;  // free to reuse between calls
 *     if (pfn_fit(&context, x, y, 50, 5, 3, &scratch) == PFN_OK)
 *         pfn_predict_proba(&context, row, proba, &scratch);  // proba has 3 floats
 */
#ifndef PFN_H
#define PFN_H

#include <stdint.h>

#include "pfn_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Smaller maxima than those exported save memory: compile everything with, say,
 * -DPFN_MAX_FEATURES=5. */
#ifndef PFN_MAX_FEATURES
#define PFN_MAX_FEATURES PFN_EXPORTED_FEATURES
#endif
#if PFN_MAX_FEATURES < 1 || PFN_MAX_FEATURES > 255
#error "PFN_MAX_FEATURES must lie between 1 and 255"
#endif

/* The target is the last column; of the last layer, its state alone is needed. */
#define PFN_MAX_COLUMNS (PFN_MAX_FEATURES + 1)
#define PFN_N_STATES ((PFN_N_PASSES - 1) * PFN_MAX_COLUMNS + 1)

typedef enum {
    PFN_OK = 0,
    PFN_ERROR_ARGUMENT,   /* a null pointer, or scratch memory that is not aligned for float */
    PFN_ERROR_FEATURES,   /* n_features is not within 1 ... PFN_MAX_FEATURES */
    PFN_ERROR_CLASSES,    /* n_classes is not within 1 ... PFN_MAX_CLASSES */
    PFN_ERROR_ROWS,       /* no context row */
    PFN_ERROR_LABEL,      /* a label is not within 0 ... n_classes - 1 */
    PFN_ERROR_VALUE,      /* a value above 1e25, or a feature that varies by less than 1e-25 */
    PFN_ERROR_SOURCE,     /* the row source failed, or gave other rows when asked again */
    PFN_ERROR_NOT_FITTED, /* the context was not fitted: fit it before asking it */
    PFN_ERROR_SAVED,      /* bytes that are no whole context of this network */
    PFN_ERROR_CAPACITY    /* too few bytes to save into */
} pfn_status;

/* What is kept of the context rows; its size does not depend on their number. In the comments, D is
 * n_columns: the features that vary, at least one. */
typedef struct {
    uint32_t fitted;    /* PFN_MODEL_ID once fitted */
    int32_t n_rows;     /* context rows */
    int32_t n_features; /* floats in a row */
    int32_t n_columns;  /* D */
    int32_t n_classes;  /* classes that the labels may name */
    int32_t n_present;  /* classes that context rows have */

    uint8_t feature[PFN_MAX_FEATURES]; /* (D) the feature that a column reads */
    uint8_t place[PFN_MAX_CLASSES];    /* (n_classes) a class's place in their order */
    float origin[PFN_MAX_FEATURES];    /* (D) a value; differences from it are exact */
    float mean[PFN_MAX_FEATURES];      /* (D) mean difference from the origin */

    /* (D) 1 / standard deviation; 0 where a value is present or missing, but always the same */
    float inverse_std[PFN_MAX_FEATURES];
#ifdef PFN_CLASSES_ARE_NUMBERS
    float mean_place; /* over context rows: the target of a row whose class is asked for */
#endif
    /* (layers - 1, D + 1), then the target's of the last layer */
    pfn_state states[PFN_N_STATES];
} pfn_context;

/* A sum of n floats; `rest` is what `sum` has rounded off. */
typedef struct {
    float sum, rest;
    int32_t n;
} pfn_total;

/* Memory that fit and predict work in. */
typedef struct {
    float row[PFN_MAX_FEATURES];
    union {
        PFN_WORKSPACE
        struct { /* while the rows are counted */
            pfn_total columns[PFN_MAX_FEATURES];
#ifndef PFN_CLASSES_ARE_NUMBERS
            pfn_total of_class[PFN_MAX_CLASSES][PFN_MAX_FEATURES];
#endif
            int32_t class_rows[PFN_MAX_CLASSES];
        } counts;
    } use;
} pfn_workspace;

#define PFN_CONTEXT_BYTES sizeof(pfn_context)
#define PFN_SCRATCH_BYTES sizeof(pfn_workspace)
#define PFN_CACHE_BYTES(n_rows, n_features) \
    ((int32_t)sizeof(pfn_cell) * (n_rows) * ((n_features) + 1))

/* What a saved context takes at most. */
#define PFN_SAVED_STATES (PFN_N_STATES * (int32_t)sizeof(pfn_state))
#define PFN_SAVED_BYTES (32 + PFN_MAX_FEATURES * 13 + PFN_MAX_CLASSES + PFN_SAVED_STATES)

/* A function of yours that writes row number `row` into x and its label into y and returns 1, or
 * returns 0 where there is no such row and -1 where it cannot be read. Rows are asked for in order
 * from number 0, several times over: row 0 means "from the beginning". */
typedef int32_t (*pfn_row_source)(void *user, int32_t row, float *x, int32_t *y);

/* Fit rows that lie in memory: x (n_rows, n_features) row by row, y (n_rows). */
pfn_status pfn_fit(pfn_context *ctx, const float *x, const int32_t *y, int32_t n_rows,
                   int32_t n_features, int32_t n_classes, void *scratch);

/* Fit any number of rows from a source. `cache` (NULL for none) speeds it up:
 * PFN_CACHE_BYTES(n_rows, n_features) hold all rows, fewer the first ones. */
pfn_status pfn_fit_stream(pfn_context *ctx, pfn_row_source next_row, void *user, int32_t n_features,
                          int32_t n_classes, void *cache, int32_t cache_bytes, void *scratch);

/* proba (n_classes): the probability of each class; 0 for a class without context rows. */
pfn_status pfn_predict_proba(const pfn_context *ctx, const float *row, float *proba, void *scratch);

/* logits (n_classes): what proba is the softmax of; -infinity for a class without context rows. */
pfn_status pfn_predict_logits(const pfn_context *ctx, const float *row, float *logits,
                              void *scratch);

/* The fitted context as bytes, the same on every machine; `n_bytes` gets their number. */
pfn_status pfn_context_save(const pfn_context *ctx, uint8_t *bytes, int32_t capacity,
                            int32_t *n_bytes);

/* The context that was saved by the same network. Bytes that are damaged, or of another network,
 * are refused. */
pfn_status pfn_context_load(pfn_context *ctx, const uint8_t *bytes, int32_t n_bytes);

#ifdef __cplusplus
}
#endif
#endif
