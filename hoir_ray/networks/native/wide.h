/* Joining links with the outputs side by side: NV vectors of outputs and NR rows at a time, constants in every call. */

#pragma once

#include "layout.h"

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
        const vec *row[MOST_ROWS];
        UNROLL for (int q = 0; q < NR; q++) row[q] = table_row(p, s, table, 1, i, r + q, o);
        for (int64_t k = 0; k < n; k++, v += CHUNK)
            UNROLL for (int q = 0; q < NR; q++) {
                UNROLL for (int c = 0; c < NV; c++) f[q][c] += v[q] * row[q][c];
                row[q] += step;
            }
    } else {
        const vec *row = table_row(p, s, table, 0, i, r, o);
        for (int64_t k = 0; k < n; k++)
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] += v[k * CHUNK + q] * row[k * step + c];
    }
}

/* Outputs of a sum, an input after the other for all rows of the chunk as long as their weights fit beside them in the
 * nearest cache. The sums wait in s->grad, whose rows are padded. */
INLINE void sum_forward(const Plan *p, Scratch *s, const REAL *table, int64_t rows, int64_t o, int sparse, int NV, int NR) {
    int64_t in = p->num_inputs, width = padded(p->num_outputs), each = p->num_rows * width * (int64_t)sizeof(REAL);
    int64_t together = each < NEAR_BYTES ? NEAR_BYTES / each : 1;
    for (int64_t start = 0; start < in; start += together) {
        int64_t stop = start + together < in ? start + together : in;
        for (int64_t r = 0; r < rows; r += NR) {
            vec total[MOST_ROWS][MOST_VECTORS];
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++)
                    total[q][c] = start ? *(vec *)(s->grad + (r + q) * width + o + c * LANES) : (vec){0};
            for (int64_t i = start; i < stop; i++) weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, NR, total);
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) *(vec *)(s->grad + (r + q) * width + o + c * LANES) = total[q][c];
        }
    }
}

INLINE void product_forward(const Plan *p, Scratch *s, const REAL *table, int64_t rows, int64_t o, int sparse, int NV, int NR) {
    int64_t width = padded(p->num_outputs);
    for (int64_t r = 0; r < rows; r += NR) {
        vec total[MOST_ROWS][MOST_VECTORS], f[MOST_ROWS][MOST_VECTORS];
        UNROLL for (int q = 0; q < NR; q++)
            UNROLL for (int c = 0; c < NV; c++) total[q][c] = (vec){0} + (REAL)1;
        for (int64_t i = 0; i < p->num_inputs; i++) {
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] = (vec){0} + (REAL)1;
            weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, NR, f);
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) total[q][c] *= f[q][c];
        }
        UNROLL for (int q = 0; q < NR; q++)
            UNROLL for (int c = 0; c < NV; c++) *(vec *)(s->grad + (r + q) * width + o + c * LANES) = total[q][c] - (REAL)1;
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
INLINE void add_dense(const Plan *p, const Scratch *s, const REAL *values, REAL *grad_table, int64_t rows, int64_t m,
                      int64_t o, int NV, int NM) {
    int64_t width = padded(p->num_outputs);
    vec total[MOST_ROWS][MOST_VECTORS];
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

/* What NM rows of the table weigh of the gradient, for all rows of the batch side by side, NT vectors at a time. */
INLINE void weigh_grad(const Plan *p, const Scratch *s, const REAL *table, REAL *weighed, int NM, int NT) {
    int64_t width = padded(p->num_outputs);
    for (int g = 0; g < GROUPS; g += NT) {
        vec total[5][4];
        UNROLL for (int j = 0; j < NM; j++)
            UNROLL for (int t = 0; t < NT; t++) total[j][t] = (vec){0};
        for (int64_t o = 0; o < p->num_outputs; o++) {
            const vec *grad = (const vec *)(s->turned + o * CHUNK) + g;
            UNROLL for (int j = 0; j < NM; j++)
                UNROLL for (int t = 0; t < NT; t++) total[j][t] += table[j * width + o] * grad[t];
        }
        UNROLL for (int j = 0; j < NM; j++)
            UNROLL for (int t = 0; t < NT; t++) *((vec *)(weighed + j * CHUNK) + g + t) = total[j][t];
    }
}

static void weigh_grads(const Plan *p, const Scratch *s, const REAL *table) {
    int64_t width = padded(p->num_outputs);
    for (int64_t m = 0, left; (left = p->num_rows - m) > 0;) {
        const REAL *rows = table + m * width;
        REAL *weighed = s->weighed + m * CHUNK;
        switch (left) {
            case 1: weigh_grad(p, s, rows, weighed, 1, 4), m += 1; break;
            case 2: weigh_grad(p, s, rows, weighed, 2, 4), m += 2; break;
            case 3: weigh_grad(p, s, rows, weighed, 3, 4), m += 3; break;
            case 5: weigh_grad(p, s, rows, weighed, 5, 2), m += 5; break;
            default: weigh_grad(p, s, rows, weighed, 4, 2), m += 4;
        }
    }
}

/* Gradients to the inputs where every row of the batch weighs all V rows of a link: rows side by side, nothing to sum
 * across a vector. */
static void dense_slopes(const Plan *p, Scratch *s, const REAL *table, REAL *grad_x, int64_t rows) {
    int64_t in = p->num_inputs, out = p->num_outputs, width = padded(out), V = p->num_rows;
    for (int64_t o = 0; o < out; o++)
        for (int64_t r = 0; r < CHUNK; r++) s->turned[o * CHUNK + r] = r < rows ? s->grad[r * width + o] : 0;
    for (int64_t i = 0; i < in; i++, table += V * width) {
        REAL column[CHUNK];
        weigh_grads(p, s, table);
        sum_slopes(p, s, i, s->weighed, column);
        for (int64_t r = 0; r < rows; r++) grad_x[r * in + i] += column[r];
    }
}

INLINE void sum_backward(const Plan *p, Scratch *s, const REAL *table, REAL *grad_x, REAL *grad_table, int64_t rows,
                         int64_t o, int sparse, int NV) {
    int64_t in = p->num_inputs, width = padded(p->num_outputs), m = 0, all = in * p->num_rows;
    const int NM = NV == 1 ? 8 : NV == 2 ? 4 : NV == 3 ? 3 : 2;
    if (is_dense(p)) {
        const REAL *values = is_spread(p) ? s->spread : s->values;
        for (; m + NM <= all; m += NM) add_dense(p, s, values, grad_table, rows, m, o, NV, NM);
        for (; m < all; m++) add_dense(p, s, values, grad_table, rows, m, o, NV, 1);
        return;
    }
    for (int64_t i = 0; i < in; i++)
        for (int64_t r = 0; r < rows; r++) {
            const vec *grad = (const vec *)(s->grad + r * width + o);
            add_to_rows(p, s, grad_table, grad, i, r, o, sparse, NV);
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

/* As many vectors at a time as registers hold, in parts of about the same size. */
#define BY_WIDTH(CALL)                                                            \
    for (int64_t o = 0; o < width;) {                                             \
        int64_t left = (width - o) / LANES;                                       \
        int64_t taken = left <= MOST_VECTORS ? left : left < 2 * MOST_VECTORS ? (left + 1) / 2 : MOST_VECTORS; \
        switch (taken) {                                                          \
            case 1: BY_PLAN(CALL, 1, 8); break;                                   \
            case 2: BY_PLAN(CALL, 2, 4); break;                                   \
            case 3: BY_PLAN(CALL, 3, 4); break;                                   \
            case 4: BY_PLAN(CALL, 4, 2); break;                                   \
            default: BY_PLAN(CALL, 5, 2);                                         \
        }                                                                         \
        o += taken * LANES;                                                       \
    }
