/* Ridge attention: what a layer keeps of a column's context rows. */
#define PFN_ATTENTION_WEIGHTS float ridge[PFN_N_HEADS]; /* lambda of each head */

typedef struct {
    float gram[PFN_N_HEADS][PFN_D_HEAD * (PFN_D_HEAD + 1)
                            / 2]; /* sum of key key', lower triangle; read by fit alone */
    float weights[PFN_N_HEADS][PFN_D_HEAD]
                 [PFN_D_HEAD]; /* sum of key value'; finished: the regression */
} pfn_state;
