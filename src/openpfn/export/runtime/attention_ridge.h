/* Ridge attention: what a layer keeps of a column's context rows. */
#define PFN_ATTENTION_WEIGHTS float ridge[PFN_N_HEADS]; /* lambda of each head */

typedef struct {
    /* sum of key key', its lower triangle; fit alone reads it */
    float gram[PFN_N_HEADS][PFN_D_HEAD * (PFN_D_HEAD + 1) / 2];
    /* sum of key value'; after fit, the weights of the regression */
    float weights[PFN_N_HEADS][PFN_D_HEAD][PFN_D_HEAD];
} pfn_state;
