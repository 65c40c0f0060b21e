/* Save a fitted context as bytes, and load it. Machines with the little end first and IEEE floats
 * read each other's. */

/* Copy n bytes of a context to the saved bytes `out` or from the saved bytes `in`, from place `at`
 * on; return the place of the next. With neither, nothing is copied. */
static int32_t move_bytes(void *field, size_t n, uint8_t *out, const uint8_t *in, int32_t at) {
    if (out != NULL) {
        memcpy(out + at, field, n);
    } else if (in != NULL) {
        memcpy(field, in + at, n);
    }
    return at + (int32_t)n;
}

/* Move everything but the sizes, whose values decide how much that is; return where it ends. */
static int32_t move_context(pfn_context *ctx, uint8_t *out, const uint8_t *in, int32_t at) {
    const size_t n_columns = (size_t)ctx->n_columns;
    const size_t n_states = (PFN_N_PASSES - 1) * (n_columns + 1) + 1;
    at = move_bytes(ctx->feature, n_columns, out, in, at);
    at = move_bytes(ctx->place, (size_t)ctx->n_classes, out, in, at);
    at = move_bytes(ctx->origin, n_columns * sizeof(float), out, in, at);
    at = move_bytes(ctx->mean, n_columns * sizeof(float), out, in, at);
    at = move_bytes(ctx->inverse_std, n_columns * sizeof(float), out, in, at);
#ifdef PFN_CLASSES_ARE_NUMBERS
    at = move_bytes(&ctx->mean_place, sizeof ctx->mean_place, out, in, at);
#endif
    return move_bytes(ctx->states, n_states * sizeof(pfn_state), out, in, at);
}

/* Move the sizes; return where they end. */
static int32_t move_sizes(pfn_context *ctx, uint8_t *out, const uint8_t *in) {
    int32_t at = move_bytes(&ctx->fitted, sizeof ctx->fitted, out, in, 0);
    at = move_bytes(&ctx->n_rows, sizeof ctx->n_rows, out, in, at);
    at = move_bytes(&ctx->n_features, sizeof ctx->n_features, out, in, at);
    at = move_bytes(&ctx->n_columns, sizeof ctx->n_columns, out, in, at);
    at = move_bytes(&ctx->n_classes, sizeof ctx->n_classes, out, in, at);
    return move_bytes(&ctx->n_present, sizeof ctx->n_present, out, in, at);
}

/* CRC-32, the checksum of Ethernet and zlib: it finds any three flipped bits and any burst of 32.
 * It goes bit by bit, since a table would take 1 KB of flash. */
static uint32_t checksum(const uint8_t *bytes, int32_t n) {
    uint32_t rest = UINT32_MAX;
    for (int32_t i = 0; i < n; i++) {
        rest ^= bytes[i];
        for (int32_t bit = 0; bit < 8; bit++) {
            rest = rest >> 1 ^ ((rest & 1u) != 0 ? UINT32_C(0xEDB88320) : 0u);
        }
    }
    return ~rest;
}

pfn_status pfn_context_save(const pfn_context *ctx, uint8_t *bytes, int32_t capacity,
                            int32_t *n_bytes) {
    if (ctx == NULL || bytes == NULL || n_bytes == NULL) {
        return PFN_ERROR_ARGUMENT;
    }
    if (ctx->fitted != PFN_MODEL_ID) {
        return PFN_ERROR_NOT_FITTED;
    }
    pfn_context *fields = (pfn_context *)(uintptr_t)ctx; /* read only: `out` is given */
    const int32_t sizes = move_sizes(fields, NULL, NULL);
    const int32_t end = move_context(fields, NULL, NULL, sizes);
    if (end + (int32_t)sizeof(uint32_t) > capacity) {
        return PFN_ERROR_CAPACITY;
    }
    move_sizes(fields, bytes, NULL);
    move_context(fields, bytes, NULL, sizes);
    uint32_t sum = checksum(bytes, end);
    *n_bytes = move_bytes(&sum, sizeof sum, bytes, NULL, end);
    return PFN_OK;
}

/* Whether the loaded sizes are those of some context of this network. */
static int sizes_are_valid(const pfn_context *ctx) {
    return ctx->fitted == PFN_MODEL_ID && ctx->n_rows >= 1 && ctx->n_features >= 1
           && ctx->n_features <= PFN_MAX_FEATURES && ctx->n_columns >= 1
           && ctx->n_columns <= ctx->n_features && ctx->n_classes >= 1
           && ctx->n_classes <= PFN_MAX_CLASSES && ctx->n_present >= 1
           && ctx->n_present <= ctx->n_classes;
}

/* Whether loaded indices lie within what they index, numbers within what fit makes, and states
 * within the bounds of their mechanism. */
static int fields_are_valid(const pfn_context *ctx) {
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        if ((ctx->feature[c] >= ctx->n_features && ctx->feature[c] != NO_FEATURE)
            || !(magnitude(ctx->origin[c]) <= LARGEST_VALUE)
            || !(magnitude(ctx->mean[c]) <= 4.0f * LARGEST_VALUE)
            || !(magnitude(ctx->inverse_std[c]) <= 1e32f)) {
            return 0;
        }
    }
    for (int32_t c = 0; c < ctx->n_classes; c++) {
        if (ctx->place[c] >= ctx->n_classes) {
            return 0;
        }
    }
#ifdef PFN_CLASSES_ARE_NUMBERS
    if (!(magnitude(ctx->mean_place) <= (float)PFN_MAX_CLASSES)) {
        return 0;
    }
#endif
    for (int32_t i = 0; i < (PFN_N_PASSES - 1) * (ctx->n_columns + 1) + 1; i++) {
        if (!state_is_valid(&ctx->states[i])) {
            return 0;
        }
    }
    return 1;
}

pfn_status pfn_context_load(pfn_context *ctx, const uint8_t *bytes, int32_t n_bytes) {
    if (ctx == NULL || bytes == NULL) {
        return PFN_ERROR_ARGUMENT;
    }
    memset(ctx, 0, sizeof *ctx);
    const int32_t sizes = move_sizes(ctx, NULL, NULL);
    pfn_status status = PFN_ERROR_SAVED;
    if (n_bytes >= sizes) {
        move_sizes(ctx, NULL, bytes);
        uint32_t sum = 0;
        if (sizes_are_valid(ctx)) {
            const int32_t end = move_context(ctx, NULL, NULL, sizes);
            if (n_bytes == end + (int32_t)sizeof sum) {
                move_context(ctx, NULL, bytes, sizes);
                move_bytes(&sum, sizeof sum, NULL, bytes, end);
                if (sum == checksum(bytes, end) && fields_are_valid(ctx)) {
                    status = PFN_OK;
                }
            }
        }
    }
    if (status != PFN_OK) {
        ctx->fitted = 0;
    }
    return status;
}
