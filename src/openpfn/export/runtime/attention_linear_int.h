/* Linear attention in integers: what a layer keeps of a column's context rows. The sums of each
 * feature have a step size of their own. */
#define PFN_ATTENTION_WEIGHTS /* none beside its projections */

typedef struct {
    int32_t memory[PFN_N_HEADS][PFN_D_HEAD][PFN_D_HEAD]; /* sum of phi(key) value' */
    int32_t key_sum[PFN_N_HEADS]
                   [PFN_D_HEAD]; /* sum of phi(key) 2^15; bounds |memory| of its feature */
    uint8_t exponent[PFN_N_HEADS]
                    [PFN_D_HEAD]; /* bits the sums lost; finished: fewer than the head's most */
} pfn_state;
