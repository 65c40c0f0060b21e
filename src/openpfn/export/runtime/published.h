/* The embedding of one cell of the table, and the memory that the network works in. */
typedef float pfn_sum;
typedef float pfn_number;
typedef pfn_sum pfn_cell[PFN_D_MODEL];

/* Memory of the network: the cells of one row of the table (the target last), and what its columns
 * show each other. */
#define PFN_WORKSPACE                    \
    struct {                             \
        pfn_cell cells[PFN_MAX_COLUMNS]; \
        pfn_state columns;               \
    } network;
