/* A layer of links, forward and backward, for rows of a batch on one thread.
 *
 * x [batch, in], table [in, V, out], output [batch, out]. An input weighs n neighbouring rows of its V with the values of
 * n basis functions; the weighted rows are summed over the inputs, or one is added and they are multiplied. Per chunk of
 * rows the basis is computed first, side by side for all rows, then the rows are joined with the outputs side by side.
 * basis.py and combine.py are the same in plain torch and say where the numbers come from. */

#pragma once

#include "basis.h"
#include "layout.h"
#include "narrow.h"
#include "wide.h"

#define FORWARD_WIDE(SPARSE, PRODUCT, NV, NR) \
    (PRODUCT ? product_forward : sum_forward)(p, s, table, rows, o, SPARSE, NV, NR)
#define FORWARD_NARROW(NO) narrow_forward(p, s, table, output, rows, NO)

/* Outputs of a chunk whose basis is expanded. A wide layer's table has its rows padded to whole vectors. */
static void join(const Plan *p, Scratch *s, const REAL *table, REAL *output, int64_t rows) {
    int64_t out = p->num_outputs, width = padded(out);
    if (is_narrow(p)) {
        if (is_spread(p)) spread(p, s);
        BY_OUTPUTS(FORWARD_NARROW)
        return;
    }
    BY_WIDTH(FORWARD_WIDE)
    for (int64_t r = 0; r < rows; r++) memcpy(output + r * out, s->grad + r * width, out * sizeof(REAL));
}

#define BACKWARD_WIDE(SPARSE, PRODUCT, NV, NR) \
    (PRODUCT ? product_backward : sum_backward)(p, s, table, grad_x, grad_table, rows, o, SPARSE, NV)
#define BACKWARD_NARROW(NO) narrow_backward(p, s, table, grad, grad_x, grad_table, rows, NO)

/* Adds a chunk's gradients to those of the table, padded as it is, and of the inputs, where grad_x is not null. */
static void join_backward(const Plan *p, Scratch *s, const REAL *table, const REAL *grad, REAL *grad_x,
                          REAL *grad_table, int64_t rows) {
    int64_t width = padded(p->num_outputs);
    if (is_spread(p)) spread(p, s);
    if (is_narrow(p)) {
        BY_OUTPUTS(BACKWARD_NARROW)
        return;
    }
    pad_grad(p, s, grad, rows);
    BY_WIDTH(BACKWARD_WIDE)
    if (grad_x && is_dense(p)) dense_slopes(p, s, table, grad_x, rows);
}

/* Copies a table whose rows are `from` numbers apart to one whose rows are `to` apart, with zeros between them. */
static void copy_table(const Plan *p, const REAL *table, int64_t from, REAL *copy, int64_t to) {
    int64_t out = p->num_outputs;
    for (int64_t row = 0; row < p->num_inputs * p->num_rows; row++) {
        memcpy(copy + row * to, table + row * from, out * sizeof(REAL));
        memset(copy + row * to + out, 0, (to - out) * sizeof(REAL));
    }
}

/* Returns 0, or 1 where memory ran out. */
int links_forward(const Plan *p, const REAL *x, const REAL *table, REAL *output, int64_t batch) {
    int64_t in = p->num_inputs, out = p->num_outputs, width = row_width(p);
    Scratch scratch, *s = &scratch;
    Arena arena = {0};
    REAL *padded_table;
    for (int counted = 0; counted < 2; counted++) {
        take_scratch(p, s, &arena);
        padded_table = take(&arena, width == out ? 0 : in * p->num_rows * width, sizeof(REAL));
        if (!counted && !reserve(&arena)) return 1;
    }
    if (width != out) copy_table(p, table, out, padded_table, width), table = padded_table;
    for (int64_t start = 0; start < batch; start += CHUNK) {
        int64_t rows = batch - start < CHUNK ? batch - start : CHUNK;
        expand(p, s, x + start * in, rows, 0);
        join(p, s, table, output + start * out, rows);
    }
    free(arena.block);
    return 0;
}

/* grad_x may be null; grad_table is written whole. Returns 0, or 1 where memory ran out. */
int links_backward(const Plan *p, const REAL *x, const REAL *table, const REAL *grad, REAL *grad_x, REAL *grad_table,
                   int64_t batch) {
    int64_t in = p->num_inputs, out = p->num_outputs, width = row_width(p), count = in * p->num_rows * width;
    Scratch scratch, *s = &scratch;
    Arena arena = {0};
    REAL *padded_table, *sums;
    for (int counted = 0; counted < 2; counted++) {
        take_scratch(p, s, &arena);
        padded_table = take(&arena, width == out ? 0 : count, sizeof(REAL));
        sums = take(&arena, width == out ? 0 : count, sizeof(REAL));
        if (!counted && !reserve(&arena)) return 1;
    }
    if (width != out) copy_table(p, table, out, padded_table, width), table = padded_table;
    else sums = grad_table;
    memset(sums, 0, count * sizeof(REAL));
    if (grad_x) memset(grad_x, 0, batch * in * sizeof(REAL));
    for (int64_t start = 0; start < batch; start += CHUNK) {
        int64_t rows = batch - start < CHUNK ? batch - start : CHUNK;
        expand(p, s, x + start * in, rows, grad_x != 0);
        join_backward(p, s, table, grad + start * out, grad_x ? grad_x + start * in : 0, sums, rows);
    }
    if (width != out) copy_table(p, sums, width, grad_table, out);
    free(arena.block);
    return 0;
}
