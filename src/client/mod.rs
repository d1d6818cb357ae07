//! One verb, one file: what a user can ask that needs no running supervisor, and later what asks one.
