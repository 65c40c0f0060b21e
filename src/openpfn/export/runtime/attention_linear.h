/* Linear attention: what a layer keeps of a column's context rows. */
#define PFN_ATTENTION_WEIGHTS /* none beside its projections */

typedef struct {
    float memory[PFN_N_HEADS][PFN_D_HEAD][PFN_D_HEAD]; /* sum of phi(key) value' */
    float key_sum[PFN_N_HEADS][PFN_D_HEAD];            /* sum of phi(key) */
} pfn_state;
