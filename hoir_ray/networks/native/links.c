/* A layer of links, forward and backward, for rows of a batch on one thread. Compiled with -DREAL=float or double.
 *
 * x [batch, in], table [in, V, out], output [batch, out]. An input weighs n neighbouring rows of its V with the values of
 * n basis functions; the weighted rows are summed over the inputs, or one is added and they are multiplied. Per chunk of
 * rows the basis is computed first, side by side for all rows, then the rows are joined with the outputs side by side.
 * basis.py and combine.py are the same in plain torch and say where the numbers come from. */

#include "basis.h"
#include "layout.h"
#include "narrow.h"
#include "wide.h"

#define FORWARD_WIDE(SPARSE, PRODUCT, NV, NR) forward_block(p, s, wide, to, rows, o, SPARSE, PRODUCT, NV, NR)
#define FORWARD_NARROW(NO) narrow_forward(p, s, table, to, rows, NO)

/* Returns 0, or 1 where memory ran out. */
int forward(const Plan *p, const REAL *x, const REAL *table, REAL *output, int64_t batch) {
    Scratch scratch = {0}, *s = &scratch;
    int narrow = is_narrow(p);
    REAL *wide = narrow ? 0 : pad_table(p, table);
    int64_t in = p->num_inputs, out = p->num_outputs, width = padded(out);
    int ready = open_scratch(p, s) && (narrow || wide);
    for (int64_t start = 0; ready && start < batch; start += CHUNK) {
        int64_t rows = batch - start < CHUNK ? batch - start : CHUNK;
        REAL *to = output + start * out;
        expand(p, s, x + start * in, rows, 0);
        if (narrow) {
            BY_OUTPUTS(FORWARD_NARROW)
        } else {
            BY_WIDTH(FORWARD_WIDE)
        }
    }
    close_scratch(s);
    if (wide != table) free(wide);
    return !ready;
}

#define BACKWARD_WIDE(SPARSE, PRODUCT, NV, NR) \
    (PRODUCT ? product_backward : sum_backward)(p, s, wide, to_x, sums, rows, o, SPARSE, NV)
#define BACKWARD_NARROW(NO) narrow_backward(p, s, table, from, to_x, grad_table, rows, NO)

/* grad_x may be null; grad_table is written whole. Returns 0, or 1 where memory ran out. */
int backward(const Plan *p, const REAL *x, const REAL *table, const REAL *grad, REAL *grad_x, REAL *grad_table,
             int64_t batch) {
    Scratch scratch = {0}, *s = &scratch;
    int narrow = is_narrow(p);
    REAL *wide = narrow ? 0 : pad_table(p, table);
    int64_t in = p->num_inputs, out = p->num_outputs, width = padded(out), all_rows = in * p->num_rows;
    REAL *sums = narrow || width == out ? grad_table : allocate(all_rows * width, sizeof(REAL));
    int ready = open_scratch(p, s) && (narrow || wide) && sums;
    if (ready) memset(sums, 0, all_rows * (narrow ? out : width) * sizeof(REAL));
    if (grad_x) memset(grad_x, 0, batch * in * sizeof(REAL));
    for (int64_t start = 0; ready && start < batch; start += CHUNK) {
        int64_t rows = batch - start < CHUNK ? batch - start : CHUNK;
        const REAL *from = grad + start * out;
        REAL *to_x = grad_x ? grad_x + start * in : 0;
        expand(p, s, x + start * in, rows, grad_x != 0);
        if (narrow) {
            BY_OUTPUTS(BACKWARD_NARROW)
            continue;
        }
        pad_grad(p, s, from, rows);
        BY_WIDTH(BACKWARD_WIDE)
    }
    for (int64_t row = 0; ready && sums != grad_table && row < all_rows; row++)
        memcpy(grad_table + row * out, sums + row * width, out * sizeof(REAL));
    close_scratch(s);
    if (wide != table) free(wide);
    if (sums != grad_table) free(sums);
    return !ready;
}
