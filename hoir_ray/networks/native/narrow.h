/* Joining links whose outputs are too few to fill a vector, such as a picture's three: rows side by side instead.
 *
 * Each input's values are spread over all its V table rows, zero where they do not reach, so that every row of the
 * batch weighs the same numbers. */

#pragma once

#include "layout.h"

#define TOGETHER (VECTOR_BYTES == 64 && GROUPS >= 4 ? 4 : 2) /* vectors of rows, MOST_OUTPUTS times in registers */

INLINE void narrow_forward(const Plan *p, Scratch *s, const REAL *table, REAL *output, int64_t rows, int NO) {
    const vec *values = (const vec *)(is_spread(p) ? s->spread : s->values);
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

    const vec *values = (const vec *)(is_spread(p) ? s->spread : s->values);
    for (int64_t m = 0; m < in * num_rows; m++)
        UNROLL for (int o = 0; o < NO; o++) {
            vec total = {0};
            for (int g = 0; g < GROUPS; g++) total += values[m * GROUPS + g] * side_by_side[o][g];
            grad_table[m * NO + o] += sum_lanes(&total);
        }
    if (!grad_x) return;

    for (int64_t i = 0; i < in; i++) {
        REAL column[CHUNK];
        for (int64_t m = 0; m < num_rows; m++)
            for (int g = 0; g < GROUPS; g++) {
                vec weighed = {0};
                UNROLL for (int o = 0; o < NO; o++) weighed += table[(i * num_rows + m) * NO + o] * side_by_side[o][g];
                *((vec *)(s->weighed + m * CHUNK) + g) = weighed;
            }
        sum_slopes(p, s, i, s->weighed, column);
        for (int64_t r = 0; r < rows; r++) grad_x[r * in + i] += column[r];
    }
}

#define BY_OUTPUTS(CALL)                 \
    switch (p->num_outputs) {            \
        case 1: CALL(1); break;          \
        case 2: CALL(2); break;          \
        case 3: CALL(3); break;          \
        default: CALL(4);                \
    }
