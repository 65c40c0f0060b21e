/* The embedding of one cell of the table, and the memory that the network works in. */
typedef float pfn_cell[PFN_D_MODEL];

#define PFN_WORKSPACE                                                                                        \
    struct {                                                                                                 \
        pfn_cell cells[PFN_MAX_COLUMNS];                    /* one row of the table, the target last */      \
        float key_value[PFN_MAX_COLUMNS][2 * PFN_D_MODEL];  /* what its columns show each other */           \
        float scores[PFN_MAX_COLUMNS];                                                                       \
    } network;
