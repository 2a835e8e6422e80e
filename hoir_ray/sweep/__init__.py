"""A sweep as a whole: plan, driver, Ray Tune, resume and finish."""
