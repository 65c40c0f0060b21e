/* Linear attention in integers: what a layer keeps of a column's context rows.
 * The sums of each feature have a step size of their own. */
#define PFN_ATTENTION_WEIGHTS /* none beside its projections */

typedef struct {
    /* sum of phi(key) value' */
    int32_t memory[PFN_N_HEADS][PFN_D_HEAD][PFN_D_HEAD];
    /* sum of phi(key) 2^15, which bounds |memory| of its feature */
    int32_t key_sum[PFN_N_HEADS][PFN_D_HEAD];
    /* bits by which the sums were shortened, head by head; after fit, fewer than the most of its
     * head. Their number is a multiple of 4: so contexts have the same bytes on every core. */
    uint8_t exponent[(PFN_N_HEADS * PFN_D_HEAD + 3) / 4 * 4];
} pfn_state;
