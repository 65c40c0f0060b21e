/* The weights of the network. E = PFN_D_MODEL, M = PFN_D_MLP. */

enum { UNKNOWN = PFN_MAX_CLASSES, EVIDENCE }; /* rows of `targets`, after those of the classes */
enum { MISSING = PFN_N_KNOTS }; /* the last row of `values`, after those of the knots */

typedef struct { /* the inner half of an MLP */
    PFN_MATRIX(PFN_D_MLP, PFN_D_MODEL) weight;
    pfn_number bias[PFN_D_MLP];
} pfn_hidden;

typedef struct {
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) column_query; /* 1 / sqrt(head width) is folded in */
    PFN_MATRIX(2 * PFN_D_MODEL, PFN_D_MODEL) column_key_value;
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) column_out;
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) row_query;
    PFN_MATRIX(2 * PFN_D_MODEL, PFN_D_MODEL) row_key_value;
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) row_out;
    PFN_ATTENTION_WEIGHTS /* of the attention between rows */
    pfn_hidden hidden;
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MLP) out;
    pfn_sum out_bias[PFN_D_MODEL];
} pfn_layer;

typedef PFN_MATRIX(PFN_MAX_CLASSES + 2, PFN_D_MODEL) pfn_targets; /* classes, unknown, evidence */

typedef struct {
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) query;
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) out;
} pfn_reading;

typedef struct {
    PFN_MATRIX(PFN_N_KNOTS + PFN_MISSING_FLAG, PFN_D_MODEL) values;
    pfn_targets targets;
#if PFN_TARGET_AWARE
    pfn_targets hints;
#endif
    pfn_layer layers[PFN_N_LAYERS];
#if PFN_SEPARATE_QUERY_WEIGHTS
    pfn_reading reading[PFN_N_LAYERS - 1]; /* how query rows read in all layers but the last */
#endif
    pfn_hidden head_hidden;
    PFN_MATRIX(PFN_MAX_CLASSES, PFN_D_MLP) head_out;
    pfn_sum head_out_bias[PFN_MAX_CLASSES];
} pfn_network;
