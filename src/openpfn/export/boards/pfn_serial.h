/* Lend a board's network to a computer over a serial line: it fits rows that the computer sends and
 * answers others.
 *
 * Each side speaks in lines of words. The first word says what a line is; the others are 8
 * hexadecimal digits, the bits of a float or of an integer. A context row is asked for when it is
 * needed, several times over, so that the board keeps none of them.
 *
 *     computer                 board
 *     hello                    openpfn VERSION MODEL_ID MAX_FEATURES MAX_CLASSES CONTEXT_BYTES
 *                              SCRATCH_BYTES
 *     fit FEATURES CLASSES     row NUMBER, and after each answer the next, then: fitted STATUS
 *         row LABEL X ...      (the answer)
 *         end                  (there is no such row)
 *     ask X ...                answer STATUS MICROSECONDS LOGIT ...
 *     an empty line            (nothing)
 *     anything else            error
 */
#ifndef PFN_SERIAL_H
#define PFN_SERIAL_H

#include "pfn.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PFN_SERIAL_VERSION = 1 };

typedef struct {
    int32_t (*read)(void); /* the next byte, or -1 where none has come for a while */
    void (*write)(const char *bytes, int32_t n);
    uint32_t (*clock)(void); /* microseconds */
    pfn_context context;
    pfn_workspace scratch;
    char word[8];                          /* of the latest line */
    uint32_t values[PFN_MAX_FEATURES + 1]; /* what follows it */
    int32_t n_values;
} pfn_board;

/* Answer one line, if one comes. Call it again and again. */
void pfn_serial_answer(pfn_board *board);

#ifdef __cplusplus
}
#endif
#endif
