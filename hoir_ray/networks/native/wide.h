/* Joining links with the outputs side by side: NV vectors of outputs and NR rows at a time, constants in every call. */

#pragma once

#include "layout.h"

/* The table with its rows padded to whole vectors; the table itself where they are whole already. */
static REAL *pad_table(const Plan *p, const REAL *table) {
    int64_t out = p->num_outputs, width = padded(out), rows = p->num_inputs * p->num_rows;
    if (out == width) return (REAL *)table;
    REAL *copy = allocate(rows * width, sizeof(REAL));
    for (int64_t row = 0; copy && row < rows; row++) {
        memcpy(copy + row * width, table + row * out, out * sizeof(REAL));
        memset(copy + row * width + out, 0, (width - out) * sizeof(REAL));
    }
    return copy;
}

static void pad_grad(const Plan *p, Scratch *s, const REAL *grad, int64_t rows) {
    int64_t out = p->num_outputs, width = padded(out);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(s->grad + r * width, grad + r * out, out * sizeof(REAL));
        memset(s->grad + r * width + out, 0, (width - out) * sizeof(REAL));
    }
}

INLINE const vec *table_row(const Plan *p, const Scratch *s, const REAL *table, int sparse, int64_t i, int64_t r, int64_t o) {
    int64_t row = i * p->num_rows + (sparse ? s->first[i * CHUNK + r] : 0);
    return (const vec *)(table + row * padded(p->num_outputs) + o);
}

INLINE void weigh_rows(const Plan *p, const Scratch *s, const REAL *weigh, const REAL *table, int sparse, int64_t i, int64_t r,
                 int64_t o, int NV, int NR, vec f[][MOST_VECTORS]) {
    int64_t n = p->num_values, step = padded(p->num_outputs) / LANES;
    const REAL *v = weigh + i * n * CHUNK + r;
    if (sparse) {
        UNROLL for (int q = 0; q < NR; q++) {
            const vec *row = table_row(p, s, table, 1, i, r + q, o);
            for (int64_t k = 0; k < n; k++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] += v[k * CHUNK + q] * row[k * step + c];
        }
    } else {
        const vec *row = table_row(p, s, table, 0, i, r, o);
        for (int64_t k = 0; k < n; k++)
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] += v[k * CHUNK + q] * row[k * step + c];
    }
}

INLINE void forward_block(const Plan *p, Scratch *s, const REAL *table, REAL *output, int64_t rows, int64_t o, int sparse,
                          int product, int NV, int NR) {
    int64_t out = p->num_outputs, count = out - o < NV * LANES ? out - o : NV * LANES;
    for (int64_t r = 0; r < rows; r += NR) {
        vec total[MOST_ROWS][MOST_VECTORS], f[MOST_ROWS][MOST_VECTORS];
        UNROLL for (int q = 0; q < NR; q++)
            UNROLL for (int c = 0; c < NV; c++) total[q][c] = (vec){0} + (REAL)product;
        for (int64_t i = 0; i < p->num_inputs; i++) {
            if (!product) {
                weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, NR, total);
                continue;
            }
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] = (vec){0} + (REAL)1;
            weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, NR, f);
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) total[q][c] *= f[q][c];
        }
        for (int q = 0; q < NR && r + q < rows; q++) {
            if (product)
                UNROLL for (int c = 0; c < NV; c++) total[q][c] -= (REAL)1;
            memcpy(output + (r + q) * out + o, total[q], count * sizeof(REAL));
        }
    }
}

/* The slope of one input's link, weighed by the gradient, as a vector whose lanes are still to be added. */
INLINE vec link_slope(const Plan *p, Scratch *s, const REAL *table, const vec *grad, int64_t i, int64_t r, int64_t o,
                      int sparse, int NV) {
    vec f[1][MOST_VECTORS], total = {0};
    UNROLL for (int c = 0; c < NV; c++) f[0][c] = (vec){0};
    weigh_rows(p, s, s->slopes, table, sparse, i, r, o, NV, 1, f);
    UNROLL for (int c = 0; c < NV; c++) total += f[0][c] * grad[c];
    return total;
}

INLINE void add_to_rows(const Plan *p, Scratch *s, REAL *grad_table, const vec *grad, int64_t i, int64_t r, int64_t o,
                        int sparse, int NV) {
    int64_t n = p->num_values, step = padded(p->num_outputs) / LANES;
    vec *row = (vec *)table_row(p, s, grad_table, sparse, i, r, o);
    const REAL *v = s->values + i * n * CHUNK + r;
    for (int64_t k = 0; k < n; k++)
        UNROLL for (int c = 0; c < NV; c++) row[k * step + c] += v[k * CHUNK] * grad[c];
}

/* Table rows that every row of the batch weighs: their gradients stay in registers. */
INLINE void add_dense(const Plan *p, Scratch *s, const REAL *values, REAL *grad_table, int64_t rows, int64_t m, int64_t o, int NV, int NM) {
    int64_t width = padded(p->num_outputs);
    vec total[4][MOST_VECTORS];
    UNROLL for (int j = 0; j < NM; j++)
        UNROLL for (int c = 0; c < NV; c++) total[j][c] = *(vec *)(grad_table + (m + j) * width + o + c * LANES);
    for (int64_t r = 0; r < rows; r++) {
        const vec *grad = (const vec *)(s->grad + r * width + o);
        UNROLL for (int j = 0; j < NM; j++)
            UNROLL for (int c = 0; c < NV; c++) total[j][c] += values[(m + j) * CHUNK + r] * grad[c];
    }
    UNROLL for (int j = 0; j < NM; j++)
        UNROLL for (int c = 0; c < NV; c++) *(vec *)(grad_table + (m + j) * width + o + c * LANES) = total[j][c];
}

INLINE void sum_backward(const Plan *p, Scratch *s, const REAL *table, REAL *grad_x, REAL *grad_table, int64_t rows,
                         int64_t o, int sparse, int NV) {
    int64_t in = p->num_inputs, width = padded(p->num_outputs), m = 0, all = in * p->num_rows;
    int dense = !sparse || is_spread(p);
    if (dense) {
        const REAL *values = spread(p, s, s->values, s->spread);
        for (; m + 4 <= all; m += 4) add_dense(p, s, values, grad_table, rows, m, o, NV, 4);
        for (; m < all; m++) add_dense(p, s, values, grad_table, rows, m, o, NV, 1);
        if (!grad_x) return;
    }
    for (int64_t i = 0; i < in; i++)
        for (int64_t r = 0; r < rows; r++) {
            const vec *grad = (const vec *)(s->grad + r * width + o);
            if (!dense) add_to_rows(p, s, grad_table, grad, i, r, o, 1, NV);
            if (!grad_x) continue;
            vec lanes = link_slope(p, s, table, grad, i, r, o, sparse, NV);
            grad_x[r * in + i] += sum_lanes(&lanes);
        }
}

/* Each factor's gradient is the product of all others: those before it, kept, times those behind it, carried along. */
INLINE void product_backward(const Plan *p, Scratch *s, const REAL *table, REAL *grad_x, REAL *grad_table, int64_t rows,
                             int64_t o, int sparse, int NV) {
    int64_t in = p->num_inputs, width = padded(p->num_outputs);
    vec(*factor)[MOST_VECTORS] = (void *)s->products, (*before)[MOST_VECTORS] = factor + in;
    for (int64_t r = 0; r < rows; r++) {
        vec running[MOST_VECTORS];
        UNROLL for (int c = 0; c < NV; c++) running[c] = (vec){0} + (REAL)1;
        for (int64_t i = 0; i < in; i++) {
            vec f[1][MOST_VECTORS];
            UNROLL for (int c = 0; c < NV; c++) f[0][c] = (vec){0} + (REAL)1, before[i][c] = running[c];
            weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, 1, f);
            UNROLL for (int c = 0; c < NV; c++) factor[i][c] = f[0][c], running[c] *= f[0][c];
        }
        UNROLL for (int c = 0; c < NV; c++) running[c] = *(vec *)(s->grad + r * width + o + c * LANES);
        for (int64_t i = in - 1; i >= 0; i--) {
            vec grad[MOST_VECTORS];
            UNROLL for (int c = 0; c < NV; c++) grad[c] = running[c] * before[i][c], running[c] *= factor[i][c];
            add_to_rows(p, s, grad_table, grad, i, r, o, sparse, NV);
            if (!grad_x) continue;
            vec lanes = link_slope(p, s, table, grad, i, r, o, sparse, NV);
            grad_x[r * in + i] += sum_lanes(&lanes);
        }
    }
}

#define BY_PLAN(CALL, NV, NR)                                                     \
    do {                                                                          \
        if (p->kind == PIECEWISE && p->is_product) CALL(1, 1, NV, NR);            \
        else if (p->kind == PIECEWISE) CALL(1, 0, NV, NR);                        \
        else if (p->is_product) CALL(0, 1, NV, NR);                               \
        else CALL(0, 0, NV, NR);                                                  \
    } while (0)

#define BY_WIDTH(CALL)                                                            \
    for (int64_t o = 0; o < width;) {                                             \
        int64_t left = (width - o) / LANES;                                       \
        if (left >= 4) { BY_PLAN(CALL, 4, 2); o += 4 * LANES; }                   \
        else if (left == 3) { BY_PLAN(CALL, 3, 4); o += 3 * LANES; }              \
        else if (left == 2) { BY_PLAN(CALL, 2, 4); o += 2 * LANES; }              \
        else { BY_PLAN(CALL, 1, 8); o += LANES; }                                 \
    }
