/* What a layer keeps of a column's context rows: ridge attention. */
typedef struct {
    float gram[PFN_N_HEADS][PFN_D_HEAD * (PFN_D_HEAD + 1) / 2];     /* sum of key key', lower triangle; needed while fitting */
    float weights[PFN_N_HEADS][PFN_D_HEAD][PFN_D_HEAD];             /* sum of key value', then the regression's weights */
} pfn_state;
