/* The smallest program that fits and predicts, or with -DFROZEN predicts from pfn_fitted.h. It is
 * linked to measure its size, and never run. */
#include "pfn.h"

int main(void);
volatile const void *volatile room[5];

#ifdef FROZEN
#include "pfn_fitted.h"
#define CONTEXT &pfn_fitted
static pfn_status fit(void) {
    return PFN_OK;
}
#else
#define CONTEXT (const pfn_context *)room[0]
static pfn_status fit(void) {
    return pfn_fit((pfn_context *)room[0], (const float *)room[1], (const int32_t *)room[2], 0, 0,
                   0, (void *)room[3]);
}
#endif

int main(void) {
    return (int)fit()
           + (int)pfn_predict_proba(CONTEXT, (const float *)room[1], (float *)room[4],
                                    (void *)room[3]);
}
