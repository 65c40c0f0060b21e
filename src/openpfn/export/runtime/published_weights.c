/* The weights of a published post-norm network. E = PFN_D_MODEL, M = PFN_D_MLP. */

typedef struct { /* LayerNorm (Ba et al. 2016) */
    float scale[PFN_D_MODEL];
    float shift[PFN_D_MODEL];
} pfn_norm;

typedef struct { /* between columns or rows; 1 / sqrt(head width) is folded into queries and keys */
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) query;
    float query_bias[PFN_D_MODEL];
    PFN_MATRIX(2 * PFN_D_MODEL, PFN_D_MODEL) key_value;
    float key_value_bias[2 * PFN_D_MODEL];
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MODEL) out;
    float out_bias[PFN_D_MODEL];
    pfn_norm norm;
} pfn_attention;

typedef struct { /* the inner half of an MLP */
    PFN_MATRIX(PFN_D_MLP, PFN_D_MODEL) weight;
    float bias[PFN_D_MLP];
} pfn_hidden;

typedef struct {
    pfn_attention columns;
    pfn_attention rows;
    pfn_hidden hidden;
    PFN_MATRIX(PFN_D_MODEL, PFN_D_MLP) out;
    float out_bias[PFN_D_MODEL];
    pfn_norm norm;
} pfn_layer;

typedef struct { /* a line in E dimensions */
    PFN_MATRIX(1, PFN_D_MODEL) slope;
    float start[PFN_D_MODEL];
} pfn_line;

typedef struct {
    pfn_line values;
    pfn_line targets; /* of a class's number */
    pfn_layer layers[PFN_N_LAYERS];
    pfn_hidden head_hidden;
    PFN_MATRIX(PFN_MAX_CLASSES, PFN_D_MLP) head_out;
    float head_out_bias[PFN_MAX_CLASSES];
} pfn_network;
