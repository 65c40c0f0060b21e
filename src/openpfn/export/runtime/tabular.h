/* The embedding of one cell of the table, and the memory that the network works in. */
#if PFN_INTEGER
typedef int32_t pfn_sum;    /* cells and what is added to them, in steps of 2^-PFN_CELL_BITS */
typedef int16_t pfn_number; /* what a matrix reads and gives, in steps of its own */
#else
typedef float pfn_sum;
typedef float pfn_number;
#endif
typedef pfn_sum pfn_cell[PFN_D_MODEL];

/* Memory of the network: the cells of one row of the table (the target last), the keys and values
 * that its columns show each other, and the scores of one column that asks. */
#define PFN_WORKSPACE                                           \
    struct {                                                    \
        pfn_cell cells[PFN_MAX_COLUMNS];                        \
        pfn_number key_value[PFN_MAX_COLUMNS][2 * PFN_D_MODEL]; \
        pfn_sum scores[PFN_MAX_COLUMNS];                        \
    } network;
