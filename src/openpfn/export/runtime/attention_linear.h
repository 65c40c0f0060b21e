/* What a layer keeps of a column's context rows: linear attention. */
typedef struct {
    float memory[PFN_N_HEADS][PFN_D_HEAD][PFN_D_HEAD];      /* sum of phi(key) value' */
    float key_sum[PFN_N_HEADS][PFN_D_HEAD];                 /* sum of phi(key) */
} pfn_state;
