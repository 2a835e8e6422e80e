/* Joining links whose outputs are too few to fill a vector, such as a picture's three: rows side by side instead.
 *
 * Each input's values are spread over all its V table rows, zero where they do not reach, so every row of the batch
 * weighs the same numbers. That is worth it while V is not many times n. */

#pragma once

#include "layout.h"

#define MOST_OUTPUTS 4
#define MOST_ROWS_PER_VALUE 4
#define GROUPS ((int)(CHUNK / LANES))
#define TOGETHER (VECTOR_BYTES == 64 && GROUPS >= 4 ? 4 : 2) /* vectors of rows, MOST_OUTPUTS times in registers */

static int is_narrow(const Plan *p) {
    return !p->is_product && p->num_outputs <= MOST_OUTPUTS && p->num_rows <= MOST_ROWS_PER_VALUE * p->num_values;
}

/* Values [in, n, CHUNK] at their rows of [in, V, CHUNK]; where n = V, as they are. */
static const REAL *spread(const Plan *p, const Scratch *s, const REAL *values, REAL *all) {
    int64_t in = p->num_inputs, n = p->num_values, num_rows = p->num_rows;
    if (p->kind != PIECEWISE) return values;
    memset(all, 0, in * num_rows * CHUNK * sizeof(REAL));
    for (int64_t i = 0; i < in; i++) {
        const int32_t *first = s->first + i * CHUNK;
        for (int32_t segment = 0; segment < p->segments; segment++) {
            int32_t start = segment * (int32_t)p->stride;
            for (int64_t k = 0; k < n; k++) {
                const REAL *from = values + (i * n + k) * CHUNK;
                REAL *to = all + (i * num_rows + start + k) * CHUNK;
                for (int r = 0; r < CHUNK; r++) to[r] += first[r] == start ? from[r] : 0;
            }
        }
    }
    return all;
}

INLINE void narrow_forward(const Plan *p, Scratch *s, const REAL *table, REAL *output, int64_t rows, int NO) {
    const vec *values = (const vec *)spread(p, s, s->values, s->spread);
    int64_t all = p->num_inputs * p->num_rows;
    REAL sums[MOST_OUTPUTS][CHUNK];
    for (int g = 0; g < GROUPS; g += TOGETHER) {
        vec total[MOST_OUTPUTS][4];
        UNROLL for (int o = 0; o < NO; o++)
            UNROLL for (int t = 0; t < TOGETHER; t++) total[o][t] = (vec){0};
        for (int64_t m = 0; m < all; m++)
            UNROLL for (int o = 0; o < NO; o++)
                UNROLL for (int t = 0; t < TOGETHER; t++) total[o][t] += table[m * NO + o] * values[m * GROUPS + g + t];
        UNROLL for (int o = 0; o < NO; o++)
            UNROLL for (int t = 0; t < TOGETHER; t++) *(vec *)(sums[o] + (g + t) * LANES) = total[o][t];
    }
    for (int64_t r = 0; r < rows; r++)
        UNROLL for (int o = 0; o < NO; o++) output[r * NO + o] = sums[o][r];
}

INLINE void narrow_backward(const Plan *p, Scratch *s, const REAL *table, const REAL *grad, REAL *grad_x,
                            REAL *grad_table, int64_t rows, int NO) {
    int64_t in = p->num_inputs, num_rows = p->num_rows;
    vec side_by_side[MOST_OUTPUTS][CHUNK / 4];
    for (int o = 0; o < NO; o++)
        for (int64_t r = 0; r < CHUNK; r++) ((REAL *)side_by_side[o])[r] = r < rows ? grad[r * NO + o] : 0;

    const vec *values = (const vec *)spread(p, s, s->values, s->spread);
    for (int64_t m = 0; m < in * num_rows; m++)
        UNROLL for (int o = 0; o < NO; o++) {
            vec total = {0};
            for (int g = 0; g < GROUPS; g++) total += values[m * GROUPS + g] * side_by_side[o][g];
            grad_table[m * NO + o] += sum_lanes(&total);
        }
    if (!grad_x) return;

    const vec *slopes = (const vec *)spread(p, s, s->slopes, s->spread);
    for (int64_t i = 0; i < in; i++) {
        REAL column[CHUNK];
        for (int g = 0; g < GROUPS; g++) {
            vec total = {0};
            for (int64_t m = i * num_rows; m < (i + 1) * num_rows; m++) {
                vec weighed = {0};
                UNROLL for (int o = 0; o < NO; o++) weighed += table[m * NO + o] * side_by_side[o][g];
                total += slopes[m * GROUPS + g] * weighed;
            }
            *(vec *)(column + g * LANES) = total;
        }
        for (int64_t r = 0; r < rows; r++) grad_x[r * in + i] = column[r];
    }
}

#define BY_OUTPUTS(CALL)                 \
    switch (p->num_outputs) {            \
        case 1: CALL(1); break;          \
        case 2: CALL(2); break;          \
        case 3: CALL(3); break;          \
        default: CALL(4);                \
    }
