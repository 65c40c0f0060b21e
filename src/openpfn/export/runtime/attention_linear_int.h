/* What a layer keeps of a column's context rows: linear attention in integers. Each feature's sums have a step of their own. */
typedef struct {
    int32_t memory[PFN_N_HEADS][PFN_D_HEAD][PFN_D_HEAD];    /* sum of phi(key) value' */
    int32_t key_sum[PFN_N_HEADS][PFN_D_HEAD];               /* sum of phi(key) 2^15: no less than any |memory| of its feature */
    uint8_t exponent[PFN_N_HEADS][PFN_D_HEAD];              /* bits that the sums were shortened by; in the end, fewer than the head's most */
} pfn_state;
